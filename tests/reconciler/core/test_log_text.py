"""What a workload printed becomes what a person may be shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.log_text import readable_tail

LINES_MAX = 5
BYTES_MAX = 64


def shown(printed: str) -> str:
    return readable_tail(printed, lines_max=LINES_MAX, bytes_max=BYTES_MAX)


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("", ""),
        ("one\ntwo\n", "one\ntwo"),
        ("a\n\n\nb\n\n", "a\n\n\nb"),
        ("windows\r\nlines\r\r\n", "windows\nlines"),
        ("10 %\r50 %\r100 %\ndone\n", "100 %\ndone"),
        ("\x1b[1;31mred\x1b[0m and \x1b[38:2::1:2:3mmore\x1b[K", "red and more"),
        ("\x1b]0;a title\x07shown \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "shown link"),
        ("\x1bPq#0;2\x1b\\after \x1b(B\x1b7\x1b=x", "after x"),
        ("bell\x07 null\x00 \x7f\x9b31mold\x85\tkept", "bell null old\tkept"),
        ("cut \x1b[3", "cut"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("grüße, 世界 👋", "grüße, 世界 👋"),
        ("\n".join(map(str, range(100))), "95\n96\n97\n98\n99"),
        ("x" * 50 + "\n" + "y" * 50, "y" * 50),
        ("z" * 100, "z" * BYTES_MAX),
        ("é" * 100, "é" * (BYTES_MAX // 2)),
        ("x" + "é" * 40, "é" * (BYTES_MAX // 2)),
        ("\ud800 alone", " alone"),
    ],
)
def test_what_is_shown(printed: str, text: str) -> None:
    assert shown(printed) == text


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[]\n\r\t;0m\x07\\"), max_size=300))
def test_whatever_is_printed_stays_within_bounds_and_steers_nothing(printed: str) -> None:
    text = shown(printed)
    assert len(text.encode()) <= BYTES_MAX
    assert len(text.split("\n")) <= LINES_MAX
    assert {char for char in text if unicodedata.category(char) == "Cc"} <= {"\n", "\t"}


@pytest.mark.parametrize("piece", ["\x1b[", "\x1b]", "\x1b[1;", "\r", "\x1bP\x1b", "\x1b ", "a\n"])
def test_a_hostile_log_costs_no_more_than_its_length(piece: str) -> None:
    """What backtracks would not come to an end here."""
    assert len(readable_tail(piece * (1 << 20), lines_max=500, bytes_max=1 << 15)) <= 1 << 15
