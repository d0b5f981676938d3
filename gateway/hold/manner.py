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


def manner_of_page(asked: Asked, *, is_anyones: bool) -> Manner:
    """How a request to a page route is held."""
    if is_anyones:
        return Manner.NOT
    return Manner.PAGE if asked.scope.get("method") == "GET" and asked.head.is_navigation else Manner.PLAIN
