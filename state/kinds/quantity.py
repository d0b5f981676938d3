"""Quantities as operators write them (``10m``, ``1Gi``) and as the code keeps them (seconds, bytes).

A bare number is already in the base unit, so what the store wrote parses to the same value again.
Source: the suffixes are those of Kubernetes quantities and Go durations, which operators know.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_BYTES_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_BYTES = re.compile(rf"({_NUMBER})(Ki|Mi|Gi|Ti|k|M|G|T|)")


def parse_duration_s(value: object) -> object:
    """``"1h30m"`` → ``5400.0``; numbers pass as seconds; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if not text or _DURATION_PART.sub("", text):
        raise ValueError(f"{value!r} is no duration; write it like 500ms, 30s, 10m, 1h30m or 7d")
    return sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in _DURATION_PART.findall(text))


def parse_bytes(value: object) -> object:
    """``"1Gi"`` → ``1073741824``; numbers pass as bytes; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    match = _BYTES.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no size; write it like 512Mi, 1Gi or a number of bytes")
    return int(float(match[1]) * _BYTES_UNITS[match[2]])


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": rf"^({_NUMBER}|({_NUMBER}(ms|s|m|h|d))+)$"},
    ],
    "description": "Seconds, or a duration such as 500ms, 30s, 10m, 1h30m, 7d.",
    "examples": ["30s", "10m", "1h30m"],
}
_BYTES_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": rf"^{_NUMBER}(Ki|Mi|Gi|Ti|k|M|G|T)?$"},
    ],
    "description": "Bytes, or a size such as 512Mi or 1Gi.",
    "examples": ["512Mi", "1Gi"],
}

Seconds = Annotated[
    float,
    BeforeValidator(parse_duration_s),
    Field(ge=0, le=10 * 365 * 86400, allow_inf_nan=False),
    WithJsonSchema(_DURATION_SCHEMA),
]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0, le=2**50), WithJsonSchema(_BYTES_SCHEMA)]
