"""From a URL to a store: ``sqlite:///path/state.db``, ``postgresql://…`` or ``memory:``.

Decides which medium a URL means and what stands ready before the first call. Next: the medium's own module.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, update

from state.store import kernel
from state.store.bell import Bell
from state.store.database import Database
from state.store.doorbell import Doorbell
from state.store.errors import StoreError
from state.store.memory import memory_store
from state.store.port import CHANGE_LOG_ROWS_MAX, TRANSACT_TIMEOUT_S, Store
from state.store.postgres import PostgresDatabase, server_clock_s
from state.store.rowstore import RowStore
from state.store.schema import counter
from state.store.sql import SqlBackend
from state.store.sql_rows import SqlRows
from state.store.sqlite import SqliteFile
from state.store.upgrading import STATE_STEPS

SQLITE: Final = "sqlite:///"
POSTGRES: Final = "postgresql://"
STATE_FILE_MODE = 0o660  # both processes' group
DOORBELLS = "doorbells"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that tests make smaller."""

    transact_timeout_s: float = TRANSACT_TIMEOUT_S
    change_log_rows_max: int = CHANGE_LOG_ROWS_MAX


async def open_store(url: str, limits: Limits = Limits()) -> Store:
    """Raises StoreError, whose one line says what is wrong with the store and what mends it."""
    if url == "memory:":
        return memory_store(change_log_rows_max=limits.change_log_rows_max)
    if url.startswith(SQLITE):
        return await _open_sqlite(Path(url.removeprefix(SQLITE)), limits)
    if url.startswith(POSTGRES):
        return await _open_postgres(url, limits)
    raise StoreError(
        f"{url.partition('://')[0]!r} is no store: "
        "write sqlite:///<path>/state.db, postgresql://<user>@<host>/<database> or memory:"
    )


async def _open_sqlite(path: Path, limits: Limits) -> Store:
    boot = kernel.boot_id()
    product = SqliteFile(path, STATE_FILE_MODE, is_shared=True)
    await asyncio.to_thread(product.open, STATE_STEPS)
    database = Database(product, limits.transact_timeout_s)
    try:
        await database.write(lambda connection: _move_in(connection, boot))
    except BaseException:
        await database.close()
        raise
    bell = Bell()

    def make_rows(connection: Connection) -> SqlRows:
        return SqlRows(connection, where=product.where, boot=boot, clock_s=kernel.clock_s)

    backend = SqlBackend(database, bell, Doorbell.listening(path.parent / DOORBELLS, bell), make_rows)
    return RowStore(backend, change_log_rows_max=limits.change_log_rows_max)


async def _open_postgres(url: str, limits: Limits) -> Store:
    from state.store.listener import Listener  # noqa: PLC0415 (its driver: a twentieth of a start without it)

    product = PostgresDatabase(url)
    await asyncio.to_thread(product.open)
    bell = Bell()
    listener = Listener(product.url, bell)
    listener.start()

    def make_rows(connection: Connection) -> SqlRows:
        return SqlRows(connection, where=product.where, boot="", clock_s=lambda: server_clock_s(connection))

    backend = SqlBackend(Database(product, limits.transact_timeout_s), bell, listener, make_rows)
    return RowStore(backend, change_log_rows_max=limits.change_log_rows_max)


def _move_in(connection: Connection, boot: str) -> None:
    """From now on a process on another kernel (or of an earlier boot, suspended) finds itself shut out."""
    connection.execute(update(counter).where(counter.c.boot != boot).values(boot=boot))
