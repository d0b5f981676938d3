"""Patterns: regular expressions that operators write and other people's values have to match. Pure.

Decides that a pattern is matched by a whole value, in time linear in its length. Next:
:mod:`state.kinds.template`, whose inputs and files have some.
"""

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import SchemaError

PATTERN_CHARS_MAX = 256
PATTERN_VALUE_CHARS_MAX = 4096  # a value that has to match one; matching takes time linear in its length


def matches(pattern: str, value: str) -> bool:
    """Whether the whole of ``value`` has the form that ``pattern`` asks for."""
    if len(value) > PATTERN_VALUE_CHARS_MAX:
        return False
    try:
        _matcher(_whole(pattern)).validate_python(value)
    except ValidationError:
        return False
    return True


def _compiles(pattern: str) -> str:
    """By itself too: what closes the group that it is wrapped into would not have to match as a whole."""
    try:
        _matcher(pattern)
        _matcher(_whole(pattern))
    except SchemaError:
        raise ValueError(
            f"pattern {pattern!r} is no regular expression that can be used; write one without "
            "look-around and back-references"
        ) from None
    return pattern


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> TypeAdapter[str]:
    """Rust's engine, whose time is linear. Source: pydantic, ``regex_engine="rust-regex"``, its default."""
    return TypeAdapter(Annotated[str, Field(pattern=pattern)])


Pattern = Annotated[
    str,
    Field(
        max_length=PATTERN_CHARS_MAX,
        description="A regular expression that the whole value has to match, without look-around.",
        examples=["sk-[A-Za-z0-9_-]{20,200}"],
    ),
    AfterValidator(_compiles),
]
