"""How each kind of request may be held. Pure.

Decides from method, headers and route; who may be held at all was decided before.
"""

from enum import Enum, auto

from gateway.asked import Asked


class Manner(Enum):
    """How a request may be held."""

    NOT = auto()  # nobody in particular asks: it wakes nothing and waits for nothing
    PLAIN = auto()  # silently, to the deadline
    PAGE = auto()  # a moment, then the waiting page
    EVENTS = auto()  # silently at first, then with comments


def manner_of_call(asked: Asked) -> Manner:
    """How a request to an MCP route is held.

    Events only where the answer needs no header of its own: an ``initialize`` must bring a session id in one.
    """
    values = asked.head.values
    if b"mcp-session-id" not in values and b"mcp-method" not in values:
        return Manner.PLAIN
    is_call = asked.scope.get("method") == "POST" and asked.head.accepts_events
    return Manner.EVENTS if is_call else Manner.PLAIN


def listens(asked: Asked) -> bool:
    """Whether an MCP client asks to hear what comes, and for nothing else: no use, and no reason to wake.

    Source: MCP Streamable HTTP (a GET) and MCP 2026-07-28 (the call subscriptions/listen).
    """
    if asked.route is None or asked.route.protocol != "mcp":
        return False
    return asked.scope.get("method") == "GET" or asked.head.get(b"mcp-method") == b"subscriptions/listen"


def ends_session(asked: Asked) -> bool:
    """Whether an MCP client takes leave. Source: MCP Streamable HTTP (a DELETE)."""
    is_mcp = asked.route is not None and asked.route.protocol == "mcp"
    return is_mcp and asked.scope.get("method") == "DELETE"


def manner_of_page(asked: Asked, *, is_anyones: bool) -> Manner:
    """How a request to a page route is held."""
    if is_anyones:
        return Manner.NOT
    return Manner.PAGE if asked.scope.get("method") == "GET" and asked.head.is_navigation else Manner.PLAIN
