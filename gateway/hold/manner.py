"""How each kind of request may be held. Pure.

Decides from method, headers and route; who may be held at all was decided before.
"""

from enum import Enum, auto

from gateway.asked import Asked

_CALL_HEADERS = (b"mcp-session-id", b"mcp-method")  # of calls whose answer needs no header of its own


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
    is_call = asked.scope.get("method") == "POST" and any(name in values for name in _CALL_HEADERS)
    return Manner.EVENTS if is_call and asked.head.accepts_events else Manner.PLAIN


def manner_of_page(asked: Asked, *, is_anyones: bool) -> Manner:
    """How a request to a page route is held."""
    if is_anyones:
        return Manner.NOT
    return Manner.PAGE if asked.scope.get("method") == "GET" and asked.head.is_navigation else Manner.PLAIN
