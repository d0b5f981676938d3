"""A SQLite file: how it is made, guarded, opened and brought up to date, and what its errors mean.

Decides modes, pragmas and who may open it: one kernel, one file, no newer schema. Refuses to know what
the tables mean. Next: :mod:`state.store.sql`, the store on it.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from state.store.errors import Replaced, StoreError, Unavailable
from state.store.kernel import make_folder, refuse_network_filesystem
from state.store.rights import act_as_owner, acting_as_owner, acting_user
from state.store.upgrading import Steps, upgrade

OPEN_TIMEOUT_S = 30.0  # for another process's upgrade
OPEN_POLL_S = 0.02
WAL_KEPT_BYTES = 16 << 20
STATEMENT_CACHE_COUNT = 256

# FULL: what was answered survives a power cut; engine calls and tokens follow a commit out of the machine.
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "temp_store = MEMORY",
    f"journal_size_limit = {WAL_KEPT_BYTES}",
)


class SqliteFile:
    """Implements :class:`state.store.database.Product` for one file.

    ``is_shared``: others than this process's user may write beside it, so root opens it with their rights.
    """

    def __init__(self, path: Path, mode: int, *, is_shared: bool) -> None:
        self.where = str(path)
        self._path = path
        self._mode = mode
        self._is_shared = is_shared
        self._opened: tuple[int, int] | None = None  # the file that `open` found or made
        self.writer = _engine(path, _begin_write)
        self.readers = _engine(path, _begin_read)

    def open(self, steps: Steps) -> None:
        """Make or upgrade the file, under a lock that other processes respect. Raises StoreError."""
        try:
            self._open(steps)
        except OSError as error:
            self.close()
            raise StoreError(
                f"{self.where} cannot be opened ({error.strerror}): let this user write there, "
                "or set STATE_DIR to a directory that it may write"
            ) from error
        except DBAPIError as error:
            self.close()
            raise self.refusal(error) from error
        except StoreError:
            self.close()
            raise

    def enter_thread(self) -> None:
        if self._is_shared:
            act_as_owner(self._path.parent)

    def close(self) -> None:
        """SQLite deletes files as the last connection ends."""
        with self._rights():
            self.writer.dispose()
            self.readers.dispose()

    def _rights(self) -> AbstractContextManager[None]:
        return acting_as_owner(self._path.parent) if self._is_shared else nullcontext()

    def _open(self, steps: Steps) -> None:
        make_folder(self._path.parent)
        refuse_network_filesystem(self._path.parent)
        with self._rights(), _locked(self._path.parent):
            _make(self._path, self._mode)
            with self.writer.connect() as connection:
                self._begin(connection, OPEN_TIMEOUT_S)
                upgrade(connection, steps, self.where)
                connection.commit()
            self._opened = self._identity()

    def begin_write(self, connection: Connection, timeout_s: float) -> None:
        self._refuse_replaced()
        self._begin(connection, timeout_s)

    def begin_read(self, connection: Connection, timeout_s: float) -> None:
        self._refuse_replaced()
        self._begin(connection, timeout_s)

    def _refuse_replaced(self) -> None:
        """Raises Replaced, Unavailable. A backup put here now would live beside the file that is open."""
        try:
            found = self._identity()
        except FileNotFoundError:
            raise Unavailable(f"{self.where} was removed while it was in use; put it back") from None
        except OSError as error:
            raise Unavailable(f"{self.where} cannot be seen ({error.strerror}); look at its folder") from None
        if found != self._opened:
            raise Replaced(
                f"{self.where} was replaced while it was in use; this process starts anew with what is there "
                "now. Restore a backup with both processes stopped"
            )

    def _identity(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def refusal(self, error: DBAPIError) -> StoreError:
        return _refusal(self.where, error)

    def _begin(self, connection: Connection, timeout_s: float) -> None:
        _driver(connection).execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
        connection.begin()


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _begin_write(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_read(connection: Connection) -> None:
    """Past SQLAlchemy, which costs a short read more than SQLite does; it takes no lock that could fail."""
    _driver(connection).execute("BEGIN")


def _engine(path: Path, begin: Callable[[Connection], None]) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={
            "check_same_thread": False,
            "isolation_level": None,
            "timeout": OPEN_TIMEOUT_S,
            "cached_statements": STATEMENT_CACHE_COUNT,
        },
    )

    def set_pragmas(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", set_pragmas)
    event.listen(engine, "begin", begin)
    return engine


def _make(path: Path, mode: int) -> None:
    """The file with its mode from the first moment; SQLite gives the -wal and -shm files the same one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        is_ours = os.fstat(descriptor).st_uid == acting_user()
        if is_ours and os.fstat(descriptor).st_mode & 0o777 != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time makes or upgrades what is in ``folder``. The kernel unlocks for the dead."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    deadline_s = time.monotonic() + OPEN_TIMEOUT_S
    while True:
        try:
            return flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise Unavailable(
                    f"{folder}: another process has been opening the store for {OPEN_TIMEOUT_S:g} s; "
                    "wait for its upgrade to end, or stop it"
                ) from None
            time.sleep(OPEN_POLL_S)


def _refusal(where: str, error: DBAPIError) -> StoreError:
    """Source: https://www.sqlite.org/rescode.html, by primary result code."""
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable(
                f"{where} is locked by another process; stop what holds it, or try again later"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return Unavailable(f"{where} cannot be written ({error.orig}); let this user write it")
        case sqlite3.SQLITE_FULL:
            return Unavailable(f"{where} cannot grow: the disk is full; free some space")
        case sqlite3.SQLITE_IOERR:
            return Unavailable(f"{where} cannot be read or written ({error.orig}); look at the disk")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(
                f"{where} is damaged ({error.orig}); restore a backup, or move it away and start anew: "
                "users' claims are rebuilt from their data directories"
            )
        case _:
            return StoreError(f"{where}: {error.orig}; this is a mistake in the program, please report it")
