"""The right to act: a lease in the store, an epoch that fences, and a clock that a suspended process obeys.

A process that was suspended past its lease finds it expired by its own monotonic clock before it mutates
anything, and a newer reconciler's epoch makes every write of an older one fail.
Next: :mod:`reconciler.loop.actuator`.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from reconciler.core.errors import TransientError
from state.store.errors import Conflict, Replaced, StoreError
from state.store.port import Store

LEASE_TTL_S = 10.0
RENEW_PERIOD_S = 3.0
# Nothing is begun in the lease's last second: the call itself takes time.
LEASE_MARGIN_S = 1.0

_log = structlog.get_logger(__name__)


def suspended_too() -> float:
    """Seconds on a clock that goes on while the machine sleeps. Source: clock_gettime(2), CLOCK_BOOTTIME."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Leader:
    """Holds, renews and gives back the leadership of one reconciler process."""

    def __init__(self, store: Store, holder: str, clock: Callable[[], float] = suspended_too) -> None:
        self._store = store
        self._holder = holder
        self._clock = clock
        self._until = 0.0
        self.epoch = 0

    @property
    def is_leading(self) -> bool:
        return self._clock() < self._until - LEASE_MARGIN_S

    def require(self) -> None:
        """Raises TransientError NotLeading unless the lease still runs."""
        if not self.is_leading:
            raise TransientError("NotLeading", "this reconciler's lease ran out; another one may act")

    async def acquire(self, epoch_min: int = 0) -> None:
        """Wait until the leadership is ours. Raises StoreError when the store does not answer."""
        is_told = False
        while True:
            try:
                await self._lead(epoch_min)
            except Conflict as conflict:
                if not is_told:
                    _log.info("leadership.awaited", why=str(conflict))
                is_told = True
                await asyncio.sleep(RENEW_PERIOD_S)
                continue
            _log.info("leadership.acquired", epoch=self.epoch)
            return

    async def keep(self) -> None:
        """Renew for ever. Returns when somebody else leads, or renewing came too late: then stop at once."""
        while True:
            await asyncio.sleep(RENEW_PERIOD_S)
            epoch = self.epoch
            try:
                await self._lead(0)
            except Conflict as conflict:
                self._until = 0.0
                _log.error("leadership.lost", why=str(conflict))
                return
            except Replaced as replaced:
                self._until = 0.0
                _log.error("leadership.lost", why=str(replaced))
                return
            except StoreError as error:
                _log.warning("leadership.unrenewed", why=str(error))
                if self._clock() >= self._until:
                    return
                continue
            if self.epoch != epoch:
                self._until = 0.0  # what was read under the last epoch is no ground to act on under this one
                _log.error("leadership.lost", why="the lease ran out before it was renewed", epoch=self.epoch)
                return

    async def resign(self) -> None:
        self._until = 0.0
        await self._store.resign(self._holder)

    async def _lead(self, epoch_min: int) -> None:
        asked_at = self._clock()
        leadership = await self._store.lead(self._holder, ttl_s=LEASE_TTL_S, epoch_min=epoch_min)
        self.epoch = leadership.epoch
        self._until = asked_at + LEASE_TTL_S
