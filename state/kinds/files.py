"""Files that a template has in its users' data directories, made of what callers say in headers. Pure.

Decides which headers are read, which of their values fit, and what a file says then. A content is a value of
JSON, and what is said becomes part of its strings, never of its structure; it is written as JSON, which YAML
reads as well. Refuses to know who may say something (the gateway's doors) and how a file is written
(:mod:`reconciler.loop.files`). Next: :mod:`state.kinds.user_headers`, which keeps what was said.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from state.kinds.pattern import Pattern, matches
from state.kinds.resource import Shape

FILES_COUNT_MAX = 8
HEADERS_COUNT_MAX = 16
MEMBERS_COUNT_MAX = 16
CONTENTS_COUNT_MAX = 64
CONTENT_BYTES_MAX = 32 << 10  # as it is written in the template
PLACES_COUNT_MAX = 64  # for values, in one content
HEADER_BYTES_MAX = 4096
VALUE_CHARS_MAX = 256
SESSION: Final = "session"  # a value that nobody says: of the Home alone, and no hint of its name

# Who somebody is and where they come from: a client's word for these counts for nothing.
HEADERS_REFUSED: Final = (
    "x-app-user",
    "x-forwarded",
    "x-auth-",
    "x-original-",
    "x-webauth-",
    "x-goog-authenticated-",
    "x-amzn-oidc-",
    "x-ms-client-principal",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-remote-user",
    "x-rewrite-url",
)

HeaderName = Annotated[str, Field(pattern=r"^x-[a-z0-9-]{1,62}$", examples=["x-location"])]
MemberName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", examples=["country"])]
# A header's name, or a member's behind it; never more than the two of them together.
ValueName = Annotated[str, Field(pattern=r"^x-[a-z0-9-]{1,62}(\.[A-Za-z_][A-Za-z0-9_]{0,63})?$")]
Value = Annotated[str, Field(min_length=1, max_length=VALUE_CHARS_MAX)]
_STEP = r"\.?[A-Za-z0-9_][A-Za-z0-9._-]*"  # of a path; never ``..``


class UnfitHeaderError(ValueError):
    """What somebody says in a header is not what may be said there; ``str(error)`` is for them."""


class Header(Shape):
    """One header that callers may send: a value that matches ``pattern``, or a JSON object of such values."""

    pattern: Pattern = ""
    members: Annotated[
        dict[MemberName, Pattern],
        Field(
            default_factory=dict,
            max_length=MEMBERS_COUNT_MAX,
            description="The header is a JSON object; of it, these members with values of these patterns.",
        ),
    ]
    fold: Annotated[
        bool, Field(description="Take values in lower case, with _ for each space; patterns are for these.")
    ] = False
    forward: Annotated[bool, Field(description="The container gets the header, too.")] = False

    @model_validator(mode="after")
    def _is_either(self) -> Self:
        if bool(self.pattern) == bool(self.members) or not all(self.members.values()):
            raise ValueError("a header has a pattern, or members with a pattern each")
        return self

    def names(self, header: str) -> Iterator[tuple[str, str]]:
        """What its values are called, and their patterns."""
        if self.members:
            yield from ((f"{header}.{member}", pattern) for member, pattern in self.members.items())
        else:
            yield header, self.pattern


class Content(Shape):
    """What a file says, once all that ``when`` names has been said, and all that the content needs."""

    when: Annotated[
        dict[ValueName, Value],
        Field(default_factory=dict, max_length=HEADERS_COUNT_MAX, examples=[{"x-proxy-type": "proxy-1"}]),
    ]
    content: Annotated[
        JsonValue,
        Field(
            description="Written as JSON, which YAML reads as well. In its strings {x-name} and "
            "{x-name.member} stand for values, [ ] for what is left out where its value is; doubled, they "
            "stand for themselves."
        ),
    ]

    @field_validator("content")
    @classmethod
    def _is_bounded(cls, content: JsonValue) -> JsonValue:
        if len(written(content)) > CONTENT_BYTES_MAX:
            raise ValueError(f"a content has {CONTENT_BYTES_MAX >> 10} KiB at most")
        if sum(1 for text in _strings(content) for _ in _names(parsed(text))) > PLACES_COUNT_MAX:
            raise ValueError(f"a content has {PLACES_COUNT_MAX} places for values at most")
        return content

    def names(self) -> set[str]:
        """The values that it looks at."""
        return {*self.when, *(name for text in _strings(self.content) for name in _names(parsed(text)))}

    def made_of(self, values: Mapping[str, str]) -> bytes | None:
        """The file, as these values have it; None where they are not what it is for."""
        if any(values.get(name) != value for name, value in self.when.items()):
            return None
        try:
            return written(_filled(self.content, values))
        except KeyError:
            return None


class File(Shape):
    """A file below the data directory. The first content that fits is written; while none does, it stays."""

    path: Annotated[
        str,
        Field(
            pattern=rf"^{_STEP}(/{_STEP})*$",
            max_length=128,
            description="Below data.mountPath.",
            examples=["proxies.yaml"],
        ),
    ]
    headers: Annotated[
        dict[HeaderName, Header],
        Field(
            default_factory=dict, max_length=HEADERS_COUNT_MAX, description="What of a call it is made of."
        ),
    ]
    contents: Annotated[tuple[Content, ...], Field(min_length=1, max_length=CONTENTS_COUNT_MAX)]

    @field_validator("headers")
    @classmethod
    def _are_nobodys_identity(cls, headers: dict[str, Header]) -> dict[str, Header]:
        for name in headers:
            if name.startswith(HEADERS_REFUSED):
                raise ValueError(f"header {name} says who asks, which no caller is believed; read another")
        return headers

    @model_validator(mode="after")
    def _names_are_declared(self) -> Self:
        declared = {name for header, one in self.headers.items() for name, _ in one.names(header)}
        for name in {name for one in self.contents for name in one.names()} - declared - {SESSION}:
            raise ValueError(f"file {self.path} names {name}, which is not in its headers; declare it there")
        return self

    def made_of(self, values: Mapping[str, str]) -> bytes | None:
        """What it says, None where nothing fits. Values that do not match their patterns do not count."""
        patterns = dict(pair for header, one in self.headers.items() for pair in one.names(header))
        fit = {
            name: value
            for name, value in values.items()
            if name == SESSION or (name in patterns and is_fit(patterns[name], value))
        }
        return next((made for one in self.contents if (made := one.made_of(fit)) is not None), None)


def headers_of(files: Iterable[File]) -> dict[str, Header]:
    """Every header that the files are made of. Raises ValueError where two of them differ over one."""
    found: dict[str, Header] = {}
    for file in files:
        for name, header in file.headers.items():
            if found.setdefault(name, header) != header:
                raise ValueError(f"header {name} is declared in two ways; write it alike in both files")
    return found


def values_of(declared: Mapping[str, Header], said: Mapping[str, bytes]) -> dict[str, str]:
    """What ``said`` says, by header, of the values that are declared. Raises UnfitHeaderError."""
    values: dict[str, str] = {}
    for name, raw in said.items():
        header = declared[name]
        text = _text(name, raw)
        members = _members(name, text, header) if header.members else {name: text}
        for full_name, pattern in header.names(name):
            value = members.get(full_name, "")
            if header.fold:
                value = value.lower().replace(" ", "_")
            if value and not is_fit(pattern, value):
                raise UnfitHeaderError(f"{full_name} has to match {pattern}")
            if value:
                values[full_name] = value
    return values


def is_fit(pattern: str, value: str) -> bool:
    """Whether ``value`` may stand in a file: printable, short, and of the form that is asked for."""
    return value.isprintable() and len(value) <= VALUE_CHARS_MAX and matches(pattern, value)


def _text(name: str, raw: bytes) -> str:
    if len(raw) > HEADER_BYTES_MAX:
        raise UnfitHeaderError(f"{name} has more than {HEADER_BYTES_MAX} bytes")
    try:
        return raw.decode().strip(" \t")
    except UnicodeDecodeError:
        raise UnfitHeaderError(f"{name} is no valid UTF-8") from None


def _members(name: str, text: str, header: Header) -> dict[str, str]:
    """The declared members of the object, as texts. Whatever else it holds is passed over."""
    try:
        said = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UnfitHeaderError(f"{name} has to be a JSON object")
    full_names = {f"{name}.{member}": member for member in header.members}
    return {full_name: _scalar(full_name, said.get(member)) for full_name, member in full_names.items()}


def _scalar(name: str, value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case int() if not isinstance(value, bool):
            return str(value)
        case _:
            raise UnfitHeaderError(f"{name} has to be a text")


# --- the text of a string in a content ----------------------------------------------------------------


class Piece(NamedTuple):
    """Text and names in turn, of which the odd ones are names. What is optional goes with its values."""

    parts: tuple[str, ...]
    is_optional: bool


_OUTSIDE = re.compile(
    r"(?P<escaped>\{\{|\}\}|\[\[|\]\])|\{(?P<name>[^{}\[\]]*)\}|(?P<open>\[)|(?P<text>[^][{}]+)"
)
_INSIDE = re.compile(r"(?P<escaped>\{\{|\}\})|\{(?P<name>[^{}\[\]]*)\}|(?P<close>\])|(?P<text>[^][{}]+)")


@lru_cache(maxsize=1024)
def parsed(text: str) -> tuple[Piece, ...]:
    """A string of a content in its pieces. Raises ValueError."""
    pieces: list[Piece] = []
    parts, at, is_inside = [""], 0, False
    while at < len(text):
        found = (_INSIDE if is_inside else _OUTSIDE).match(text, at)
        if found is None or found["name"] == "":
            raise ValueError(
                f"{text!r} cannot be read from its character {at + 1}; write {{name}} for a value, [ ] "
                "around what goes with one, and {{ }} [[ ]] for brackets of your own"
            )
        at = found.end()
        if found["name"]:
            parts += [found["name"], ""]
        elif found.lastgroup in ("open", "close"):
            pieces.append(Piece(tuple(parts), is_inside))
            parts, is_inside = [""], not is_inside
        else:
            parts[-1] += found["text"] or found["escaped"][0]
    if is_inside:
        raise ValueError(f"{text!r} has a [ without its ]; close it, or write [[ for a bracket of your own")
    return (*pieces, Piece(tuple(parts), False))


def _names(pieces: Iterable[Piece]) -> Iterator[str]:
    for piece in pieces:
        yield from piece.parts[1::2]


def _filled(content: Any, values: Mapping[str, str]) -> Any:
    """``content`` with the values in it. Raises KeyError where one is wanting that has to be there."""
    match content:
        case str():
            return "".join(_shown(piece, values) for piece in parsed(content))
        case list():
            return [_filled(one, values) for one in content]
        case dict():
            return {key: _filled(one, values) for key, one in content.items()}
        case _:
            return content


def _shown(piece: Piece, values: Mapping[str, str]) -> str:
    if piece.is_optional and any(name not in values for name in piece.parts[1::2]):
        return ""
    return "".join(values[part] if number % 2 else part for number, part in enumerate(piece.parts))


def _strings(content: Any) -> Iterator[str]:
    match content:
        case str():
            yield content
        case list():
            for one in content:
                yield from _strings(one)
        case dict():
            for one in content.values():
                yield from _strings(one)


def written(content: JsonValue) -> bytes:
    """As it stands in the file. Source: YAML 1.2.2 section 1.3 (JSON is YAML)."""
    return f"{json.dumps(content, ensure_ascii=False, indent=2)}\n".encode(errors="backslashreplace")
