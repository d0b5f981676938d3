"""The store over any backend: the port's methods, each put together from the parts that give rows meaning.

Decides which of them runs in one transaction, and when a worker's progress is worth a write (somebody
waits for it). Refuses to know the medium. Next: :mod:`state.store.transaction`, what a write means.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import structlog

from state.kinds.resource import Resource
from state.store import leases
from state.store.errors import BarrierTimeout, NotFound, StoreError
from state.store.port import CHANGE_LOG_ROWS_MAX, Batch, Change, Leadership, Lease, Presence, Tx
from state.store.rows import Backend, Counter, Rows
from state.store.transaction import ReadTransaction, Transaction
from state.store.watching import Watch, refuse_too_old

T = TypeVar("T")
_log = structlog.get_logger(__name__)

# A dead worker's lease ends without a ring; the waiter looks a little after, so that one look suffices.
EXPIRY_MARGIN_S = 0.01


@dataclass(slots=True)
class _Worker:
    """What this process knows of a worker that joined through it."""

    applied_revision: int = 0
    acknowledged_revision: int = 0  # what is on record of it
    is_lost: bool = False  # its lease ran out; whoever joins is to hear of it


class RowStore:
    """Implements :class:`state.store.port.Store`."""

    def __init__(
        self,
        backend: Backend,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid4()),
        change_log_rows_max: int = CHANGE_LOG_ROWS_MAX,
    ) -> None:
        self._backend = backend
        self._now = now
        self._new_uid = new_uid
        self._change_log_rows_max = change_log_rows_max
        self._workers: dict[str, _Worker] = {}
        self._held_epochs: dict[str, int] = {}
        self._barrier_revision = 0  # the newest that any look at the counter has shown

    async def transact(self, fn: Callable[[Tx], T], *, actor: str) -> T:
        def run(rows: Rows) -> T:
            tx = Transaction(rows, now=self._now(), actor=actor, new_uid=self._new_uid)
            answer = fn(tx)
            tx.finish(change_log_rows_max=self._change_log_rows_max)
            return answer

        return await self._backend.write(run)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        return await self._backend.read(lambda rows: fn(ReadTransaction(rows, now=self._now())))

    async def revision(self) -> int:
        return (await self._backend.read(lambda rows: rows.counter())).revision

    async def changes(self, since: int, limit: int) -> list[Change]:
        def run(rows: Rows) -> list[Change]:
            refuse_too_old(rows.counter(), since)
            return list(rows.changes(since, limit))

        return await self._backend.read(run)

    async def watch(self, kinds: tuple[type[Resource], ...]) -> AsyncGenerator[Batch, None]:
        watch = Watch(self._backend, kinds)
        while True:
            seen = await watch.look()
            if seen is None:
                continue
            counter, batch = seen
            await self._tell_who_waits(counter)
            if batch is not None:
                yield batch

    # --- leases and the barrier ---------------------------------------------------------------------

    def clock_s(self) -> float:
        return self._backend.clock_s()

    async def join(self, worker: str, *, ttl_s: float) -> Lease:
        expires_s = self.clock_s() + ttl_s
        known = self._workers.get(worker)
        if known is None:
            await self._backend.write(lambda rows: leases.announce(rows, worker, ttl_s), ring=False)
            self._workers[worker] = _Worker()
        elif known.is_lost:
            del self._workers[worker]
            raise _lost(worker)
        else:
            await self._renew(worker, known, ttl_s)
        return Lease(worker, expires_s)

    async def leave(self, worker: str) -> None:
        self._workers.pop(worker, None)
        await self._backend.write(lambda rows: rows.drop_lease(worker))

    async def acknowledge(self, worker: str, revision: int) -> None:
        known = self._workers.get(worker)
        if known is None:
            raise NotFound(f"worker {worker} holds no lease; join first")
        if known.is_lost:
            raise _lost(worker)
        known.applied_revision = max(known.applied_revision, revision)
        await self._put_on_record(worker, known)

    async def barrier(self, revision: int, timeout_s: float) -> None:
        bell, deadline_s, has_asked = self._backend.bell, self.clock_s() + timeout_s, False
        while True:
            seen_count = bell.count
            laggards = await self._backend.read(lambda rows: leases.laggards(rows, revision))
            if not laggards:
                return
            left_s = deadline_s - self.clock_s()
            if left_s <= 0:
                workers = ", ".join(sorted(laggards))
                raise BarrierTimeout(f"revision {revision} is not applied yet by {workers}; try again later")
            if not has_asked:
                await self._backend.write(lambda rows: leases.want(rows, revision))
                has_asked = True
                continue
            first_expiry_s = min(laggards.values()) + EXPIRY_MARGIN_S
            poll_s = self._backend.poll_s
            await bell.wait(seen_count, min(left_s, first_expiry_s, left_s if poll_s is None else poll_s))

    async def _renew(self, worker: str, known: _Worker, ttl_s: float) -> None:
        applied = known.applied_revision
        try:
            await self._backend.write(
                lambda rows: leases.renew(rows, worker, ttl_s, applied),
                ring=applied > known.acknowledged_revision,
            )
        except NotFound:
            self._workers.pop(worker, None)
            raise
        known.acknowledged_revision = applied

    async def _tell_who_waits(self, counter: Counter) -> None:
        """Called at every look: somebody may have begun to wait for what was applied long ago."""
        self._barrier_revision = max(self._barrier_revision, counter.barrier_revision)
        for worker, known in list(self._workers.items()):
            if known.is_lost:
                continue
            try:
                await self._put_on_record(worker, known)
            except StoreError as error:  # the worker is told when it joins; this reader reads on
                _log.warning("progress.unrecorded", worker=worker, why=str(error))

    async def _put_on_record(self, worker: str, known: _Worker) -> None:
        applied, on_record = known.applied_revision, known.acknowledged_revision
        if applied <= on_record or self._barrier_revision <= on_record:
            return
        try:
            await self._backend.write(lambda rows: leases.acknowledge(rows, worker, applied))
        except NotFound:
            known.is_lost = True
            raise
        known.acknowledged_revision = max(known.acknowledged_revision, applied)

    # --- leadership -----------------------------------------------------------------------------------

    async def lead(self, holder: str, *, ttl_s: float, epoch_min: int = 0) -> Leadership:
        expires_s = self.clock_s() + ttl_s
        held = self._held_epochs.get(holder)
        epoch = await self._backend.write(
            lambda rows: leases.lead(rows, holder, ttl_s, held, epoch_min), ring=False
        )
        self._held_epochs[holder] = epoch
        return Leadership(holder, epoch, expires_s)

    async def presence(self) -> Presence:
        return await self._backend.read(leases.presence)

    async def resign(self, holder: str) -> None:
        held = self._held_epochs.pop(holder, None)
        await self._backend.write(lambda rows: leases.resign(rows, holder, held))

    async def close(self) -> None:
        await self._backend.close()


def _lost(worker: str) -> NotFound:
    return NotFound(f"the lease of worker {worker} ran out; drop what it has read and join again")
