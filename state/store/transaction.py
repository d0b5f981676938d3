"""What a write means: versions, generations, unique keys, finalizers, the change log.

Decides all of it once, over :class:`state.store.rows.Rows`, so that no medium can differ. Refuses to know
where the rows are kept and what a spec means. Next: :mod:`state.store.watching`, which follows the log.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from state.kinds.resource import Key, Metadata, Resource
from state.store.errors import AlreadyExists, Conflict, Fenced, NotFound
from state.store.port import Change
from state.store.rows import Rows

R = TypeVar("R", bound=Resource)

TRIM_EVERY_REVISIONS = 64  # trimming costs a range delete: not in every transaction


class ReadTransaction:
    """One consistent snapshot. Its ``revision`` is the newest one contained; a write is refused."""

    def __init__(self, rows: Rows, *, now: datetime) -> None:
        self._rows = rows
        self._now = now
        self._counter = rows.counter()

    @property
    def revision(self) -> int:
        return self._counter.revision

    @property
    def now(self) -> datetime:
        return self._now

    def get(self, kind: type[R], name: str) -> R | None:
        return self._rows.get(kind, name)

    def by_unique_key(self, kind: type[R], unique_key: str) -> R | None:
        name = self._rows.holder(kind.kind, unique_key)
        return None if name is None else self._rows.get(kind, name)

    def list(self, kind: type[R]) -> list[R]:
        return self._rows.list(kind)

    def count_unique_keys(self, kind: type[R], prefix: str) -> int:
        assert prefix, "a prefix of nothing counts everything, which nobody needs"
        return self._rows.count_unique_keys(kind.kind, prefix)

    def fence(self, epoch: int) -> None:
        newest = self._rows.leader().epoch
        if epoch != newest:
            raise Fenced(
                f"epoch {epoch} is over: epoch {newest} was given to another reconciler; stop acting"
            )

    def create(self, obj: R) -> R:  # noqa: ARG002 (refused, whatever it is)
        raise _write_in_a_read()

    def update_spec(self, obj: R) -> R:  # noqa: ARG002 (refused, whatever it is)
        raise _write_in_a_read()

    def update_status(self, obj: R) -> R:  # noqa: ARG002 (refused, whatever it is)
        raise _write_in_a_read()

    def delete(self, obj: R) -> None:  # noqa: ARG002 (refused, whatever it is)
        raise _write_in_a_read()

    def drop_finalizer(self, obj: R, finalizer: str) -> R | None:  # noqa: ARG002 (refused, whatever it is)
        raise _write_in_a_read()


class Transaction(ReadTransaction):
    """One transaction: see :class:`state.store.port.Tx` for what each method promises."""

    def __init__(self, rows: Rows, *, now: datetime, actor: str, new_uid: Callable[[], str]) -> None:
        super().__init__(rows, now=now)
        self._actor = actor
        self._new_uid = new_uid
        self._changes: list[Change] = []

    @property
    def revision(self) -> int:
        return self._counter.revision + 1

    def create(self, obj: R) -> R:
        if self._rows.get(type(obj), obj.name) is not None:
            raise AlreadyExists(f"{_called(obj)} is already there; take another name or edit that one")
        created = self._stamped(
            obj,
            uid=obj.metadata.uid or self._new_uid(),
            generation=1,
            created_at=obj.metadata.created_at or self._now,
            deleted_at=None,
        )
        self._refuse_taken(created, _unique_keys(created))
        self._rows.insert(created)
        self._move_unique_keys(created, before=(), after=_unique_keys(created))
        self._log(created)
        return created

    def update_spec(self, obj: R) -> R:
        stored = self._stored(obj)
        wanted = obj.metadata
        if stored.metadata.is_deleted and not wanted.finalizers:
            raise Conflict(f"{_called(obj)} is being deleted; its finalizers end with drop_finalizer only")
        differs = stored.spec != obj.spec
        if not differs and _owners(wanted) == _owners(stored.metadata):
            return stored
        return self._replace(
            stored,
            self._stamped(
                stored.replaced(spec=obj.spec),
                generation=stored.metadata.generation + differs,
                managed_by=wanted.managed_by,
                finalizers=wanted.finalizers,
            ),
        )

    def update_status(self, obj: R) -> R:
        stored = self._stored(obj)
        if stored.status == obj.status:
            return stored
        return self._replace(stored, self._stamped(stored.replaced(status=obj.status)))

    def delete(self, obj: R) -> None:
        stored = self._stored(obj)
        if not stored.metadata.finalizers:
            self._remove(stored)
        elif not stored.metadata.is_deleted:
            self._replace(stored, self._stamped(stored, deleted_at=self._now))

    def drop_finalizer(self, obj: R, finalizer: str) -> R | None:
        stored = self._stored(obj)
        if finalizer not in stored.metadata.finalizers:
            return stored
        left = tuple(other for other in stored.metadata.finalizers if other != finalizer)
        if stored.metadata.is_deleted and not left:
            self._remove(stored)
            return None
        return self._replace(stored, self._stamped(stored, finalizers=left))

    def finish(self, *, change_log_rows_max: int) -> None:
        """Put the counter and the change log on record; nothing at all where nothing was written."""
        if not self._changes:
            return
        self._rows.append(self._changes)
        counter = replace(self._counter, revision=self.revision)
        if self.revision % TRIM_EVERY_REVISIONS == 0:
            trimmed = self._rows.trim(change_log_rows_max)
            counter = replace(counter, trimmed_revision=trimmed or counter.trimmed_revision)
        self._rows.put_counter(counter)

    def _stored(self, obj: R) -> R:
        stored = self._rows.get(type(obj), obj.name)
        if stored is None or (obj.uid and stored.uid != obj.uid):
            raise NotFound(f"{_called(obj)} is gone{'' if stored is None else ', another one has its name'}")
        if stored.metadata.resource_version != obj.metadata.resource_version:
            raise Conflict(
                f"{_called(obj)} is at version {stored.metadata.resource_version}, "
                f"not {obj.metadata.resource_version}; read it again"
            )
        return stored

    def _stamped(self, obj: R, **metadata: object) -> R:
        stamped = obj.metadata.model_copy(update={**metadata, "resource_version": self.revision})
        return obj.replaced(metadata=stamped)

    def _replace(self, stored: R, new: R) -> R:
        before, after = _unique_keys(stored), _unique_keys(new)
        self._refuse_taken(new, tuple(key for key in after if key not in before))
        self._rows.replace(new)
        self._move_unique_keys(new, before=before, after=after)
        self._log(new)
        return new

    def _remove(self, stored: Resource) -> None:
        self._rows.remove(_key(stored))
        self._log(stored, removed=True)

    def _refuse_taken(self, obj: Resource, unique_keys: tuple[str, ...]) -> None:
        for unique_key in unique_keys:
            holder = self._rows.holder(obj.kind, unique_key)
            if holder is not None and holder != obj.name:
                raise AlreadyExists(f"{_called(obj)} cannot have {unique_key}: {obj.kind} {holder} has it")

    def _move_unique_keys(self, obj: Resource, *, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        for unique_key in before:
            if unique_key not in after:
                self._rows.free_unique_key(_key(obj), unique_key)
        for unique_key in after:
            if unique_key not in before:
                self._rows.take_unique_key(_key(obj), unique_key)

    def _log(self, obj: Resource, *, removed: bool = False) -> None:
        change = Change(
            revision=self.revision, key=_key(obj), removed=removed, actor=self._actor, at=self._now
        )
        self._changes.append(change)


def _key(obj: Resource) -> Key:
    return Key(kind=obj.kind, name=obj.name)


def _unique_keys(obj: Resource) -> tuple[str, ...]:
    """The kind's own, and the uid: recovery brings uids along, and two objects may never share one."""
    return (f"uid:{obj.uid}", *obj.unique_keys())


def _owners(metadata: Metadata) -> tuple[str, tuple[str, ...]]:
    return metadata.managed_by, metadata.finalizers


def _called(obj: Resource) -> str:
    return f"{obj.kind} {obj.name}"


def _write_in_a_read() -> AssertionError:
    return AssertionError("store.read() was given a function that writes; use store.transact()")
