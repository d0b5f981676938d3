"""Which files a template may have of what callers say, what may be said, and what they say then."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from state.kinds.files import (
    CONTENT_BYTES_MAX,
    HEADER_BYTES_MAX,
    HEADERS_REFUSED,
    PLACES_COUNT_MAX,
    VALUE_CHARS_MAX,
    File,
    Header,
    UnfitHeaderError,
    headers_of,
    values_of,
)
from state.kinds.template import ContainerTemplateSpec

TYPE = {"x-proxy-type": {"pattern": "proxy-[0-9]"}}
WHERE = {"x-location": {"members": {"country": "[a-z]{2}", "city": "[a-z_]{1,64}"}, "fold": True}}
ONE: dict[str, Any] = {"path": "a.yaml", "headers": TYPE, "contents": [{"content": {"a": "{x-proxy-type}"}}]}


def saying(content: Any, **more: Any) -> dict[str, Any]:
    return {**ONE, "contents": [{"content": content, **more}]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a way up": ({**ONE, "path": "../a"}, "path"),
    "a way up in the middle": ({**ONE, "path": "a/../../b"}, "path"),
    "an absolute path": ({**ONE, "path": "/etc/passwd"}, "path"),
    "a directory": ({**ONE, "path": "a/"}, "path"),
    "the directory itself": ({**ONE, "path": "."}, "path"),
    "two slashes": ({**ONE, "path": "a//b"}, "path"),
    "a line's end in the path": ({**ONE, "path": "a\n"}, "path"),
    "no content": ({**ONE, "contents": []}, "contents"),
    "a header that is none of ours": ({**ONE, "headers": {"authorization": {"pattern": "a"}}}, "headers"),
    "a header in capitals": ({**ONE, "headers": {"X-A": {"pattern": "a"}}}, "headers"),
    "a header without a pattern": ({**ONE, "headers": {"x-a": {}}}, "a pattern"),
    "a header with both": ({**ONE, "headers": {"x-a": {"pattern": "a", "members": {"b": "b"}}}}, "a pattern"),
    "a member without a pattern": ({**ONE, "headers": {"x-a": {"members": {"b": ""}}}}, "pattern"),
    "a pattern that looks around": ({**ONE, "headers": {"x-a": {"pattern": "(?=a)b"}}}, "look-around"),
    "a value that nobody says": (saying({"a": "{x-other}"}), "x-other"),
    "a member that nobody says": (saying({"a": ["{x-proxy-type.a}"]}), "x-proxy-type.a"),
    "a condition on what nobody says": (saying("a", when={"x-other": "a"}), "x-other"),
    "a bracket that stays open": (saying("[a"), r"without its \]"),
    "a brace that stays open": (saying("{a"), "character 1"),
    "a bracket in a bracket": (saying("[a[b]]"), "character 3"),
    "a content that is too long": (saying("a" * CONTENT_BYTES_MAX), "KiB"),
    "too many places": (saying("{x-proxy-type}" * (PLACES_COUNT_MAX + 1)), "places"),
}


@pytest.mark.parametrize(("file", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(file: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        File.model_validate(file)


@pytest.mark.parametrize("name", HEADERS_REFUSED)
def test_nobody_says_who_they_are_in_a_file(name: str) -> None:
    name = f"{name}a" if name.endswith("-") else name
    with pytest.raises(ValidationError, match="who asks"):
        File.model_validate({**ONE, "headers": {name: {"pattern": "a"}}, "contents": [{"content": "a"}]})


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"files": [ONE]}, "where data is mounted"),
        ({"files": [ONE, ONE], "data": {"mountPath": "/d"}}, "place of another"),
        ({"files": [ONE, {**ONE, "path": "a.yaml/b"}], "data": {"mountPath": "/d"}}, "place of another"),
        (
            {
                "files": [ONE, {**ONE, "path": "b", "headers": {"x-proxy-type": {"pattern": "other"}}}],
                "data": {"mountPath": "/d"},
            },
            "two ways",
        ),
    ],
    ids=["no data", "the same path twice", "a file and a directory", "a header of two forms"],
)
def test_a_template_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ContainerTemplateSpec.model_validate({"image": "a", "port": 80, **spec})


def declared(headers: dict[str, Any]) -> dict[str, Header]:
    return headers_of([File.model_validate({**ONE, "headers": headers, "contents": [{"content": "a"}]})])


def test_what_is_said_is_read_as_it_is_declared() -> None:
    said = {
        "x-proxy-type": b" proxy-1",
        "x-location": b'{"country": "US", "city": "New York", "x": [1]}',
    }
    assert values_of(declared({**TYPE, **WHERE}), said) == {
        "x-proxy-type": "proxy-1",
        "x-location.country": "us",
        "x-location.city": "new_york",
    }
    assert values_of(declared(WHERE), {"x-location": b'{"country": null, "city": ""}'}) == {}
    assert values_of(declared(WHERE), {"x-location": b""}) == {}
    numbers = {"x-a": {"members": {"code": "[0-9]{5}"}}}
    assert values_of(declared(numbers), {"x-a": b'{"code": 90210}'}) == {"x-a.code": "90210"}


@pytest.mark.parametrize(
    "said",
    [
        {"x-proxy-type": b"proxy-11"},
        {"x-proxy-type": b"proxy-1\x00"},
        {"x-proxy-type": b"\xff"},
        {"x-proxy-type": b"proxy-1" + b" " * HEADER_BYTES_MAX},
        {"x-location": b"US"},
        {"x-location": b'["US"]'},
        {"x-location": b"["},
        {"x-location": b"[" * HEADER_BYTES_MAX},
        {"x-location": b'{"country": "usa"}'},
        {"x-location": b'{"country": {"a": 1}}'},
        {"x-location": b'{"country": true}'},
        {"x-location": b'{"city": "' + b"a" * (VALUE_CHARS_MAX + 1) + b'"}'},
    ],
    ids=lambda said: f"{next(iter(said.values()))[:24]!r}",
)
def test_what_does_not_fit_is_refused(said: dict[str, bytes]) -> None:
    with pytest.raises(UnfitHeaderError):
        values_of(declared({**TYPE, **WHERE}), said)


CHOOSING = File.model_validate(
    {
        "path": "a.yaml",
        "headers": {**TYPE, **WHERE},
        "contents": [
            {"when": {"x-proxy-type": "proxy-0"}, "content": {"type": "none"}},
            {
                "when": {"x-proxy-type": "proxy-1"},
                "content": {"url": "http://c-{session}[-cc-{x-location.country}]:s@[[::1]]/{{x}}", "port": 7},
            },
            {"content": ["{x-location.city}"]},
        ],
    }
)


@pytest.mark.parametrize(
    ("values", "content"),
    [
        ({"x-proxy-type": "proxy-0"}, {"type": "none"}),
        ({"x-proxy-type": "proxy-1"}, {"url": "http://c-s1:s@[::1]/{x}", "port": 7}),
        (
            {"x-proxy-type": "proxy-1", "x-location.country": "us"},
            {"url": "http://c-s1-cc-us:s@[::1]/{x}", "port": 7},
        ),
        ({"x-proxy-type": "proxy-2"}, None),
        ({"x-proxy-type": "proxy-2", "x-location.city": "rome"}, ["rome"]),
        ({"x-location.city": "Not folded"}, None),
        ({"x-other": "a"}, None),
    ],
    ids=["a choice", "without", "with", "nothing fits", "the last", "an unfit value", "an unknown one"],
)
def test_the_first_content_that_fits_is_written(values: dict[str, str], content: Any) -> None:
    made = CHOOSING.made_of({**values, "session": "s1"})
    assert (json.loads(made) if made is not None else None) == content


@given(st.text(max_size=VALUE_CHARS_MAX))
def test_whatever_is_said_stays_a_part_of_its_string(value: str) -> None:
    """For a reader of JSON and for one of YAML, also where a pattern lets anything in."""
    anything = File.model_validate(
        {
            "path": "a",
            "headers": {"x-a": {"pattern": "(?s).*"}},
            "contents": [{"content": {"k": ["<{x-a}>"]}}],
        }
    )
    made = anything.made_of({"x-a": value})
    if made is None:
        assert not value.isprintable()
    else:
        assert json.loads(made) == yaml.safe_load(made) == {"k": [f"<{value}>"]}
