"""A file's text → the objects it declares, or everything that is wrong with it. Pure.

A file is one whole: if anything in it is wrong, nothing of it is used. Next: :mod:`state.manifests.folder`.
"""

import json
from collections.abc import Mapping as Variables
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError

from state.kinds.catalog import KINDS
from state.kinds.resource import Resource
from state.manifests.explain import explained
from state.manifests.nodes import Mapping, Node, Scalar
from state.manifests.problem import (
    PROBLEMS_PER_FILE_MAX,
    ManifestError,
    Place,
    Problem,
    did_you_mean,
    refusal,
    shown,
)
from state.manifests.text import decoded
from state.manifests.tree import documents
from state.manifests.values import value_of
from state.manifests.written import WRITTEN, Written


@dataclass(frozen=True, slots=True)
class Declared:
    """An object that a file asks for, and where it does."""

    resource: Resource
    place: Place

    @property
    def title(self) -> str:
        return f"{self.resource.kind} {self.resource.name}"


def parse_manifest(file: str, raw: bytes, variables: Variables[str, str]) -> tuple[Declared, ...]:
    """The objects of ``file``, in its order. Raises ManifestError, and nothing else, for any bytes."""
    declared: list[Declared] = []
    problems: list[Problem] = []
    for document in documents(file, decoded(file, raw)):
        try:
            declared.append(_declared(file, document, variables))
        except ManifestError as error:
            problems.extend(error.problems)
        if len(problems) >= PROBLEMS_PER_FILE_MAX:
            break
    problems.extend(islice(_doubles(declared), PROBLEMS_PER_FILE_MAX))
    if problems:
        raise ManifestError(problems)
    return tuple(declared)


def _declared(file: str, document: Node, variables: Variables[str, str]) -> Declared:
    if not isinstance(document, Mapping):
        raise refusal(document.place, "the document is no mapping", "begin it with kind: and metadata:")
    kind = _kind(document)
    problems: list[Problem] = []
    value = value_of(document, variables, problems)
    if problems:
        raise ManifestError(problems)
    return Declared(_written(kind, document, json.dumps(value)).declared_in(file), document.place)


def _written(kind: str, document: Mapping, value: str) -> Written:
    """Strict, as JSON: ``"23456"`` is no number and ``23456`` no string, just as the schemas have it."""
    try:
        return WRITTEN[kind].model_validate_json(value, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ManifestError(explained(kind, document, error)) from None


def _kind(document: Mapping) -> str:
    entry = document.entries.get("kind")
    people_write = ", ".join(WRITTEN)
    if entry is None:
        raise refusal(document.place, "kind is missing", f"add kind: one of {people_write}")
    if not isinstance(entry.node, Scalar):
        raise refusal(entry.node.place, "kind takes a word", f"write one of {people_write}")
    kind = entry.node.text
    if kind in WRITTEN:
        return kind
    if kind in KINDS:
        raise refusal(entry.node.place, f"{kind} is written by the processes alone", "remove the document")
    meant = did_you_mean(kind, WRITTEN)
    mend = f"did you mean {meant}?" if meant else f"write one of {people_write}"
    raise refusal(entry.node.place, f"unknown kind {shown(kind)}", mend)


def _doubles(declared: list[Declared]) -> list[Problem]:
    """Two objects of one kind and name, or two that claim the same thing (a user's seat, a key)."""
    problems: list[Problem] = []
    first_with: dict[tuple[str, str], Declared] = {}
    for one in declared:
        for claim in claims(one.resource):
            first = first_with.setdefault((one.resource.kind, claim), one)
            if first is not one:
                problems.append(double(one, first))
                break
    return problems


def claims(resource: Resource) -> tuple[str, ...]:
    """What no other object of its kind may have: its name and its unique keys."""
    return (f"name:{resource.name}", *resource.unique_keys())


def double(one: Declared, first: Declared) -> Problem:
    """The problem of the later one of two objects that may not stand beside each other."""
    there = f"line {first.place.line}" if first.place.file == one.place.file else str(first.place)
    if one.resource.name == first.resource.name:
        return Problem(one.place, f"{one.title} stands twice, first in {there}", "keep one of them")
    what = f"{one.title} claims what {first.title} ({there}) has: {_shared(one.resource, first.resource)}"
    return Problem(one.place, what, "keep one of them")


def _shared(one: Resource, other: Resource) -> str:
    """In words, without the value: an App's key hash says nothing to a reader."""
    shared = set(one.unique_keys()) & set(other.unique_keys())
    return "its user and template" if any(key.startswith("seat:") for key in shared) else "its key"
