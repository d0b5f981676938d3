"""A PostgreSQL database: how it is opened and locked, and what its errors mean.

Decides that one writer works at a time (whoever holds the counter's row), so that a transaction means the
same as on SQLite. Refuses to know what the tables mean. Next: :mod:`state.store.listener`, its doorbell.
"""

from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from state.store.database import READERS_COUNT
from state.store.errors import StoreError, Unavailable
from state.store.schema import counter
from state.store.upgrading import STATE_STEPS, upgrade

CONNECT_TIMEOUT_S: Final = 5
UPGRADE_TIMEOUT_S: Final = 30.0  # for another process's upgrade
_UPGRADE_LOCK: Final = 0x6D637067  # any number that nobody else locks: "mcpg"
# A server that vanished is noticed after this long, also in the middle of an answer.
_SOCKET_TIMEOUT_MS: Final = 10_000

_LOCK_COUNTER = select(counter.c.id).with_for_update()
_SET_TIMEOUT = text("SELECT set_config('lock_timeout', :t, true), set_config('statement_timeout', :t, true)")


class PostgresDatabase:
    """Implements :class:`state.store.database.Product`."""

    def __init__(self, url: str) -> None:
        self.url = _driver_url(url)
        self.where = _where(self.url)
        self.writer = _engine(self.url, 1, "READ COMMITTED")
        self.readers = _engine(self.url, READERS_COUNT, "REPEATABLE READ").execution_options(
            postgresql_readonly=True
        )

    def open(self) -> None:
        """Upgrade the tables, one process at a time. Raises StoreError."""
        try:
            with self.writer.begin() as connection:
                _set_timeout(connection, UPGRADE_TIMEOUT_S)
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
                upgrade(connection, STATE_STEPS, self.where)
        except DBAPIError as error:
            self.close()
            raise self.refusal(error) from error
        except StoreError:
            self.close()
            raise

    def enter_thread(self) -> None:
        """A server has no files here."""

    def close(self) -> None:
        self.writer.dispose()
        self.readers.dispose()

    def begin_write(self, connection: Connection, timeout_s: float) -> None:
        _set_timeout(connection, timeout_s)
        connection.execute(_LOCK_COUNTER)

    def begin_read(self, connection: Connection, timeout_s: float) -> None:
        _set_timeout(connection, timeout_s)

    def refusal(self, error: DBAPIError) -> StoreError:
        return _refusal(self.where, error)


def server_clock_s(connection: Connection) -> float:
    """The one clock that every gateway and reconciler shares. It is the server's wall clock."""
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def _driver_url(url: str) -> URL:
    try:
        return make_url(url).set(drivername="postgresql+psycopg")
    except (
        ArgumentError,
        ValueError,
    ):  # the latter says what it takes for a port, and that may be a password
        raise StoreError(
            "STORE_URL cannot be read; write postgresql://<user>:<password>@<host>:<port>/<database>, "
            "and of a user or password @ as %40, : as %3A, / as %2F"
        ) from None


def _where(url: URL) -> str:
    """The URL as messages show it: without the password and what stands after the question mark."""
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return shown.render_as_string()


def _engine(url: URL, connections_max: int, isolation: str) -> Engine:
    return create_engine(
        url,
        isolation_level=isolation,
        pool_size=connections_max,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": _SOCKET_TIMEOUT_MS},
    )


def _set_timeout(connection: Connection, timeout_s: float) -> None:
    connection.execute(_SET_TIMEOUT, {"t": f"{max(1, int(timeout_s * 1000))}ms"})


def _refusal(where: str, error: DBAPIError) -> StoreError:
    """Source: PostgreSQL's documentation, appendix A, by class and code."""
    state: str = getattr(error.orig, "sqlstate", None) or ""
    reason = str(error.orig).strip().partition("\n")[0]
    match state[:2], state:
        case _, "55P03" | "57014":
            return Unavailable(f"{where} is locked by another session; end it, or try again later")
        case "" | "08" | "57", _:
            return Unavailable(f"{where} does not answer ({reason}); start it, or mend the store's URL")
        case "53", _:
            return Unavailable(f"{where} is out of room ({reason}); free some")
        case "25", _:
            return Unavailable(f"{where} takes no writes ({reason}); point the store's URL at the primary")
        case "40", _:
            return Unavailable(f"{where} rolled the transaction back ({reason}); try again")
        case "28" | "3D" | "42", _:
            return StoreError(f"{where} refuses us ({reason}); mend the store's URL or the user's rights")
        case _:
            return StoreError(f"{where}: {reason}; this is a mistake in the program, please report it")
