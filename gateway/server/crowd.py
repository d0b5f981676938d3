"""Room for the next client when as many are connected as may be.

Decides who has to go: whoever only waits for its client's next move, first those that never asked for
anything, and of them whoever has waited the longest. A request that nobody has let in and that is not here as
a whole is such a wait too. So a crowd of silent connections pushes out its own, and what was let in is never
cut. Next: :mod:`gateway.server.connection`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

NEWCOMER_S = 1.0  # whoever waits for less may be about to speak: they go only where nobody else can


class Wait(NamedTuple):
    """How a connection waits for its client."""

    is_known: bool  # it has asked for something before
    since: float  # on the loop's clock


def make_room(connections: Iterable[object], count_max: int, now: float) -> bool:
    """Close up to ``count_max`` of those who wait; whether there was one.

    A connection that knows of waiting has ``wait``, None while it is answered, and ``shed()``.
    """
    waiting = [(wait, one) for one in connections if (wait := getattr(one, "wait", None)) is not None]
    going = heapq.nsmallest(count_max, waiting, key=lambda pair: _turn(pair[0], now))
    for _, one in going:
        one.shed()  # type: ignore[attr-defined]
    return bool(going)


def _turn(wait: Wait, now: float) -> tuple[bool, bool, float]:
    return (now - wait.since < NEWCOMER_S, wait.is_known, wait.since)
