"""Quantities mean what operators expect of them, and what the store wrote reads as the same again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from state.kinds.quantity import Bytes, Seconds, parse_bytes

SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
BYTES: TypeAdapter[int] = TypeAdapter(Bytes)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("7d", 7 * 86400),
        (" 10m ", 600),
        ("90", 90),
        ("0s", 0),
        (90, 90),
        (0.25, 0.25),
    ],
)
def test_a_duration(written: object, seconds: float) -> None:
    assert SECONDS.validate_python(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "m", "10 m", "1h 30m", "-5s", "5S", "5min", "1e3s", "∞", "1" * 5000, "1h30", None, []]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        SECONDS.validate_python(written)


@pytest.mark.parametrize("written", ["4000d", "-1", -1, float("inf"), float("nan"), "9" * 18 + "d"])
def test_a_duration_out_of_bounds_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        SECONDS.validate_python(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("1Gi", 1 << 30),
        ("512Mi", 512 << 20),
        ("64Ki", 65536),
        ("1.5Gi", 3 << 29),
        ("1G", 10**9),
        ("100M", 10**8),
        ("1k", 1000),
        ("1Ti", 1 << 40),
        ("123", 123),
        (" 1Gi ", 1 << 30),
        (1 << 30, 1 << 30),
        ("0", 0),
    ],
)
def test_a_size(written: object, count: int) -> None:
    assert BYTES.validate_python(written) == count


@pytest.mark.parametrize(
    "written",
    ["", "Gi", "1 Gi", "1gi", "1GB", "1Gib", "-1", "1e9", "0x10", "١Gi", "9" * 400, "9" * 5000, None],
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        BYTES.validate_python(written)


@given(st.text() | st.from_regex(r"[0-9.]{1,30}(ms|s|m|h|d)?", fullmatch=True))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert SECONDS.validate_python(text) >= 0
    except ValidationError as error:
        assert error.error_count() == 1


@given(st.text() | st.from_regex(r"[0-9.]{1,30}(k|M|G|T)?i?", fullmatch=True))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert BYTES.validate_python(text) >= 0
    except ValidationError as error:
        assert error.error_count() == 1


@given(st.floats(0, 3e8, allow_nan=False))
def test_seconds_of_the_store_read_as_they_were(seconds: float) -> None:
    assert SECONDS.validate_json(SECONDS.dump_json(seconds)) == seconds


@given(st.integers(0, 2**50))
def test_bytes_of_the_store_read_as_they_were(count: int) -> None:
    assert BYTES.validate_json(BYTES.dump_json(count)) == count
    assert parse_bytes(str(count)) == count
