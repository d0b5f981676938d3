"""Pages of other origins that may call what programs call: an allow-list, and the headers that say so.

Decides which paths that holds for (MCP, the OAuth endpoints that no cookie opens, their metadata; never
``/authorize`` or a page), and answers preflights. Source: Fetch, section 3.2; MCP clients that run in a
browser, such as the Inspector. Next: :mod:`gateway.front`.
"""

from collections.abc import Iterable
from typing import Final

from gateway.asked import Asked
from gateway.problems import Header, send_answer
from gateway.proxy.client import Message, Send

_PROGRAMS: Final = frozenset({"/register", "/token", "/revoke"})
_METADATA: Final = "/.well-known/"
_ALLOWED_HEADERS: Final = (
    b"Authorization, Content-Type, MCP-Protocol-Version, Mcp-Session-Id, Last-Event-ID, Mcp-Method, Mcp-Name"
)
_PARAMETERS: Final = b"mcp-param-"  # what clients send of these, no list can name
_EXPOSED: Final = b"Mcp-Session-Id, WWW-Authenticate, Retry-After"
_METHODS: Final = b"GET, POST, DELETE, OPTIONS"
_PREFLIGHT_S: Final = 600
_REQUESTED_HEADERS_MAX: Final = 32


class Cors:
    """One a worker."""

    def __init__(self, origins: Iterable[str]) -> None:
        self.origins = frozenset(origins)

    @staticmethod
    def is_programs(path: str) -> bool:
        """Whether one of the gateway's own paths is for programs, who bring no cookie."""
        return path in _PROGRAMS or path.startswith(_METADATA)

    def origin(self, asked: Asked) -> bytes | None:
        """The page's origin that asks, if it is on the list."""
        origin = asked.head.values.get(b"origin")
        if origin is None or b"origin" in asked.head.doubled:
            return None
        return origin if origin.decode("latin-1") in self.origins else None

    async def admit(self, asked: Asked) -> bool:
        """Let every answer say that this page may read it. Whether it was a preflight, answered already."""
        origin = self.origin(asked)
        if origin is None or asked.is_websocket:
            return False
        if _is_preflight(asked):
            asked.own_status = 204
            await send_answer(asked.send, 204, [*_shared(origin), *_preflight(asked)], b"")
            return True
        asked.send = _sharing(asked.send, _shared(origin))
        return False


def _is_preflight(asked: Asked) -> bool:
    names = {name for name, _ in asked.scope["headers"]}
    return asked.scope["method"] == "OPTIONS" and b"access-control-request-method" in names


def _preflight(asked: Asked) -> list[Header]:
    requested = b",".join(v for n, v in asked.scope["headers"] if n == b"access-control-request-headers")
    named = [name.strip().lower() for name in requested.split(b",")[:_REQUESTED_HEADERS_MAX]]
    parameters = [n for n in named if n.startswith(_PARAMETERS) and n.replace(b"-", b"").isalnum()]
    return [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", b", ".join((_ALLOWED_HEADERS, *parameters))),
        (b"access-control-max-age", b"%d" % _PREFLIGHT_S),
        (b"vary", b"Access-Control-Request-Headers"),
    ]


def _shared(origin: bytes) -> list[Header]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def _sharing(send: Send, shared: list[Header]) -> Send:
    """``send`` that puts ``shared`` in place of what the container says of other origins."""

    async def sharing(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(n, v) for n, v in message["headers"] if not n.lower().startswith(b"access-control-")]
            message = {**message, "headers": [*kept, *shared]}
        await send(message)

    return sharing
