"""How many containers may be starting at once, how many are made in a minute, and how many there are at all.

A few places are kept for urgent starts, so that somebody who waits is never behind a whole rollout.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from reconciler.core.errors import TransientError
from state.kinds.incarnation import Incarnation, IncarnationNames

STARTS_AT_ONCE_DEFAULT = 8
STARTS_RESERVED_DEFAULT = 2
MINUTE_S = 60.0


class StartGate:
    """``at_once`` places, of which ``reserved`` are for urgent starts alone."""

    def __init__(
        self, at_once: int = STARTS_AT_ONCE_DEFAULT, reserved: int = STARTS_RESERVED_DEFAULT
    ) -> None:
        assert 0 <= reserved < at_once, "somebody must be able to start without being urgent"
        self._all = asyncio.Semaphore(at_once)
        self._common = asyncio.Semaphore(at_once - reserved)

    @asynccontextmanager
    async def place(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a place, in the order of asking."""
        if urgent:
            async with self._all:
                yield
            return
        async with self._common, self._all:
            yield


class CreationRate:
    """The ceiling's creations per minute, over a sliding minute."""

    def __init__(self, per_minute_max: int, clock: Callable[[], float]) -> None:
        self._max = per_minute_max
        self._clock = clock
        self._made_at: deque[float] = deque()

    def spend(self) -> None:
        """Count one creation. Raises TransientError CreationRate with the seconds until there is room."""
        now = self._clock()
        while self._made_at and self._made_at[0] <= now - MINUTE_S:
            self._made_at.popleft()
        if len(self._made_at) >= self._max:
            wait_s = self._made_at[0] + MINUTE_S - now
            message = f"{self._max} containers were made within a minute (CEILING_CREATES_PER_MINUTE)"
            raise TransientError("CreationRate", message, retry_after_s=max(wait_s, 0.1))
        self._made_at.append(now)


@dataclass(slots=True)
class Creations:
    """What holds the ceiling where a container is made: an intent is the store's word, and somebody else may
    have written it, so that the engine's own count decides, and the rate is spent for it here.
    """

    under_way_count: int = 0
    paid: dict[str, str] = field(default_factory=dict)  # home → its incarnation that the rate was spent for

    def intended(self, home: str, number: int) -> None:
        """This process intends it, and has spent the rate."""
        self.paid[home] = IncarnationNames.record(home, number)

    def begin(self, incarnation: Incarnation, shown_count: int, count_max: int, rate: CreationRate) -> None:
        """``shown_count`` is what the engine shows. Raises TransientError, with nothing to end then."""
        home = incarnation.spec.home
        if shown_count + self.under_way_count >= count_max:
            raise TransientError("CapacityReached", f"CEILING_CONTAINERS ({count_max}) containers are there")
        if self.paid.get(home) != incarnation.name:
            rate.spend()
            self.paid[home] = incarnation.name
        self.under_way_count += 1

    def end(self) -> None:
        self.under_way_count -= 1
