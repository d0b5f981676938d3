"""What the models refuse → problems with a line, in the words of whoever wrote the manifest.

Decides where a pydantic error stands in the file and how it reads; it never quotes a value of ``env``, nor
who somebody is: these may be a secret or an e-mail address, and would stand in the log.
Used by :mod:`state.manifests.parse`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from state.manifests.nodes import Mapping, Node, Scalar, Sequence
from state.manifests.problem import Place, Problem, did_you_mean, shown
from state.manifests.schema import Schema, subschema

Path = tuple[str | int, ...]

_WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
# A domain too: somebody may have written a whole address there.
_PRIVATE = frozenset({"env", "email", "emailDomain", "users"})


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where an error's location leads: the node, its path, and what of the location has no node."""

    path: Path
    key: Place
    node: Node
    rest: Path


def explained(kind: str, document: Mapping, error: ValidationError) -> list[Problem]:
    """One problem for each thing that is wrong; the branches of a union speak as one.

    A field that is missing because its name was misspelt is told once, where it stands.
    """
    by_path: dict[Path, Problem] = {}
    details = error.errors(include_url=False, include_input=False)
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        if detail["type"] == "missing" and _is_misspelt(detail["loc"], unknown):
            continue
        spot = _spot(document, detail["loc"])
        problem = _problem(kind, spot, detail)
        path = (*spot.path, *spot.rest) if detail["type"] == "missing" else spot.path
        before = by_path.get(path)
        if before is not None and before.mend != problem.mend:
            problem = Problem(before.place, before.what, f"{before.mend}, or {problem.mend}")
        by_path[path] = problem
    return list(by_path.values())


def _is_misspelt(missing: Path, unknown: Iterable[Path]) -> bool:
    *parent, field = missing
    return any(
        [*path[:-1]] == parent and did_you_mean(str(path[-1]), [str(field)]) is not None for path in unknown
    )


def _spot(document: Mapping, location: Path) -> _Spot:
    """Walk as far as the document goes: a missing field and a union's branch have no node of their own."""
    spot = _Spot((), document.place, document, location)
    while (following := _next(spot)) is not None:
        spot = following
    return spot


def _next(spot: _Spot) -> _Spot | None:
    if not spot.rest:
        return None
    part, rest = spot.rest[0], spot.rest[1:]
    match spot.node:
        case Mapping(entries=entries) if isinstance(part, str) and part in entries:
            return _Spot((*spot.path, part), entries[part].key, entries[part].node, rest)
        case Sequence(items=items) if isinstance(part, int) and part < len(items):
            return _Spot((*spot.path, part), items[part].place, items[part], rest)
    return None


def _problem(kind: str, spot: _Spot, detail: Any) -> Problem:
    what, mend = _words(kind, spot, detail)
    at_key = detail["type"] == "extra_forbidden" or spot.rest == ("[key]",)
    return Problem(spot.key if at_key else spot.node.place, what, mend)


def _words(kind: str, spot: _Spot, detail: Any) -> tuple[str, str]:
    name = _dotted(spot.path)
    schema = subschema(kind, spot.path)
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_field(kind, spot)
        case "missing":
            missing = (*spot.path, spot.rest[0])
            return f"{_dotted(missing)} is missing", f"add it{_like(subschema(kind, missing))}"
        case "enum" | "literal_error":
            return f"{name}: {_quoted(spot)} is not one of its values", f"write {detail['ctx']['expected']}"
        case type_ if type_ in _WANTED:
            return f"{name} takes {_WANTED[type_]}, not {_kind_of(spot)}", _mend_type(type_, spot, schema)
        case "string_pattern_mismatch" if spot.rest == ("[key]",):
            return f"{name}: the name does not fit", f"write one that matches {detail['ctx']['pattern']}"
        case "string_pattern_mismatch":
            like = _like(schema) or f" that matches {detail['ctx']['pattern']}"
            return f"{name}: {_quoted(spot)} does not fit", f"write one{like}{_meaning(schema)}"
        case "too_long":
            count, most = detail["ctx"]["actual_length"], detail["ctx"]["max_length"]
            return f"{name} has {count} entries", f"{most} at most; split it, or write fewer"
        case "value_error":
            what, _, mend = str(detail["ctx"]["error"]).partition("; ")
            return f"{name}: {what}", mend or "correct it"
    return f"{name}: {_quoted(spot)} is not accepted", _lowered(detail["msg"]).replace("input", "it", 1)


def _unknown_field(kind: str, spot: _Spot) -> tuple[str, str]:
    *parent, field = spot.path
    known = list(subschema(kind, parent).get("properties", ()))
    where = f" in {_dotted(tuple(parent))}" if parent else ""
    what = f"unknown field {shown(str(field))}{where}"
    if field == "<<":
        return what, "merge keys are not read; write the fields out"
    if field == "status":
        return what, "remove it; the status is written by the reconciler"
    meant = did_you_mean(str(field), known)
    return what, f"did you mean {shown(meant)}?" if meant else f"known here: {', '.join(known)}"


def _mend_type(type_: str, spot: _Spot, schema: Schema) -> str:
    match spot.node:
        case Scalar(text=text, plain=True) if type_ == "string_type":
            quoted = '"…"' if _is_private(spot.path) else shown(text)
            return f"put it in quotes: {quoted}" if text else "give it a value, or remove it"
        case Scalar(plain=False) if type_ != "string_type":
            return f"write {_WANTED[type_]} without quotes"
    return f"write {_WANTED[type_]}{_like(schema)}"


def _like(schema: Schema) -> str:
    """An example of what belongs there; empty where the schema has none."""
    if "enum" in schema:
        return " as one of " + ", ".join(schema["enum"])
    return " like " + " or ".join(schema["examples"]) if "examples" in schema else ""


def _meaning(schema: Schema) -> str:
    """What the schema says of it, in brackets."""
    description: str = schema.get("description", "").partition("\n")[0]
    return f" ({_lowered(description.removesuffix('.'))})" if description else ""


def _quoted(spot: _Spot) -> str:
    if _is_private(spot.path) or not isinstance(spot.node, Scalar):
        return "the value"
    return shown(spot.node.text)


def _kind_of(spot: _Spot) -> str:
    match spot.node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(text=""):
            return "nothing"
        case Scalar(plain=True) if _is_private(spot.path):
            return "a number or a word that means something to YAML"
    return _quoted(spot)


def _is_private(path: Path) -> bool:
    return path == ("spec", "user") or not _PRIVATE.isdisjoint(path)


def _dotted(path: Path) -> str:
    return "".join(_dotted_parts(path)) or "the document"


def _dotted_parts(path: Path) -> Iterator[str]:
    for index, part in enumerate(path):
        if isinstance(part, int):
            yield f"[{part}]"
        else:
            yield f".{part}" if index else part


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
