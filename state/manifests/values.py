"""Nodes → the values that JSON has, with ``${VAR}`` filled in.

The resolver is narrower than YAML 1.1's and 1.2's: only ``true`` and ``false`` are bools, only decimal
numbers without leading zeros are numbers, all else is a string. So ``on`` stays a word, ``1:30`` is not 90
and ``0123`` is refused where a number is wanted, instead of being octal or not by the reader's version.
Source: YAML 1.2.2 §10.3.2 (core schema), less its octal, hexadecimal, infinite and not-a-number forms.
Next: :mod:`state.manifests.written`.
"""

import math
import re
from collections.abc import Mapping as Variables
from typing import assert_never

from state.manifests.nodes import Mapping, Node, Scalar, Sequence
from state.manifests.problem import Place, Problem, did_you_mean

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})?(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_REFERENCE = re.compile(r"\$(?P<escaped>\$)?\{(?P<name>[^{}]*)(?P<end>\})?")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def value_of(node: Node, variables: Variables[str, str], problems: list[Problem]) -> Value:
    """The value, as far as it can be told; what is wrong with a ``${VAR}`` is added to ``problems``."""
    match node:
        case Mapping():
            return {key: value_of(entry.node, variables, problems) for key, entry in node.entries.items()}
        case Sequence():
            return [value_of(item, variables, problems) for item in node.items]
        case Scalar():
            text = _filled(node, variables, problems)
            return _resolved(text) if node.plain else text
    assert_never(node)


def _resolved(text: str) -> str | int | float | bool | None:
    """What a scalar without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and any(char.isdigit() for char in text.lower().split("e")[0]):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _filled(scalar: Scalar, variables: Variables[str, str], problems: list[Problem]) -> str:
    def fill(reference: re.Match[str]) -> str:
        if reference["escaped"]:
            return reference[0][1:]  # $${X} is written for a literal ${X}
        problem = _reference_problem(scalar.place, reference, variables)
        if problem is not None:
            problems.append(problem)
            return reference[0]
        return variables[reference["name"]]

    return _REFERENCE.sub(fill, scalar.text) if "${" in scalar.text else scalar.text


def _reference_problem(
    place: Place, reference: re.Match[str], variables: Variables[str, str]
) -> Problem | None:
    name = reference["name"]
    if not reference["end"] or not _VARIABLE_NAME.fullmatch(name):
        return Problem(place, "a ${…} is not complete", "write ${NAME}, or $${ for a literal ${")
    if name in variables:
        return None
    meant = did_you_mean(name, variables)
    mend = f"did you mean ${{{meant}}}?" if meant else f"set {name} in the environment or .env"
    return Problem(place, f"${{{name}}} is not set", mend)
