"""Transactions on a SQL database from an event loop: one writing thread, a few reading ones.

Decides how a transaction begins, ends and fails. Refuses to know the tables (:mod:`state.store.sql_rows`,
:mod:`state.store.tickets`) and the product (:mod:`state.store.sqlite`, :mod:`state.store.postgres`).
"""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from state.store.errors import OutcomeUnknown, StoreError
from state.store.threads import Threads

T = TypeVar("T")

READERS_COUNT = 2


class Product(Protocol):
    """What differs between SQLite and PostgreSQL below the tables."""

    @property
    def where(self) -> str:
        """The database's name in messages: never with a password."""
        ...

    @property
    def writer(self) -> Engine: ...

    @property
    def readers(self) -> Engine: ...

    def begin_write(self, connection: Connection, timeout_s: float) -> None:
        """Begin, and take the one writer's lock, waiting at most ``timeout_s``."""
        ...

    def begin_read(self, connection: Connection, timeout_s: float) -> None:
        """Begin a snapshot that never changes under the reader."""
        ...

    def enter_thread(self) -> None:
        """Called first in each thread that uses it."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...

    def refusal(self, error: DBAPIError) -> StoreError:
        """What the driver's error means to a caller, and what mends it."""
        ...


class Database:
    """A product's engines with the threads that use them."""

    def __init__(self, product: Product, timeout_s: float) -> None:
        self._product = product
        self._writer = Threads(product.where, 1, timeout_s, product.enter_thread)
        self._readers = Threads(product.where, READERS_COUNT, timeout_s, product.enter_thread)

    async def write(self, fn: Callable[[Connection], T], committed: Callable[[T], None] | None = None) -> T:
        """Run ``fn`` as the only writer; whatever it raises rolls back. ``committed`` runs in the thread."""

        def run(deadline_s: float) -> T:
            answer = self._transaction(fn, deadline_s)
            if committed is not None:
                committed(answer)
            return answer

        return await self._writer.run(run)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` on one snapshot."""
        return await self._readers.run(lambda deadline_s: self._snapshot(fn, deadline_s))

    async def close(self) -> None:
        await self._writer.close()
        await self._readers.close()
        self._product.close()

    def _transaction(self, fn: Callable[[Connection], T], deadline_s: float) -> T:
        product = self._product
        try:
            with product.writer.connect() as connection:
                product.begin_write(connection, _left_s(deadline_s))
                answer = fn(connection)
                self._commit(connection)
                return answer
        except DBAPIError as error:
            raise product.refusal(error) from error

    def _commit(self, connection: Connection) -> None:
        """A commit that fails may have reached the disk, or the server, all the same."""
        try:
            connection.commit()
        except DBAPIError as error:
            raise OutcomeUnknown(f"{self._product.refusal(error)} (it may have been written)") from error

    def _snapshot(self, fn: Callable[[Connection], T], deadline_s: float) -> T:
        try:
            with self._product.readers.connect() as connection:
                self._product.begin_read(connection, _left_s(deadline_s))
                return fn(connection)
        except DBAPIError as error:
            raise self._product.refusal(error) from error


def _left_s(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())
