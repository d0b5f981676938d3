"""What a backend keeps, row by row: the seam between the store's meaning and its medium.

Decides nothing: :mod:`state.store.transaction`, :mod:`state.store.leases` and :mod:`state.store.watching`
give the rows their meaning, the same for every medium. :mod:`state.store.memory` and
:mod:`state.store.sql_rows` keep them. Everything here is synchronous and runs inside one transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from state.kinds.resource import Key, Resource
from state.store.bell import Bell
from state.store.port import Change

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counter:
    """The one row that every transaction reads first (and, where it writes, locks).

    ``trimmed_revision`` is the newest one whose changes are no longer all in the change log;
    ``barrier_revision`` the newest one that anybody ever waited for.
    """

    revision: int = 0
    trimmed_revision: int = 0
    barrier_revision: int = 0


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A gateway worker's row: until when it counts as alive, and what it has applied."""

    worker: str
    expires_s: float
    acknowledged_revision: int = 0


@dataclass(frozen=True, slots=True)
class LeaderRow:
    """The reconciler's row. The epoch stays and only rises, whoever holds it."""

    holder: str = ""
    epoch: int = 0
    expires_s: float = 0.0


class Rows(Protocol):
    """The rows as one transaction sees them. Writes to a read-only one are the backend's to refuse."""

    def clock_s(self) -> float:
        """The clock that lease times are told by; never a wall clock that may be set."""
        ...

    def counter(self) -> Counter: ...
    def put_counter(self, counter: Counter) -> None: ...

    def get(self, kind: type[R], name: str) -> R | None: ...
    def list(self, kind: type[R]) -> list[R]: ...
    def insert(self, obj: Resource) -> None: ...
    def replace(self, obj: Resource) -> None: ...
    def remove(self, key: Key) -> None:
        """The object and whatever unique keys it still holds."""
        ...

    def holder(self, kind: str, unique_key: str) -> str | None:
        """The name of the object that holds ``unique_key``."""
        ...

    def count_unique_keys(self, kind: str, prefix: str) -> int: ...
    def take_unique_key(self, key: Key, unique_key: str) -> None: ...
    def free_unique_key(self, key: Key, unique_key: str) -> None: ...

    def append(self, changes: Sequence[Change]) -> None: ...
    def changes(self, since: int, limit: int) -> Sequence[Change]: ...
    def changed(self, since: int, kinds: Sequence[type[Resource]]) -> Sequence[tuple[Key, Resource | None]]:
        """Every object of ``kinds`` with a change after ``since``, once, as it is now; None: it is gone."""
        ...

    def trim(self, rows_max: int) -> int | None:
        """Drop the oldest changes beyond ``rows_max``; the newest revision that lost one, or None."""
        ...

    def leases(self) -> Sequence[LeaseRow]:
        """All of them, expired ones too, but none of an earlier boot: those are void."""
        ...

    def put_lease(self, lease: LeaseRow) -> None: ...
    def drop_lease(self, worker: str) -> None: ...
    def leader(self) -> LeaderRow: ...
    def put_leader(self, leader: LeaderRow) -> None: ...


class Backend(Protocol):
    """Where the rows are kept, how a transaction on them is run, and how a change is noticed."""

    @property
    def bell(self) -> Bell: ...

    @property
    def poll_s(self) -> float | None:
        """How often to look although nothing rang; None: every change rings."""
        ...

    def clock_s(self) -> float:
        """This process's view of the lease clock: monotonic, and it counts while suspended."""
        ...

    async def write(self, fn: Callable[[Rows], T], *, ring: bool = True) -> T:
        """Run ``fn`` alone, all or nothing, and ring for what it wrote. Raises Unavailable."""
        ...

    async def read(self, fn: Callable[[Rows], T]) -> T:
        """Run ``fn`` on one consistent snapshot. Raises Unavailable."""
        ...

    async def close(self) -> None: ...
