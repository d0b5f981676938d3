"""The store as everybody sees it: transactions, changes, the barrier, leases.

Decides the contract; :mod:`state.store.rowstore` keeps it over any medium, and one suite
(``tests/state/store``) holds every medium to it. Refuses to know what a spec means.

Times in objects are aware UTC; lease times come from the store's own clock, which no wall clock moves.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from state.kinds.resource import Key, Resource

R = TypeVar("R", bound=Resource)
T = TypeVar("T")

CHANGE_LOG_ROWS_MAX = 100_000
TRANSACT_TIMEOUT_S = 10.0  # waiting for the writer's turn and for a locked database, together


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the change log."""

    revision: int
    key: Key
    removed: bool
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed since the last batch, in one consistent read: each object as it is now, once.

    ``revision`` is the newest one contained; an object written and removed again is only in ``removed``,
    one removed and made anew under its name (another uid) only in ``objects``.
    """

    revision: int
    objects: tuple[Resource, ...]
    removed: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A gateway worker counts as alive until ``expires_s`` of :meth:`Store.clock_s`.

    Past it, barriers pass the worker by: it must not use what it has read, not even for one request.
    """

    worker: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class Leadership:
    """A reconciler's right to act, until ``expires_s`` of :meth:`Store.clock_s`."""

    holder: str
    epoch: int
    expires_s: float


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is alive by their leases: the gateway workers, and the reconciler that leads (``""``: none)."""

    workers: tuple[str, ...]
    leader: str


class Tx(Protocol):
    """One transaction. Synchronous; runs alone in the writer's thread; all or nothing.

    Every write stores a new ``resourceVersion`` (= ``revision``) and one change-log row with the actor.
    """

    @property
    def revision(self) -> int:
        """The revision that this transaction commits, if it writes; in a read, the newest one contained."""
        ...

    @property
    def now(self) -> datetime:
        """Aware UTC, the same throughout the transaction."""
        ...

    def get(self, kind: type[R], name: str) -> R | None: ...

    def by_unique_key(self, kind: type[R], unique_key: str) -> R | None:
        """The live object that holds ``unique_key``; deleted-with-finalizers ones hold theirs still."""
        ...

    def list(self, kind: type[R]) -> list[R]:
        """All objects of a kind, by name."""
        ...

    def count_unique_keys(self, kind: type[R], prefix: str) -> int:
        """How many unique keys that begin with ``prefix`` (not empty) objects of the kind hold."""
        ...

    def create(self, obj: R) -> R:
        """Store a new object: fresh uid (unless it brings one, for recovery), generation 1.

        Raises AlreadyExists when its name or one of its unique keys is taken.
        """
        ...

    def update_spec(self, obj: R) -> R:
        """Store ``obj.spec``, ``metadata.managedBy`` and finalizers; generation + 1 if the spec differs.

        The caller's ``obj.status`` is ignored. Raises Conflict when ``resourceVersion`` is not the stored
        one (or when it would take a deleted object's last finalizer), NotFound, AlreadyExists (unique
        keys). Writing what already stands writes nothing.
        """
        ...

    def update_status(self, obj: R) -> R:
        """Store ``obj.status`` alone, and the unique keys that follow from it. No change writes nothing.

        Raises Conflict, NotFound and AlreadyExists as above.
        """
        ...

    def delete(self, obj: R) -> None:
        """Remove it; or, while it has finalizers, mark ``deletedAt``. Raises Conflict, NotFound."""
        ...

    def drop_finalizer(self, obj: R, finalizer: str) -> R | None:
        """Take one finalizer off; the last one off a deleted object removes it (None).

        Raises Conflict, NotFound. Taking off what is not there writes nothing.
        """
        ...

    def fence(self, epoch: int) -> None:
        """Raises Fenced unless ``epoch`` is still the newest one given to a reconciler."""
        ...


def remove(tx: Tx, obj: Resource) -> None:
    """Have it gone with this transaction, whatever finalizers it has. Raises Conflict, NotFound.

    In three writes at most: there may be a hundred thousand of somebody else's.
    """
    if not obj.metadata.finalizers:
        tx.delete(obj)
        return
    last = obj.metadata.finalizers[:1]
    metadata = obj.metadata.model_copy(update={"finalizers": last})
    left = tx.drop_finalizer(tx.update_spec(obj.replaced(metadata=metadata)), *last)
    if left is not None:
        tx.delete(left)


class Store(Protocol):
    """The desired-state store. Every await is bounded by TRANSACT_TIMEOUT_S or the given timeout."""

    async def transact(self, fn: Callable[[Tx], T], *, actor: str) -> T:
        """Run ``fn`` as one transaction; its exception rolls back and is raised here.

        ``fn`` may run again after a serialization failure, so it has no effects besides ``tx``.
        Raises Unavailable; anything ``fn`` or Tx raises.
        """
        ...

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` on one consistent snapshot. A write in it is an error."""
        ...

    async def revision(self) -> int:
        """The newest committed revision."""
        ...

    async def changes(self, since: int, limit: int) -> list[Change]:
        """Change-log rows after ``since``, oldest first. Raises TooOld."""
        ...

    def watch(self, kinds: tuple[type[Resource], ...]) -> AsyncGenerator[Batch, None]:
        """First a batch with everything of ``kinds``, then one for each burst of changes, for ever.

        A reader that fell behind the change log gets everything again (with ``removed`` holding what went
        in between). A revision that changed nothing of ``kinds`` comes as an empty batch, so that a worker
        can acknowledge it. Only the first batch may raise Unavailable; later a store that does not answer is
        asked again, for ever: leases, not watches, tell who is cut off.
        """
        ...

    def clock_s(self) -> float:
        """The clock that this process tells lease times by: no wall clock moves it, no suspend stops it."""
        ...

    async def join(self, worker: str, *, ttl_s: float) -> Lease:
        """Announce (or renew) a gateway worker's lease. ``worker`` names one start of one process.

        The order is: join, read everything (:meth:`watch`), serve, acknowledge; so no barrier can pass
        between the read and the lease. Renewing an expired lease raises NotFound, once: stop serving, and
        begin again with a join. So does the next join after the loss came to light elsewhere (in a watch, in
        :meth:`acknowledge`). Renewing also puts on record what the worker has acknowledged.
        """
        ...

    async def leave(self, worker: str) -> None:
        """Give the lease back; barriers no longer wait for this worker."""
        ...

    async def acknowledge(self, worker: str, revision: int) -> None:
        """Say that ``worker`` has applied everything up to ``revision``.

        Costs nothing while nobody waits for it: it is put on record once a watch of this store sees that
        somebody does. Raises NotFound where the lease ran out (see :meth:`join`), Unavailable.
        """
        ...

    async def barrier(self, revision: int, timeout_s: float) -> None:
        """Return once every live worker has applied ``revision``; a dead one's lease must expire first.

        Raises BarrierTimeout, naming the workers that did not answer.
        """
        ...

    async def lead(self, holder: str, *, ttl_s: float, epoch_min: int = 0) -> Leadership:
        """Take or renew the reconciler's leadership. A new holder gets the next epoch, ``epoch_min`` or more.

        ``holder`` names one start of one process. A lease that ran out before it was renewed is a new
        leadership with a new epoch, even if nobody took it in between. Raises Conflict while another
        holder's lease lives, naming it.
        """
        ...

    async def presence(self) -> Presence:
        """Who is alive now. For people to see: whoever has to be sure asks for a barrier, or leads."""
        ...

    async def resign(self, holder: str) -> None:
        """Give the leadership back, so that a successor need not wait."""
        ...

    async def close(self) -> None: ...
