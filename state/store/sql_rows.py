"""The rows in SQL: one statement for each question, made once and cached by SQLAlchemy.

Decides how rows stand in tables (:mod:`state.store.schema`); their meaning is
:mod:`state.store.transaction`'s. An object is the JSON of its model, with the names that people write.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from state.kinds.resource import Key, Resource
from state.store.errors import StoreError
from state.store.port import Change
from state.store.rows import Counter, LeaderRow, LeaseRow
from state.store.schema import change_log, counter, leader, leases, objects, unique_keys

R = TypeVar("R", bound=Resource)

_IS_OBJECT = (objects.c.kind == bindparam("k")) & (objects.c.name == bindparam("n"))
_COUNTER = select(counter.c.revision, counter.c.trimmed_revision, counter.c.barrier_revision, counter.c.boot)
_PUT_COUNTER = update(counter)
_GET = select(objects.c.document).where(_IS_OBJECT)
_LIST = (
    select(objects.c.name, objects.c.document)
    .where(objects.c.kind == bindparam("k"))
    .order_by(objects.c.name)
)
_INSERT = insert(objects)
_REPLACE = update(objects).where(_IS_OBJECT)
_REMOVE = delete(objects).where(_IS_OBJECT)
_HOLDER = select(unique_keys.c.name).where(
    unique_keys.c.kind == bindparam("k"), unique_keys.c.unique_key == bindparam("u")
)
_COUNT = select(func.count()).where(
    unique_keys.c.kind == bindparam("k"),
    unique_keys.c.unique_key >= bindparam("first"),
    unique_keys.c.unique_key < bindparam("after"),
)
_TAKE = insert(unique_keys)
_FREE = delete(unique_keys).where(
    unique_keys.c.kind == bindparam("k"), unique_keys.c.unique_key == bindparam("u")
)
_APPEND = insert(change_log)
_CHANGES = (
    select(change_log)
    .where(change_log.c.revision > bindparam("since"))
    .order_by(change_log.c.sequence)
    .limit(bindparam("rows_max"))
)
_TOUCHED = (
    select(change_log.c.kind, change_log.c.name)
    .where(
        change_log.c.revision > bindparam("since"), change_log.c.kind.in_(bindparam("kinds", expanding=True))
    )
    .distinct()
    .subquery()
)
_CHANGED = select(_TOUCHED.c.kind, _TOUCHED.c.name, objects.c.document).outerjoin_from(
    _TOUCHED, objects, (objects.c.kind == _TOUCHED.c.kind) & (objects.c.name == _TOUCHED.c.name)
)
_NEWEST_SEQUENCE = select(func.max(change_log.c.sequence))
_IS_OVER = change_log.c.sequence <= bindparam("last")
_TRIMMED = select(func.max(change_log.c.revision)).where(_IS_OVER)
_TRIM = delete(change_log).where(_IS_OVER)
_LEASES = select(leases.c.worker, leases.c.expires_s, leases.c.acknowledged_revision).where(
    leases.c.boot == bindparam("b")
)
_DROP_LEASE = delete(leases).where(leases.c.worker == bindparam("w"))
_PUT_LEASE = insert(leases)
_LEADER = select(leader.c.holder, leader.c.epoch, leader.c.expires_s, leader.c.boot)
_PUT_LEADER = update(leader)


class SqlRows:
    """Implements :class:`state.store.rows.Rows` on one connection, inside its transaction.

    ``boot`` is this kernel's; rows of another are void (leases) or a reason to stop (the counter).
    """

    def __init__(
        self, connection: Connection, *, where: str, boot: str, clock_s: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._where = where
        self._boot = boot
        self._clock_s = clock_s
        self.has_written = False

    def clock_s(self) -> float:
        return self._clock_s()

    def counter(self) -> Counter:
        """Raises StoreError where another kernel has taken the file since it was opened."""
        revision, trimmed, barrier, boot = self._one(_COUNTER)
        if boot != self._boot:
            raise StoreError(
                f"{self._where} is in use from another machine (boot {boot}, here {self._boot}); "
                "keep every process on one kernel, or use PostgreSQL"
            )
        return Counter(revision, trimmed, barrier)

    def put_counter(self, counter: Counter) -> None:
        self._write(
            _PUT_COUNTER,
            {
                "revision": counter.revision,
                "trimmed_revision": counter.trimmed_revision,
                "barrier_revision": counter.barrier_revision,
            },
        )

    def get(self, kind: type[R], name: str) -> R | None:
        document = self._connection.execute(_GET, {"k": kind.kind, "n": name}).scalar()
        return None if document is None else self._decoded(kind, name, document)

    def list(self, kind: type[R]) -> list[R]:
        rows = self._connection.execute(_LIST, {"k": kind.kind})
        return [self._decoded(kind, name, document) for name, document in rows]

    def insert(self, obj: Resource) -> None:
        self._write(_INSERT, {"kind": obj.kind, "name": obj.name, "uid": obj.uid, **_body(obj)})

    def replace(self, obj: Resource) -> None:
        self._write(_REPLACE, {"k": obj.kind, "n": obj.name, **_body(obj)})

    def remove(self, key: Key) -> None:
        self._write(_REMOVE, {"k": key.kind, "n": key.name})

    def holder(self, kind: str, unique_key: str) -> str | None:
        return self._connection.execute(_HOLDER, {"k": kind, "u": unique_key}).scalar()

    def count_unique_keys(self, kind: str, prefix: str) -> int:
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # a range, so that the index serves
        named = {"k": kind, "first": prefix, "after": after}
        return self._connection.execute(_COUNT, named).scalar_one()

    def take_unique_key(self, key: Key, unique_key: str) -> None:
        self._write(_TAKE, {"kind": key.kind, "unique_key": unique_key, "name": key.name})

    def free_unique_key(self, key: Key, unique_key: str) -> None:
        self._write(_FREE, {"k": key.kind, "u": unique_key})

    def append(self, changes: Sequence[Change]) -> None:
        self._write(_APPEND, [_change_row(change) for change in changes])

    def changes(self, since: int, limit: int) -> Sequence[Change]:
        rows = self._connection.execute(_CHANGES, {"since": since, "rows_max": limit}).mappings()
        return [_change(row) for row in rows]

    def changed(self, since: int, kinds: Sequence[type[Resource]]) -> Sequence[tuple[Key, Resource | None]]:
        by_name = {kind.kind: kind for kind in kinds}
        rows = self._connection.execute(_CHANGED, {"since": since, "kinds": list(by_name)})
        return [
            (
                Key(kind=kind, name=name),
                None if document is None else self._decoded(by_name[kind], name, document),
            )
            for kind, name, document in rows
        ]

    def trim(self, rows_max: int) -> int | None:
        """By sequence number: gaps in it only make the log a little shorter than ``rows_max``."""
        newest = self._connection.execute(_NEWEST_SEQUENCE).scalar()
        last = {"last": (newest or 0) - rows_max}
        trimmed = self._connection.execute(_TRIMMED, last).scalar()
        if trimmed is not None:
            self._write(_TRIM, last)
        return trimmed

    def leases(self) -> Sequence[LeaseRow]:
        rows = self._connection.execute(_LEASES, {"b": self._boot})
        return [LeaseRow(worker, expires_s, acknowledged) for worker, expires_s, acknowledged in rows]

    def put_lease(self, lease: LeaseRow) -> None:
        self.drop_lease(lease.worker)
        row = {
            "worker": lease.worker,
            "expires_s": lease.expires_s,
            "acknowledged_revision": lease.acknowledged_revision,
            "boot": self._boot,
        }
        self._write(_PUT_LEASE, row)

    def drop_lease(self, worker: str) -> None:
        self._write(_DROP_LEASE, {"w": worker})

    def leader(self) -> LeaderRow:
        """The epoch outlives a boot; the lease does not."""
        holder, epoch, expires_s, boot = self._one(_LEADER)
        return LeaderRow(holder, epoch, expires_s) if boot == self._boot else LeaderRow(epoch=epoch)

    def put_leader(self, leader: LeaderRow) -> None:
        row = {"holder": leader.holder, "epoch": leader.epoch, "expires_s": leader.expires_s}
        self._write(_PUT_LEADER, {**row, "boot": self._boot})

    def _one(self, statement: Any) -> Any:
        return self._connection.execute(statement).one()

    def _write(self, statement: Any, row: Any) -> None:
        self._connection.execute(statement, row)
        self.has_written = True

    def _decoded(self, kind: type[R], name: str, document: str) -> R:
        try:
            return kind.model_validate_json(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in first["loc"])
            raise StoreError(
                f"{self._where}: {kind.kind} {name} cannot be read ({path}: {first['msg']}); "
                "it was written by another version of this program: run that one, or restore a backup"
            ) from error


def _body(obj: Resource) -> dict[str, Any]:
    return {
        "resource_version": obj.metadata.resource_version,
        "document": obj.model_dump_json(by_alias=True),
    }


def _change_row(change: Change) -> dict[str, Any]:
    return {
        "revision": change.revision,
        "kind": change.key.kind,
        "name": change.key.name,
        "removed": change.removed,
        "actor": change.actor,
        "at": change.at.isoformat(),
    }


def _change(row: Any) -> Change:
    return Change(
        revision=row["revision"],
        key=Key(kind=row["kind"], name=row["name"]),
        removed=row["removed"],
        actor=row["actor"],
        at=datetime.fromisoformat(row["at"]),
    )
