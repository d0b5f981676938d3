"""The house's state.db as another program on the machine sees it: locked, and its leases."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mcpgw.testing.house import House


def state_file(house: House) -> Path:
    return house.folder / "state" / "state.db"


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Nobody else can write to it meanwhile."""
    with closing(sqlite3.connect(state_file(house), isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def live_workers(house: House) -> set[str]:
    """The gateway workers whose leases run at this moment."""
    with closing(sqlite3.connect(state_file(house), timeout=30)) as connection:
        rows = connection.execute("SELECT worker, expires_s FROM leases").fetchall()
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return {worker for worker, expires_s in rows if expires_s > now_s}
