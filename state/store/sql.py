"""The store's backend on SQL: rows of :mod:`state.store.sql_rows` on a :mod:`state.store.database`.

Decides nothing but how the three are joined to a bell. Made by :mod:`state.store.opening`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from state.store import kernel
from state.store.bell import Bell
from state.store.database import Database
from state.store.rows import Rows
from state.store.sql_rows import SqlRows

T = TypeVar("T")

POLL_S = 1.0


class Ringer(Protocol):
    """How other processes learn of a commit."""

    def ring_with(self, connection: Connection) -> None:
        """Inside the transaction, to be heard when it commits."""
        ...

    def ring(self) -> None:
        """After the commit, from the writing thread."""
        ...

    async def close(self) -> None: ...


class SqlBackend:
    """Implements :class:`state.store.rows.Backend`."""

    poll_s: float | None = POLL_S

    def __init__(
        self,
        database: Database,
        bell: Bell,
        ringer: Ringer,
        make_rows: Callable[[Connection], SqlRows],
    ) -> None:
        self.bell = bell
        self._database = database
        self._ringer = ringer
        self._make_rows = make_rows

    def clock_s(self) -> float:
        return kernel.clock_s()

    async def write(self, fn: Callable[[Rows], T], *, ring: bool = True) -> T:
        loop = asyncio.get_running_loop()

        def run(connection: Connection) -> tuple[T, bool]:
            rows = self._make_rows(connection)
            answer = fn(rows)
            rings = ring and rows.has_written
            if rings:
                self._ringer.ring_with(connection)
            return answer, rings

        def committed(outcome: tuple[T, bool]) -> None:
            if outcome[1]:
                self._ringer.ring()
                with suppress(RuntimeError):  # the loop has ended: nobody here waits for a ring
                    loop.call_soon_threadsafe(self.bell.ring)

        answer, _ = await self._database.write(run, committed)
        return answer

    async def read(self, fn: Callable[[Rows], T]) -> T:
        return await self._database.read(lambda connection: fn(self._make_rows(connection)))

    async def close(self) -> None:
        await self._database.close()
        await self._ringer.close()
