"""``auth.db``: what signs people and programs in. The gateway's alone; on no path of a known token.

Decides that tickets and the authorization server's rows share one file and its one writer, so that what is
written together stands or falls together. Next: :mod:`state.store.tickets`, :mod:`state.store.auth_rows`.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection

from state.store.auth_rows import ClientRows, CodeRows, GrantRows, RefreshTokenRows, SigningKeyRows
from state.store.database import Database
from state.store.port import TRANSACT_TIMEOUT_S
from state.store.sqlite import SqliteFile
from state.store.tickets import Tickets
from state.store.upgrading import AUTH_STEPS

AUTH_FILE_MODE: Final = 0o600

T = TypeVar("T")


class AuthTx:
    """One transaction. Synchronous; a writing one runs alone in the writer's thread; all or nothing."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.now = now  # Unix seconds, the same throughout
        self.clients = ClientRows(connection)
        self.grants = GrantRows(connection)
        self.codes = CodeRows(connection)
        self.refresh_tokens = RefreshTokenRows(connection)
        self.signing_keys = SigningKeyRows(connection)


class AuthDatabase:
    """Every await is bounded; all may raise StoreError."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self.tickets = Tickets(database, now)

    async def transact(self, fn: Callable[[AuthTx], T]) -> T:
        """Run ``fn`` as one transaction; its exception rolls back and is raised here."""
        return await self._database.write(lambda connection: fn(AuthTx(connection, self._now())))

    async def read(self, fn: Callable[[AuthTx], T]) -> T:
        """Run ``fn`` on one snapshot."""
        return await self._database.read(lambda connection: fn(AuthTx(connection, self._now())))

    async def close(self) -> None:
        await self._database.close()


async def open_auth(path: Path, now: Callable[[], float] = time.time) -> AuthDatabase:
    """Make, upgrade and open ``auth.db``. Raises StoreError with one line. ``now`` is Unix seconds."""
    product = SqliteFile(path, AUTH_FILE_MODE, is_shared=False)
    await asyncio.to_thread(product.open, AUTH_STEPS)
    return AuthDatabase(Database(product, TRANSACT_TIMEOUT_S), now)
