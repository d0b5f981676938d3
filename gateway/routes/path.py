"""The one reading of a request's path, made before any access rule is chosen.

Decides whether a path has exactly one meaning. A path that some server behind us might read differently
(dot segments, doubled or encoded slashes, backslashes, path parameters, doubly encoded bytes) is refused,
never repaired: what is matched here is, byte for byte, what the workload receives.
Refuses to know routes. Next: :mod:`gateway.routes.match`.
"""

import re
from urllib.parse import unquote_to_bytes

PATH_BYTES_MAX = 8192

# Source: RFC 3986 section 3.3. Without `%`, `;` and with no segment that begins with a dot: one reading only.
_PLAIN = re.compile(rb"(?:/(?:[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)?)+")
_ALLOWED = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,=:@/%\x80-\xff-]*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What, once decoded, would end the path, split a segment, or begin a path parameter for some server.
_STRUCTURAL = re.compile(rb"[\x00-\x1f\x7f/\\;?#]")


class AmbiguousPathError(ValueError):
    """The path has more than one reading; ``str(error)`` says which part of it."""


def normalized(raw: bytes) -> str:
    """The path as it is matched and forwarded: RFC 3986 section 6.2.2 normal form. Raises AmbiguousPathError.

    Only escapes of unreserved characters are decoded and hex digits made upper-case; both are equal by the
    RFC, so a server that decodes once reads the same path as one that compares the bytes.
    """
    if len(raw) > PATH_BYTES_MAX:
        raise AmbiguousPathError(f"the path is longer than {PATH_BYTES_MAX} bytes")
    if b"//" not in raw and _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    return _unescaped(raw)


def _unescaped(raw: bytes) -> str:
    if not _ALLOWED.fullmatch(raw) or not raw.isascii():
        raise AmbiguousPathError("the path holds a character that must be percent-encoded")
    if _BROKEN_ESCAPE.search(raw):
        raise AmbiguousPathError("the path holds a % that begins no escape")
    path = _ESCAPE.sub(_plainer, raw)
    _refuse_structure(path)
    return path.decode("ascii")


def _plainer(escape: re.Match[bytes]) -> bytes:
    code = int(escape[1], 16)
    return bytes((code,)) if code in _UNRESERVED else b"%%%02X" % code


def _refuse_structure(path: bytes) -> None:
    if b"//" in path:
        raise AmbiguousPathError("the path holds an empty segment (//)")
    for segment in path.split(b"/")[1:]:
        decoded = unquote_to_bytes(segment)
        _refuse_decoded(decoded)
        if b"%" in decoded:  # for a server that decodes twice
            _refuse_decoded(unquote_to_bytes(decoded))


def _refuse_decoded(segment: bytes) -> None:
    if segment in (b".", b".."):
        raise AmbiguousPathError("the path holds a dot segment (. or ..)")
    if _STRUCTURAL.search(segment):
        raise AmbiguousPathError("the path holds an encoded slash, backslash, semicolon or control character")
    try:
        segment.decode()
    except UnicodeDecodeError:  # overlong forms of "." and "/" among them
        raise AmbiguousPathError("the path is not UTF-8") from None
