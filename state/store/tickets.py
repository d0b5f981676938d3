"""Tickets: one-time codes and sessions, in the gateway's own ``auth.db``.

Decides when a ticket is over and that it is taken once. Refuses to know what it is good for. Only the
SHA-256 of a secret is ever stored. Expiry is by the wall clock: a ticket outlives a restart of the machine.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Delete, delete, select
from sqlalchemy.dialects.sqlite import insert

from state.store.database import Database
from state.store.port import TRANSACT_TIMEOUT_S
from state.store.schema import tickets
from state.store.sqlite import SqliteFile
from state.store.upgrading import AUTH_STEPS

AUTH_FILE: Final = "auth.db"
AUTH_FILE_MODE: Final = 0o600  # the gateway's alone
SWEEP_EVERY_WRITES: Final = 256

Record = Mapping[str, str]


async def open_tickets(state_dir: Path, *, now_s: Callable[[], float] = time.time) -> "Tickets":
    """Open or make ``auth.db`` in ``state_dir``. Raises StoreError, one line for a person."""
    product = SqliteFile(state_dir / AUTH_FILE, AUTH_FILE_MODE)
    await asyncio.to_thread(product.open, AUTH_STEPS)
    return Tickets(Database(product, TRANSACT_TIMEOUT_S), now_s)


class Tickets:
    """Records by purpose and by the SHA-256 of their secret. Raises Unavailable where the file is."""

    def __init__(self, database: Database, now_s: Callable[[], float]) -> None:
        self._database = database
        self._now_s = now_s
        self._writes_count = 0

    async def put(self, purpose: str, key: str, record: Record, ttl_s: float) -> None:
        """Keep ``record`` for ``ttl_s``; a ticket of the same key is replaced."""
        expires_at = self._now_s() + ttl_s
        row = {"payload": json.dumps(dict(record)), "expires_at": expires_at}

        def write(connection: Connection) -> None:
            statement = insert(tickets).values(purpose=purpose, secret_sha256=key, **row)
            places = [tickets.c.purpose, tickets.c.secret_sha256]
            connection.execute(statement.on_conflict_do_update(index_elements=places, set_=row))

        await self._database.write(write)
        await self._sweep_sometimes()

    async def get(self, purpose: str, key: str) -> Record | None:
        """The record, unless it is unknown or over."""
        return await self._database.read(lambda connection: self._found(connection, purpose, key))

    async def take(self, purpose: str, key: str) -> Record | None:
        """The record, once: of any number who ask at the same time, one gets it."""

        def take(connection: Connection) -> Record | None:
            found = self._found(connection, purpose, key)
            connection.execute(_one(purpose, key))
            return found

        return await self._database.write(take)

    async def remove(self, purpose: str, key: str) -> None:
        """Forget it; unknown is success."""
        await self._delete(_one(purpose, key))

    async def sweep(self) -> None:
        """Forget what is over."""
        await self._delete(delete(tickets).where(tickets.c.expires_at <= self._now_s()))

    async def close(self) -> None:
        await self._database.close()

    def _found(self, connection: Connection, purpose: str, key: str) -> Record | None:
        statement = select(tickets.c.payload).where(
            tickets.c.purpose == purpose,
            tickets.c.secret_sha256 == key,
            tickets.c.expires_at > self._now_s(),
        )
        payload = connection.execute(statement).scalar()
        return None if payload is None else dict(json.loads(payload))

    async def _sweep_sometimes(self) -> None:
        self._writes_count += 1
        if self._writes_count % SWEEP_EVERY_WRITES == 0:
            await self.sweep()

    async def _delete(self, statement: Delete) -> None:
        def write(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(write)


def _one(purpose: str, key: str) -> Delete:
    return delete(tickets).where(tickets.c.purpose == purpose, tickets.c.secret_sha256 == key)
