"""A worker's lease: while it stands, barriers wait for this worker, so what its table says may be used.

Decides whether the table may be believed at this very moment. A store that does not answer excuses nothing:
whether it is silent for everybody or for this worker alone cannot be told from here, and somebody who reaches
it may be passing a barrier. So known routes work through a silence that is shorter than the lease, and no
longer; then requests wait for the next answer. Next: :mod:`gateway.worker`.
"""

import asyncio
from contextlib import suppress

import structlog

from state.store.errors import NotFound, Replaced, StoreError
from state.store.port import Store

TTL_S = 10.0
RENEW_EVERY_S = 2.0
RETRY_AFTER_S = 0.5  # however many requests wait for the next answer

_log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Barriers have passed this worker by: stop routing, and begin again with a join."""


class LeaseKeeper:
    """Joins, renews, and says whether the lease stands. One a worker."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker
        self._expires_s = float("-inf")
        self._kicked = asyncio.Event()
        self._answered = asyncio.Event()

    def stands(self) -> bool:
        return self._store.clock_s() < self._expires_s

    async def join(self) -> None:
        """Announce this worker. Raises StoreError; LeaseLostError for a lease that ended unheard."""
        try:
            await self._extend()
        except NotFound as lost:
            raise LeaseLostError from lost

    async def confirm(self, timeout_s: float) -> bool:
        """Renew now, because the lease does not stand (the process slept, the store was silent).

        Whether it does again.
        """
        self._answered.clear()
        self._kicked.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._answered.wait()
        return self.stands()

    async def keep(self) -> None:
        """Renew until the lease is lost. Raises LeaseLostError, Replaced."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._kicked.wait()
            self._kicked.clear()
            if not await self._renew():
                await asyncio.sleep(RETRY_AFTER_S)

    async def leave(self) -> None:
        """Give it back, so that no barrier waits for a worker that is gone."""
        self._expires_s = float("-inf")
        with suppress(StoreError):
            await self._store.leave(self._worker)

    async def _renew(self) -> bool:
        """Whether the store said yes. Raises LeaseLostError, Replaced."""
        try:
            await self._extend()
        except NotFound as lost:
            self._expires_s = float("-inf")
            _log.warning("lease.expired", worker=self._worker)
            raise LeaseLostError from lost
        except Replaced:
            self._expires_s = float("-inf")
            raise
        except StoreError as error:
            _log.warning("lease.unrenewed", worker=self._worker, why=str(error))
            return False
        finally:
            self._answered.set()
        return True

    async def _extend(self) -> None:
        lease = await self._store.join(self._worker, ttl_s=TTL_S)
        self._expires_s = lease.expires_s
