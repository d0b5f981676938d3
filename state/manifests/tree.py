"""The only door to YAML: text → documents whose every node knows its line and column.

Works on the parser's events, so that each bound (depth, nodes, aliases) holds before anything is built,
and no tag constructs anything. It refuses to know kinds. Next: :mod:`state.manifests.values`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from state.manifests.nodes import Entry, Mapping, Node, Scalar, Sequence
from state.manifests.problem import ManifestError, Place, Problem, refusal, shown

DEPTH_MAX = 32
NODES_COUNT_MAX = 200_000  # counting what aliases expand to; a file of 8,000 users has 90,000
ALIASES_COUNT_MAX = 100

# libyaml's parser is ten times faster; where PyYAML was built without it, its own does the same.
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIX = "tag:yaml.org,2002:"
_SCALAR_TAGS = {f"{_TAG_PREFIX}{tag}" for tag in ("str", "int", "float", "bool", "null")}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # escapes can bring what the file itself may not hold
_STRING_TAGS = {"!", f"{_TAG_PREFIX}str"}


def documents(file: str, text: str) -> Iterator[Node]:
    """The documents of a file, empty ones left out. Raises ManifestError at the YAML's first fault."""
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            root = builder.take(event)
            if root is not None and not _is_empty(root):
                yield root
    except yaml.YAMLError as error:
        raise ManifestError([_syntax_problem(file, text, error)]) from None


def _is_empty(root: Node) -> bool:
    return isinstance(root, Scalar) and root.plain and root.text in ("", "~", "null")


def _syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """PyYAML's words, at the place it names, with the mend that the line suggests."""
    lines = text.rstrip().split("\n")
    mark = getattr(error, "problem_mark", None)
    index = min(mark.line, len(lines) - 1) if mark is not None else 0
    line = lines[index]
    column = mark.column if mark is not None and mark.line == index else len(line)
    place = Place(file, index + 1, 1 + min(column, len(line)))
    what = f"no valid YAML: {_parsers_words(error)}"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Problem(place, what, "indent with spaces, never with tabs")
    if "${" in line:
        return Problem(place, what, 'write ${…} in quotes inside { } and [ ]: "${NAME}"')
    return Problem(place, what, "correct the line, or save the whole file if this is half of it")


def _parsers_words(error: yaml.YAMLError) -> str:
    context, mark = getattr(error, "context", None), getattr(error, "context_mark", None)
    if context and mark is not None:
        context = f"{context} that begins in line {mark.line + 1}"
    words = [word for word in (context, getattr(error, "problem", None)) if word]
    return ", ".join(words) or "the parser gave up"


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    place: Place
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    key: Scalar | None = None
    node_count: int = 1
    height: int = 1

    @property
    def wants_key(self) -> bool:
        return self.is_mapping and self.key is None

    def closed(self) -> "_Finished":
        node = (
            Mapping(self.place, self.entries) if self.is_mapping else Sequence(self.place, tuple(self.items))
        )
        return _Finished(node, self.node_count, self.height)


@dataclass(frozen=True, slots=True)
class _Finished:
    """A complete node, with what it comes to wherever an alias repeats it."""

    node: Node
    node_count: int = 1
    height: int = 1


class _Builder:
    """Builds one file's documents from its events, without recursion and within the bounds."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Finished] = {}
        self._node_count = 0
        self._alias_count = 0

    def take(self, event: yaml.Event) -> Node | None:
        """Take one event; returns a document's root once it is complete."""
        mark = event.start_mark
        assert mark is not None, "the parser marks every event"
        place = Place(self._file, mark.line + 1, mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case yaml.ScalarEvent():
                self._count(place, 1)
                return self._add(place, _Finished(_scalar(place, event)), event.anchor)
            case yaml.AliasEvent():
                return self._add(place, self._aliased(place, event.anchor), None)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(place, event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._stack.pop()
                return self._add(done.place, done.closed(), done.anchor)
            case _:  # stream and document marks say nothing about values
                pass
        return None

    def _count(self, place: Place, node_count: int) -> None:
        self._node_count += node_count
        if self._node_count > NODES_COUNT_MAX:
            raise refusal(place, f"holds more than {NODES_COUNT_MAX} values", "split the file")

    def _open(self, place: Place, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        _refuse_tag(place, event.tag, {"!", f"{_TAG_PREFIX}{'map' if is_mapping else 'seq'}"})
        self._count(place, 1)
        self._refuse_depth(place, 1)
        self._stack.append(_Open(place, event.anchor, is_mapping))

    def _refuse_depth(self, place: Place, height: int) -> None:
        if len(self._stack) + height > DEPTH_MAX:
            raise refusal(
                place, f"nested deeper than {DEPTH_MAX} levels", "no field is that deep; flatten it"
            )

    def _aliased(self, place: Place, anchor: str | None) -> _Finished:
        self._alias_count += 1
        if self._alias_count > ALIASES_COUNT_MAX:
            raise refusal(place, f"uses more than {ALIASES_COUNT_MAX} aliases", "write the values out")
        target = self._anchors.get(anchor or "")
        if target is None:
            raise refusal(place, f"the alias *{anchor} has no finished anchor", f"put &{anchor} before it")
        self._count(place, target.node_count)
        self._refuse_depth(place, target.height)
        return target

    def _add(self, place: Place, new: _Finished, anchor: str | None) -> Node | None:
        """Put a finished node where it belongs; a document's root is returned."""
        if anchor is not None:
            self._anchors[anchor] = new
        if not self._stack:
            return new.node
        parent = self._stack[-1]
        parent.node_count += new.node_count
        parent.height = max(parent.height, new.height + 1)
        if not parent.is_mapping:
            parent.items.append(new.node)
        elif parent.key is None:
            parent.key = _key(parent, place, new.node)
        else:
            parent.entries[parent.key.text] = Entry(parent.key.place, new.node)
            parent.key = None
        return None


def _key(parent: _Open, place: Place, node: Node) -> Scalar:
    if not isinstance(node, Scalar):
        raise refusal(place, "a key is a list or a mapping", "write a plain word before the colon")
    first = parent.entries.get(node.text)
    if first is not None:
        what = f"the key {shown(node.text)} stands twice, first in line {first.key.line}"
        raise refusal(place, what, "keep one of them")
    return Scalar(place, node.text, node.plain)


def _scalar(place: Place, event: yaml.ScalarEvent) -> Scalar:
    _refuse_tag(place, event.tag, {"!", *_SCALAR_TAGS})
    if _NO_TEXT.search(event.value):
        raise refusal(place, "holds NUL or half of a character", "remove that escape sequence")
    return Scalar(place, event.value, plain=not event.style and event.tag not in _STRING_TAGS)


def _refuse_tag(place: Place, tag: str | None, allowed: set[str]) -> None:
    if tag is not None and tag not in allowed:
        name = tag.replace(_TAG_PREFIX, "!!")
        raise refusal(place, f"the tag {shown(name)} is not allowed", "remove it; values need no tags here")
