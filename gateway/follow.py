"""Follows the store: lease, table, barrier. While it runs, the table says what the store says, or nothing.

Decides the order that keeps bytes from crossing: join, read everything, route, and acknowledge a revision
only once nothing here routes what it says is unrouted. Refuses to know requests. Next: :mod:`gateway.lease`.
"""

import asyncio
from typing import NoReturn

import structlog

from gateway.lease import LeaseKeeper, LeaseLostError
from gateway.proxy import Proxy
from gateway.routes.table import KINDS, Retirement, Table
from state.store.errors import NotFound, Replaced, StoreError
from state.store.port import Store

RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class Follower:
    """One a worker. ``run`` lasts as long as the worker."""

    def __init__(self, store: Store, table: Table, proxy: Proxy, lease: LeaseKeeper, *, worker: str) -> None:
        self._store = store
        self._table = table
        self._proxy = proxy
        self._lease = lease
        self._worker = worker

    async def run(self) -> NoReturn:
        """Raises Replaced: what this worker knows is another store's, and it has to begin anew."""
        while True:
            try:
                await self._lease.join()
                await self._follow_while_leased()
            except LeaseLostError:
                _log.warning("routes.dropped", worker=self._worker)
            except Replaced:
                raise
            except StoreError as error:
                _log.warning("store.unanswered", worker=self._worker, why=str(error), retry_after_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            finally:
                self._table.suspend()

    async def _follow_while_leased(self) -> None:
        """Raises LeaseLostError, StoreError: whichever of the two tasks ends first ends both."""
        tasks = [asyncio.create_task(self._lease.keep()), asyncio.create_task(self._follow())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        is_first = True
        async for batch in self._store.watch(KINDS):
            await self._retire(self._table.replace(batch) if is_first else self._table.apply(batch))
            if is_first:
                _log.info("routes.read", worker=self._worker, seats=len(self._table), revision=batch.revision)
            is_first = False
            await self._acknowledge(batch.revision)

    async def _retire(self, retired: list[Retirement]) -> None:
        for retirement in retired:
            await self._proxy.retire(retirement.incarnation, cut=retirement.cut)

    async def _acknowledge(self, revision: int) -> None:
        try:
            await self._store.acknowledge(self._worker, revision)
        except NotFound as lost:
            raise LeaseLostError from lost
        except StoreError as error:  # the next renewal puts it on record
            _log.warning("progress.unrecorded", worker=self._worker, why=str(error))
