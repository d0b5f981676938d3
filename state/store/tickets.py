"""Tickets of ``auth.db``: one-time codes and sessions.

Decides that a secret never stands in the file (only its SHA-256 does: the secrets are random, so no slow
hash is needed), that a ticket is taken once, and that the wall clock ends it. Refuses to know what a
payload means.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select

from state.store.database import Database
from state.store.errors import AlreadyExists
from state.store.schema import tickets

PAYLOAD_BYTES_MAX: Final = 64 << 10
SWEEP_ROWS_MAX: Final = 10_000  # a sweep is one transaction; the rest waits for the next

Payload = Mapping[str, str]

_IS_TICKET = (tickets.c.purpose == bindparam("p")) & (tickets.c.secret_sha256 == bindparam("s"))
_LIVES = tickets.c.expires_at > bindparam("now")
_GET = select(tickets.c.payload).where(_IS_TICKET, _LIVES)
_TAKE = delete(tickets).where(_IS_TICKET).returning(tickets.c.payload, tickets.c.expires_at)
_REVOKE = delete(tickets).where(_IS_TICKET)
_PUT = insert(tickets)
_ENDED = (
    select(tickets.c.secret_sha256)
    .where(tickets.c.expires_at <= bindparam("now"))
    .limit(SWEEP_ROWS_MAX)
    .scalar_subquery()
)
_SWEEP = delete(tickets).where(tickets.c.expires_at <= bindparam("now"), tickets.c.secret_sha256.in_(_ENDED))


class Tickets:
    """Secrets with a purpose, a payload and an end. Every await is bounded; all may raise Unavailable."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def put(self, purpose: str, secret: str, payload: Payload, ttl_s: float) -> None:
        """Raises AlreadyExists where the secret was put before, ValueError where the payload is too large."""
        document = orjson.dumps(payload)
        if len(document) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a ticket's payload has {len(document)} bytes, {PAYLOAD_BYTES_MAX} at most")
        row = {
            "purpose": purpose,
            "secret_sha256": _sha256(secret),
            "payload": document.decode(),
            "expires_at": self._now() + ttl_s,
        }
        await self._database.write(lambda connection: _put(connection, row))

    async def take(self, purpose: str, secret: str) -> Payload | None:
        """The payload, once: of two who take it together one gets None. None also when its time is over."""
        named = _named(purpose, secret)
        row = await self._database.write(lambda connection: connection.execute(_TAKE, named).one_or_none())
        if row is None or row.expires_at <= self._now():
            return None
        return _payload(row.payload)

    async def get(self, purpose: str, secret: str) -> Payload | None:
        """The payload while the ticket lives."""
        named = {**_named(purpose, secret), "now": self._now()}
        document = await self._database.read(lambda connection: connection.execute(_GET, named).scalar())
        return None if document is None else _payload(document)

    async def revoke(self, purpose: str, secret: str) -> None:
        """End it now; one that is not there is no error."""
        named = _named(purpose, secret)
        await self._database.write(lambda connection: connection.execute(_REVOKE, named).rowcount)

    async def sweep(self) -> int:
        """Drop what has ended; how many."""
        now = {"now": self._now()}
        return await self._database.write(lambda connection: connection.execute(_SWEEP, now).rowcount)


def _put(connection: Connection, row: dict[str, object]) -> None:
    named = {"p": row["purpose"], "s": row["secret_sha256"]}
    if connection.execute(select(tickets.c.purpose).where(_IS_TICKET), named).first() is not None:
        raise AlreadyExists("this secret was given out before; make another")
    connection.execute(_PUT, row)


def _named(purpose: str, secret: str) -> dict[str, object]:
    return {"p": purpose, "s": _sha256(secret)}


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _payload(document: str) -> Payload:
    payload: Payload = orjson.loads(document)
    return payload
