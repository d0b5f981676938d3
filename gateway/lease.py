"""A worker's lease: while it stands, barriers wait for this worker, so what its table says may be used.

Decides whether the table may be believed at this very moment. A lease that the store says ran out is lost:
everything is read anew. A store that does not *answer* lets nobody pass a barrier either, for whoever waits
for one must write before it acts; so routes that are known keep working through its silence, as long as this
process itself was not asleep. Next: :mod:`gateway.worker`.
"""

import asyncio
from contextlib import suppress

import structlog

from state.store.errors import NotFound, StoreError
from state.store.port import Lease, Store

TTL_S = 10.0
RENEW_EVERY_S = 2.0
TICK_S = 0.5
SILENCE_S = 2.0  # of the store, before it counts as not answering
EXCUSE_S = 1.5  # how long a tick excuses: longer than TICK_S, shorter than anybody needs to re-use an address

_log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Barriers have passed this worker by: stop routing, and begin again with a join."""


class LeaseKeeper:
    """Joins, renews, and says whether the lease stands. One a worker."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker
        self._expires_s = float("-inf")
        self._excused_until_s = float("-inf")
        self._kicked = asyncio.Event()
        self._answered = asyncio.Event()

    def stands(self) -> bool:
        now_s = self._store.clock_s()
        return now_s < self._expires_s or now_s < self._excused_until_s

    async def join(self) -> None:
        """Announce this worker. Raises StoreError."""
        self._take(await self._store.join(self._worker, ttl_s=TTL_S))

    async def confirm(self, timeout_s: float) -> bool:
        """Renew now, because the lease does not stand (the process slept); whether it does again."""
        self._answered.clear()
        self._kicked.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._answered.wait()
        return self.stands()

    async def keep(self) -> None:
        """Renew until the lease is lost. Raises LeaseLostError."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._kicked.wait()
            self._kicked.clear()
            await self._renew()

    async def leave(self) -> None:
        """Give it back, so that no barrier waits for a worker that is gone."""
        self._expires_s = self._excused_until_s = float("-inf")
        with suppress(StoreError):
            await self._store.leave(self._worker)

    async def _renew(self) -> None:
        attempt = asyncio.ensure_future(self._store.join(self._worker, ttl_s=TTL_S))
        try:
            await self._bear_silence(attempt)
            self._take(await attempt)
        except NotFound as lost:
            self._lose()
            raise LeaseLostError from lost
        except StoreError as error:
            _log.warning("lease.unrenewed", worker=self._worker, why=str(error))
            self._excused_until_s = self._store.clock_s() + RENEW_EVERY_S + EXCUSE_S
        finally:
            attempt.cancel()
            self._answered.set()

    async def _bear_silence(self, attempt: asyncio.Future[Lease]) -> None:
        """Until the store answers; its silence excuses from tick to tick, a gap between ticks does not."""
        silent_since_s = ticked_s = self._store.clock_s()
        while not attempt.done():
            await asyncio.wait({attempt}, timeout=TICK_S)
            now_s = self._store.clock_s()
            if now_s - ticked_s > EXCUSE_S:
                silent_since_s = now_s  # it was we who slept
            elif now_s - silent_since_s >= SILENCE_S:
                self._excused_until_s = now_s + EXCUSE_S
                self._answered.set()
            ticked_s = now_s

    def _take(self, lease: Lease) -> None:
        self._expires_s = lease.expires_s
        self._excused_until_s = float("-inf")

    def _lose(self) -> None:
        self._expires_s = self._excused_until_s = float("-inf")
        _log.warning("lease.expired", worker=self._worker)
