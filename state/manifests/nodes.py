"""What YAML comes to here: scalars, sequences and mappings that know where they stand.

Scalars stay as they were written: what ``on`` or ``1:30`` means is for :mod:`state.manifests.values`.
Next: :mod:`state.manifests.tree`, which makes them.
"""

from dataclasses import dataclass

from state.manifests.problem import Place


@dataclass(frozen=True, slots=True)
class Scalar:
    """``text`` as written. ``plain``: without quotes, so that it may also be a number, a bool or null."""

    place: Place
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a mapping, and where its key stands."""

    key: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    place: Place
    entries: dict[str, Entry]


Node = Scalar | Sequence | Mapping
