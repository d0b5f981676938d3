"""An upstream request's bytes. Pure; `forward.py` sends them as they come, `direct.py` all at once."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.proxy.endpoint import Header, UpstreamHead
from gateway.proxy.headers import request_headers

# Source: RFC 9110 section 8.6: these say `Content-Length: 0` when they have no body.
_BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
# Source: RFC 9110 section 9.2.1. Idempotent would be allowed too, but a repeated DELETE answers otherwise.
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_LAST_CHUNK = b"0\r\n\r\n"


def encode(
    method: bytes, headers: Iterable[Header], head: UpstreamHead, body: bytes, *, more: bool
) -> tuple[bytes, bool]:
    """The head and the first piece of the body; and whether the body goes in chunks.

    A body that is whole is sent with its length, however it came.
    """
    own = head.own
    pieces = [method, b" ", head.target, b" HTTP/1.1\r\n", own.lines]
    sized = False
    for name, value in request_headers(headers, own.names):
        sized = sized or name == b"content-length"
        pieces += (name, b": ", value, b"\r\n")
    chunked = more and not sized
    if chunked:
        pieces += (b"transfer-encoding: chunked\r\n\r\n", chunk(body, more=True))
    elif sized or not (body or method in _BODY_METHODS):
        pieces += (b"\r\n", body)
    else:
        pieces += (b"content-length: %d\r\n\r\n" % len(body), body)
    return b"".join(pieces), chunked


def chunk(piece: bytes, *, more: bool) -> bytes:
    framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    return framed if more else framed + _LAST_CHUNK
