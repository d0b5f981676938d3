"""The store in memory: for tests and simulations, under any clock, without a thread.

Decides how rows are kept in dicts and undone. The meaning of a write is :mod:`state.store.transaction`'s,
as everywhere. Objects are immutable, so they are kept and handed out as they are.
"""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast
from uuid import uuid4

from state.kinds.resource import Key, Resource
from state.store.bell import Bell
from state.store.port import CHANGE_LOG_ROWS_MAX, Change
from state.store.rows import Counter, LeaderRow, LeaseRow, Rows
from state.store.rowstore import RowStore

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


def memory_store(
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock_s: Callable[[], float] = time.monotonic,
    new_uid: Callable[[], str] = lambda: str(uuid4()),
    change_log_rows_max: int = CHANGE_LOG_ROWS_MAX,
) -> RowStore:
    """A store that lives as long as the process. ``clock_s`` tells leases' times, ``now`` objects'.

    Stores of one :class:`MemoryBackend` share their rows, as processes share a file.
    """
    return RowStore(MemoryBackend(clock_s), now=now, new_uid=new_uid, change_log_rows_max=change_log_rows_max)


class MemoryBackend:
    """Implements :class:`state.store.rows.Backend`."""

    poll_s: float | None = None

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.bell = Bell()
        self._rows = MemoryRows(clock_s)

    def clock_s(self) -> float:
        return self._rows.clock_s()

    async def write(self, fn: Callable[[Rows], T], *, ring: bool = True) -> T:
        """Gives way before and after, as a real store does: a task can be cancelled at either place."""
        await asyncio.sleep(0)
        before = self._rows.writes_count
        try:
            answer = fn(self._rows)
        except BaseException:
            self._rows.undo()
            raise
        self._rows.commit()
        if ring and self._rows.writes_count != before:
            self.bell.ring()
        await asyncio.sleep(0)
        return answer

    async def read(self, fn: Callable[[Rows], T]) -> T:
        await asyncio.sleep(0)
        return fn(self._rows)

    async def close(self) -> None:
        """Nothing to let go of."""


class MemoryRows:
    """Implements :class:`state.store.rows.Rows`; keeps the way back until the transaction ends."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._counter = Counter()
        self._leader = LeaderRow()
        self._objects: defaultdict[str, dict[str, Resource]] = defaultdict(dict)
        self._holders: dict[tuple[str, str], str] = {}
        self._held: defaultdict[Key, set[str]] = defaultdict(set)
        self._changes: list[Change] = []
        self._leases: dict[str, LeaseRow] = {}
        self._way_back: list[Callable[[], object]] = []
        self.writes_count = 0

    def commit(self) -> None:
        self._way_back.clear()

    def undo(self) -> None:
        while self._way_back:
            self._way_back.pop()()

    def clock_s(self) -> float:
        return self._clock_s()

    def counter(self) -> Counter:
        return self._counter

    def put_counter(self, counter: Counter) -> None:
        before = self._counter
        self._wrote(lambda: setattr(self, "_counter", before))
        self._counter = counter

    def get(self, kind: type[R], name: str) -> R | None:
        return cast("R | None", self._objects[kind.kind].get(name))

    def list(self, kind: type[R]) -> list[R]:
        return cast("list[R]", [obj for _, obj in sorted(self._objects[kind.kind].items())])

    def insert(self, obj: Resource) -> None:
        objects = self._objects[obj.kind]
        self._wrote(lambda: objects.pop(obj.name))
        objects[obj.name] = obj

    def replace(self, obj: Resource) -> None:
        objects = self._objects[obj.kind]
        before = objects[obj.name]
        self._wrote(lambda: objects.__setitem__(obj.name, before))
        objects[obj.name] = obj

    def remove(self, key: Key) -> None:
        for unique_key in tuple(self._held[key]):
            self.free_unique_key(key, unique_key)
        del self._held[key]
        objects = self._objects[key.kind]
        before = objects.pop(key.name)
        self._wrote(lambda: objects.__setitem__(key.name, before))

    def holder(self, kind: str, unique_key: str) -> str | None:
        return self._holders.get((kind, unique_key))

    def count_unique_keys(self, kind: str, prefix: str) -> int:
        return sum(of == kind and key.startswith(prefix) for of, key in self._holders)

    def take_unique_key(self, key: Key, unique_key: str) -> None:
        self._wrote(lambda: self._let_go(key, unique_key))
        self._hold(key, unique_key)

    def free_unique_key(self, key: Key, unique_key: str) -> None:
        self._wrote(lambda: self._hold(key, unique_key))
        self._let_go(key, unique_key)

    def append(self, changes: Sequence[Change]) -> None:
        length = len(self._changes)
        self._wrote(lambda: self._changes.__delitem__(slice(length, None)))
        self._changes.extend(changes)

    def changes(self, since: int, limit: int) -> Sequence[Change]:
        first = bisect_right(self._changes, since, key=lambda change: change.revision)
        return self._changes[first : first + limit]

    def changed(self, since: int, kinds: Sequence[type[Resource]]) -> Sequence[tuple[Key, Resource | None]]:
        names = {kind.kind for kind in kinds}
        keys = dict.fromkeys(change.key for change in self.changes(since, len(self._changes)))
        return [(key, self._objects[key.kind].get(key.name)) for key in keys if key.kind in names]

    def trim(self, rows_max: int) -> int | None:
        over = len(self._changes) - rows_max
        if over <= 0:
            return None
        oldest = self._changes[:over]
        self._wrote(lambda: self._changes.__setitem__(slice(0, 0), oldest))
        del self._changes[:over]
        return oldest[-1].revision

    def leases(self) -> Sequence[LeaseRow]:
        return tuple(self._leases.values())

    def put_lease(self, lease: LeaseRow) -> None:
        before = dict(self._leases)
        self._wrote(lambda: setattr(self, "_leases", before))
        self._leases[lease.worker] = lease

    def drop_lease(self, worker: str) -> None:
        before = dict(self._leases)
        self._wrote(lambda: setattr(self, "_leases", before))
        self._leases.pop(worker, None)

    def leader(self) -> LeaderRow:
        return self._leader

    def put_leader(self, leader: LeaderRow) -> None:
        before = self._leader
        self._wrote(lambda: setattr(self, "_leader", before))
        self._leader = leader

    def _wrote(self, way_back: Callable[[], object]) -> None:
        self._way_back.append(way_back)
        self.writes_count += 1

    def _hold(self, key: Key, unique_key: str) -> None:
        self._holders[key.kind, unique_key] = key.name
        self._held[key].add(unique_key)

    def _let_go(self, key: Key, unique_key: str) -> None:
        del self._holders[key.kind, unique_key]
        self._held[key].discard(unique_key)
