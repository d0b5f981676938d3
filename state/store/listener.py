"""Rings between processes through PostgreSQL: NOTIFY with the commit, LISTEN on a connection of its own.

Decides when to connect again. A lost ring costs a poll's time, never a change.
"""

import asyncio

import psycopg
import structlog
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, text

from state.store.bell import Bell

CHANNEL = "mcp_gateway_state"
RECONNECT_S = 2.0
CONNECT_TIMEOUT_S = 5

_NOTIFY = text(f"NOTIFY {CHANNEL}")
_log = structlog.get_logger(__name__)

_Listening = psycopg.Connection[TupleRow]


class Listener:
    """Implements :class:`state.store.sql.Ringer`."""

    def __init__(self, url: URL, bell: Bell) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._bell = bell
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def ring_with(self, connection: Connection) -> None:
        connection.execute(_NOTIFY)

    def ring(self) -> None:
        """The server rings at the commit."""

    async def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
            except psycopg.Error as error:
                _log.warning("doorbell.lost", why=str(error).partition("\n")[0])
            else:
                await self._hear(connection)
            await asyncio.sleep(RECONNECT_S)

    async def _hear(self, connection: _Listening) -> None:
        """Ring for every notification until the connection is lost."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()
        descriptor = connection.fileno()
        loop.add_reader(descriptor, self._heard, connection, lost)
        try:
            self._bell.ring()  # for what nobody heard before
            await lost
        finally:
            loop.remove_reader(descriptor)
            connection.close()

    def _heard(self, connection: _Listening, lost: "asyncio.Future[None]") -> None:
        try:
            connection.pgconn.consume_input()
            while connection.pgconn.notifies() is not None:
                continue
        except psycopg.Error:
            if not lost.done():
                lost.set_result(None)
        self._bell.ring()

    def _connect(self) -> _Listening:
        connection = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        connection.execute(f"LISTEN {CHANNEL}")
        if self._is_closed:  # nobody waits for it any more
            connection.close()
        return connection
