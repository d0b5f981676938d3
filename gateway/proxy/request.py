"""An upstream request's bytes. Pure; `forward.py` sends them as they come, `direct.py` all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.proxy.endpoint import Header, UpstreamHead
from gateway.proxy.headers import request_headers

# Source: RFC 9110 section 8.6: these say `Content-Length: 0` when they have no body.
_BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
# Source: RFC 9110 section 9.2.1. Idempotent would be allowed too, but a repeated DELETE answers otherwise.
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_LAST_CHUNK = b"0\r\n\r\n"


def encode(
    method: bytes, headers: Sequence[Header], head: UpstreamHead, body: bytes, *, more: bool
) -> tuple[bytes, bool]:
    """The head and the first piece of the body; and whether the body goes in chunks.

    A body that is whole is sent with its length, however it came.
    """
    if not more:
        return whole(method, encode_head(method, headers, head), body), False
    lines = encode_head(method, headers, head)
    length = next((value for name, value in headers if name == b"content-length"), None)
    if length is None:
        return b"%btransfer-encoding: chunked\r\n\r\n%b" % (lines, chunk(body, more=True)), True
    return b"%bcontent-length: %b\r\n\r\n%b" % (lines, length, body), False


def encode_head(method: bytes, headers: Iterable[Header], head: UpstreamHead) -> bytes:
    """Request line and headers, without the body's framing and the final empty line."""
    own = head.own
    pieces = [method, b" ", head.target, b" HTTP/1.1\r\n", own.lines]
    for name, value in request_headers(headers, own.names):
        pieces += (name, b": ", value, b"\r\n")
    return b"".join(pieces)


def whole(method: bytes, lines: bytes, body: bytes) -> bytes:
    """A request whose body is here, with its length."""
    if body or method in _BODY_METHODS:
        return b"%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body)
    return lines + b"\r\n"


def chunk(piece: bytes, *, more: bool) -> bytes:
    framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    return framed if more else framed + _LAST_CHUNK
