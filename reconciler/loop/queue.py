"""Whose turn it is: a queue of keys, each at most once in it and with at most one worker at a time.

A key added while it is being worked on gets another turn afterwards. The more urgent of two priorities
wins; among equals, first come, first served. Decides order alone and knows nothing of what keys mean.
Next: :mod:`reconciler.loop.cache`.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """Smaller is sooner."""

    URGENT = 0  # deletion, wake
    HEALTH = 1  # a probe's finding: whoever is ready is let through before the next one is begun
    CREATE = 2
    ROLLOUT = 3
    REFILL = 4
    RESYNC = 5


@dataclass(slots=True)
class _Later:
    at: float
    timer: asyncio.TimerHandle
    priority: Priority


class KeyQueue(Generic[K]):
    """A deduplicating priority queue with delayed adds; its size is bounded by the number of keys."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, K]] = []
        self._order = count()
        self._waiting: dict[K, Priority] = {}
        self._working: set[K] = set()
        self._again: dict[K, Priority] = {}
        self._later: dict[K, _Later] = {}
        self._takers: deque[asyncio.Future[None]] = deque()

    def add(self, key: K, priority: Priority) -> None:
        """Give ``key`` a turn; an entry of higher urgency that waits already stays."""
        if key in self._working:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        waiting = self._waiting.get(key)
        if waiting is not None and waiting <= priority:
            return
        self._waiting[key] = priority
        heapq.heappush(self._heap, (priority, next(self._order), key))
        self._wake_one()

    def add_after(self, key: K, delay_s: float, priority: Priority) -> None:
        """Give ``key`` a turn in ``delay_s``; an earlier one already agreed on stays."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, delay_s)
        later = self._later.get(key)
        if later is not None:
            if later.at <= at:
                return
            later.timer.cancel()
        self._later[key] = _Later(at, loop.call_at(at, self._due, key), priority)

    async def take(self) -> tuple[K, Priority]:
        """The most urgent key; it is the caller's until :meth:`done`."""
        while (taken := self._pop()) is None:
            arrival = asyncio.get_running_loop().create_future()
            self._takers.append(arrival)
            try:
                await arrival
            except asyncio.CancelledError:
                if arrival in self._takers:
                    self._takers.remove(arrival)
                else:
                    self._wake_one()  # the turn that was ours is somebody else's
                raise
        return taken

    def done(self, key: K) -> None:
        """The turn is over; an add that came meanwhile counts now."""
        self._working.discard(key)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again)

    def forget(self, key: K) -> None:
        """Drop what is agreed on for later."""
        later = self._later.pop(key, None)
        if later is not None:
            later.timer.cancel()

    def is_idle(self) -> bool:
        """Nothing waits for a turn or has one; delayed adds do not count."""
        return not self._waiting and not self._working

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        for later in self._later.values():
            later.timer.cancel()
        self._later.clear()

    def _pop(self) -> tuple[K, Priority] | None:
        while self._heap:
            priority, _, key = heapq.heappop(self._heap)
            if self._waiting.get(key) == priority:  # otherwise a more urgent entry took its place
                del self._waiting[key]
                self._working.add(key)
                return key, Priority(priority)
        return None

    def _wake_one(self) -> None:
        """One key, one worker: the others sleep on."""
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    def _due(self, key: K) -> None:
        later = self._later.pop(key)
        self.add(key, later.priority)
