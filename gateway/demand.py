"""Writes what the ledger saw as Demand objects, every FLUSH_EVERY_S.

Demand keeps containers awake. Several workers write the same object: ``inFlight`` is the last writer's, and
the time of the last activity only moves forward; putting somebody to sleep does not rest on either, but on
asking the workers. Next: :mod:`state.kinds.demand`.
"""

import asyncio
from functools import partial

import structlog

from gateway.use import Ledger, Use
from state.kinds.demand import Demand, DemandSpec
from state.kinds.resource import Metadata
from state.kinds.user_container import UserContainer
from state.store.errors import StoreError
from state.store.port import Store, Tx

FLUSH_EVERY_S = 5.0
TRANSACTION_COUNT_MAX = 1000  # other writers wait no longer than for so many

_log = structlog.get_logger(__name__)
Seen = tuple[str, int, bool]  # UserContainer, in flight, somebody waits


class DemandWriter:
    """One a worker."""

    def __init__(self, store: Store, ledger: Ledger, *, worker: str) -> None:
        self._store = store
        self._ledger = ledger
        self._actor = f"gateway:{worker}"

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all that changed since the last time. What cannot be written now is kept for the next."""
        uses = self._ledger.take()
        for first in range(0, len(uses), TRANSACTION_COUNT_MAX):
            batch = uses[first : first + TRANSACTION_COUNT_MAX]
            seen = [(use.name, use.in_flight, use.waiting_count > 0) for use in batch]
            try:
                await self._store.transact(partial(_write, seen=seen), actor=self._actor)
            except StoreError as error:
                _log.warning("demand.unwritten", count=len(uses) - first, why=str(error))
                self._keep(uses[first:])
                return

    def _keep(self, uses: list[Use]) -> None:
        for use in uses:
            if not use.is_listed:
                self._ledger.enter(use)


def _write(tx: Tx, seen: list[Seen]) -> None:
    for name, in_flight, waits in seen:
        if tx.get(UserContainer, name) is None:
            continue
        before = tx.get(Demand, name)
        waiting_since = before.spec.waiting_since if before is not None else None
        spec = DemandSpec(
            in_flight=in_flight,
            last_activity_at=tx.now,
            waiting_since=(waiting_since or tx.now) if waits else None,
        )
        if before is None:
            tx.create(Demand(metadata=Metadata(name=name), spec=spec))
        else:
            tx.update_spec(before.replaced(spec=spec))
