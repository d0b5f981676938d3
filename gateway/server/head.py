"""What makes a request's head acceptable, and the ASGI scope that it becomes.

Pure. httptools has refused broken syntax before this (both lengths, bare LF, folded lines, NUL, bad chunks);
what it lets pass is judged here. Which *names* a Host may have is the router's business, not this module's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httptools

Headers = list[tuple[bytes, bytes]]

_METHODS_REFUSED = frozenset({b"CONNECT", b"TRACE"})


class RefusedError(Exception):
    """This request is answered by the server itself, and the connection closed."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestHead:
    """A head that was found acceptable, and what follows from it.

    Clients repeat themselves: the next request of a connection mostly has the same head but for its length,
    so the length is kept apart, and whoever derives something from a head may keep it in `memo`.
    """

    __slots__ = (
        "_headers",
        "_scope",
        "_target",
        "_version",
        "expects_continue",
        "is_last",
        "memo",
        "method",
        "wants_websocket",
    )

    def __init__(
        self,
        shared: dict[str, Any],
        method: bytes,
        version: str,
        target: bytes,
        headers: Headers,
        *,
        last: bool,
    ) -> None:
        """`shared` is what every scope of the connection holds. Raises RefusedError."""
        self.method = method
        self._version = version
        self._target = target
        self._headers = headers
        self.expects_continue = _judge(method, version, headers)
        self.is_last = last or version == "1.0"
        self.wants_websocket = method == b"GET" and _wants_websocket(headers)
        self._scope = _scope(shared, method, version, target, headers)
        self.memo: dict[str, Any] = {}

    def is_same(self, method: bytes, version: str, target: bytes, headers: Headers) -> bool:
        return (
            headers == self._headers
            and target == self._target
            and method == self.method
            and version == self._version
        )

    def scope(self, length: bytes | None, state: dict[str, Any]) -> dict[str, Any]:
        """A request's own ASGI scope."""
        scope = self._scope.copy()
        scope["headers"] = [*self._headers, (b"content-length", length)] if length else self._headers.copy()
        scope["state"] = state.copy()
        return scope

    def origin_form(self) -> bytes:
        """The request target as a server that is no proxy would be sent it."""
        path: bytes = self._scope["raw_path"]
        query: bytes = self._scope["query_string"]
        return path + b"?" + query if query else path


def _judge(method: bytes, version: str, headers: Headers) -> bool:
    """Whether the client waits for `100 Continue`. Raises RefusedError."""
    if version not in ("1.1", "1.0"):
        raise RefusedError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method in _METHODS_REFUSED:
        raise RefusedError(405, f"{method.decode('ascii')} is not served here.")
    hosts = 0
    expects = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            _judge_coding(value, version)
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
    # Source: RFC 9112 section 3.2, and stricter: HTTP/1.0 may omit Host, but nothing here can be routed then.
    if hosts != 1:
        raise RefusedError(400, "A request needs exactly one Host header.")
    return expects


def _judge_coding(value: bytes, version: str) -> None:
    """Source: RFC 9112 section 6.1. `gzip, chunked` may not be passed on as `chunked`."""
    if version == "1.0":
        raise RefusedError(400, "HTTP/1.0 knows no Transfer-Encoding.")
    if value.lower() != b"chunked":
        raise RefusedError(501, "The only transfer coding served here is chunked.")


def _split_target(target: bytes, headers: Headers) -> tuple[bytes, bytes]:
    """Raw path and query of a request target. Raises RefusedError.

    Source: RFC 9112 section 3.2. In absolute form the authority must say what Host says: two opinions about
    whom a request is for are not ours to weigh.
    """
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
    else:
        path, query = _split_absolute(target, headers)
    if b"#" in target or not path.isascii():
        raise RefusedError(400, "The request target is not a valid URL path.")
    return path, query


def _split_absolute(target: bytes, headers: Headers) -> tuple[bytes, bytes]:
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise RefusedError(400, "The request target is not a URL.") from None
    if url.schema is None or url.schema.lower() not in (b"http", b"https") or url.userinfo:
        raise RefusedError(400, "The request target is not an http URL.")
    authority = target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
    if [value.lower() for name, value in headers if name == b"host"] != [authority.lower()]:
        raise RefusedError(400, "The request target and the Host header name different hosts.")
    return url.path or b"/", url.query or b""


def _scope(
    shared: dict[str, Any], method: bytes, version: str, target: bytes, headers: Headers
) -> dict[str, Any]:
    raw_path, query = _split_target(target, headers)
    path = raw_path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        **shared,
    }


def _wants_websocket(headers: Headers) -> bool:
    """Source: RFC 6455 section 4.1. Other upgrades are ignored, as RFC 9110 section 7.8 allows."""
    upgrade = connection = False
    for name, value in headers:
        if name == b"upgrade":
            upgrade = value.lower() == b"websocket"
        elif name == b"connection":
            connection = connection or b"upgrade" in [o.strip(b" \t").lower() for o in value.split(b",")]
    return upgrade and connection
