"""What a template may leave to its users, and which values fit."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from state.kinds.pattern import PATTERN_VALUE_CHARS_MAX
from state.kinds.template import ContainerTemplateSpec, Input
from state.kinds.user_inputs import SEALED_CHARS_MAX, VALUE_BYTES_MAX, InputValue, UserInputsSpec, why_unfit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = {"name": "API_KEY", "title": "Your key"}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is no variable's": ({"inputs": [{**ONE, "name": "API-KEY"}]}, "name"),
    "no title": ({"inputs": [{"name": "A"}]}, "title"),
    "an empty title": ({"inputs": [{"name": "A", "title": ""}]}, "title"),
    "a title of two lines": ({"inputs": [{"name": "A", "title": "a\nb"}]}, "title"),
    "the same name twice": ({"inputs": [ONE, ONE]}, "stands twice"),
    "too many": ({"inputs": [{"name": f"A{n}", "title": "a"} for n in range(33)]}, "inputs"),
    "required, and a default": ({"inputs": [{**ONE, "required": True}], "env": {"API_KEY": "x"}}, "default"),
    "a pattern that does not compile": ({"inputs": [{**ONE, "pattern": "("}]}, "regular expression"),
    "a pattern that leaves its group": ({"inputs": [{**ONE, "pattern": "a)|(b"}]}, "regular expression"),
    "a pattern that looks around": ({"inputs": [{**ONE, "pattern": "(?=a)b"}]}, "look-around"),
    "a pattern that refers back": ({"inputs": [{**ONE, "pattern": r"(a)\1"}]}, "back-references"),
    "a pattern that grows without end": (
        {"inputs": [{**ONE, "pattern": r"(\w{1000}){1000}"}]},
        "regular expression",
    ),
    "a pattern that is too long": ({"inputs": [{**ONE, "pattern": "a" * 257}]}, "pattern"),
}


@pytest.mark.parametrize(("spec", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ContainerTemplateSpec.model_validate({"image": "a", "port": 80, **spec})


def test_a_pattern_is_matched_by_the_whole_value() -> None:
    one = Input(name="A", title="a", pattern="sk-[a-z]{3}|none")
    assert [one.is_matched_by(text) for text in ("sk-abc", "none")] == [True, True]
    for text in ("sk-abcd", "xsk-abc", "sk-abc\n", "\nnone", "sk-ABC", ""):
        assert not one.is_matched_by(text), text
    assert Input(name="A", title="a").is_matched_by("anything")


def test_a_pattern_that_would_take_others_for_ever_takes_no_time() -> None:
    """Where matching were not linear, this would not end before the sun does."""
    assert not Input(name="A", title="a", pattern="(a|a)*(a+)+b").is_matched_by("a" * PATTERN_VALUE_CHARS_MAX)
    assert not Input(name="A", title="a", pattern="a*").is_matched_by("a" * (PATTERN_VALUE_CHARS_MAX + 1))


def test_a_value_is_text_or_sealed_and_bounded() -> None:
    for parts in (
        {},
        {"text": "a", "sealed": "b"},
        {"text": "a" * (VALUE_BYTES_MAX + 1)},
        {"sealed": "a" * (SEALED_CHARS_MAX + 1)},
    ):
        with pytest.raises(ValidationError):
            InputValue.model_validate({**parts, "setAt": NOW})
    value = InputValue(text="a", set_at=NOW)
    with pytest.raises(ValidationError):
        UserInputsSpec(user_container="u", values={f"A{n}": value for n in range(33)})
    with pytest.raises(ValidationError):
        UserInputsSpec(user_container="u", values={"no name": value})


def test_what_cannot_stand_in_an_environment_is_unfit_and_not_quoted() -> None:
    for value in ("a\nb", "a\rb", "a\0b", "a\x7fb", "\ud800", "ü" * (VALUE_BYTES_MAX // 2 + 1)):
        assert why_unfit(value)
        assert value[:2] not in why_unfit(value)
    assert why_unfit("ü" * (VALUE_BYTES_MAX // 2)) == ""
