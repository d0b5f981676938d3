"""What the gateway's authorization server keeps: clients, grants, codes, refresh tokens, signing keys.

Decides columns' meaning and which queries there are, each on an index; refuses to know OAuth. Secrets come
here as their SHA-256 and private keys sealed: nothing in the file is good for anything by itself.
All methods are synchronous and run inside one transaction of :mod:`state.store.auth`. Times are Unix seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from state.store.schema import clients, codes, grants, refresh_tokens, signing_keys

# What every token that is not known yet costs: built once, since building takes longer than running.
_GRANT: Final = select(grants).where(grants.c.grant_id == bindparam("grant_id"))
_GRANT_OF_TOKEN: Final = select(grants).where(grants.c.token_sha256 == bindparam("token_sha256"))
SWEEP_ROWS_MAX: Final = 5_000  # a sweep is one transaction; the rest waits for the next


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may ask people for access. ``document``: its RFC 7591 metadata, as JSON."""

    client_id: str
    document: str
    secret_sha256: str  # empty: a public client
    created_at: float
    used_at: float
    is_used: bool = False  # whether anybody ever granted it anything


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed a program: an OAuth client, or (``client_id`` empty) a personal access token."""

    grant_id: str
    user: str
    client_id: str
    name: str  # the client's at that time, or the personal token's
    scope: str  # space-separated
    resource: str
    created_at: float
    used_at: float
    expires_at: float
    token_sha256: str | None = None  # a personal token's
    revoked_at: float | None = None

    @property
    def is_used(self) -> bool:
        """Whether ``used_at`` is the time of a use; until then it is the time of its making."""
        return self.used_at > self.created_at

    def lives(self, now: float) -> bool:
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Code:
    code_sha256: str
    grant_id: str
    redirect_uri: str
    challenge: str
    expires_at: float
    used_at: float | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """``is_spent``: a successor was used, or a sibling; whoever brings it then is not who it was given to."""

    token_sha256: str
    grant_id: str
    parent_sha256: str | None
    expires_at: float
    is_spent: bool = False


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    sealed: bytes
    public: str  # the public JWK, as JSON
    created_at: float
    retires_at: float | None = None


class ClientRows:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, client_id: str) -> Client | None:
        row = self._connection.execute(select(clients).where(clients.c.client_id == client_id)).one_or_none()
        return None if row is None else Client(**row._mapping)

    def add(self, client: Client) -> None:
        self._connection.execute(insert(clients), asdict(client))

    def touch(self, client_id: str, now: float) -> None:
        """It was granted something, or used it."""
        self._connection.execute(
            update(clients).where(clients.c.client_id == client_id).values(used_at=now, is_used=True)
        )

    def count(self) -> int:
        return self._connection.execute(select(func.count()).select_from(clients)).scalar_one()

    def drop_unused(self, never_used_before: float, idle_before: float) -> int:
        """Drop who never got a grant in time, and who had none for long and holds none; how many."""
        holds = exists().where(grants.c.client_id == clients.c.client_id)
        idle = or_(
            and_(clients.c.is_used.is_(False), clients.c.used_at < never_used_before),
            and_(clients.c.is_used.is_(True), clients.c.used_at < idle_before),
        )
        gone = select(clients.c.client_id).where(idle, ~holds).limit(SWEEP_ROWS_MAX).scalar_subquery()
        return self._connection.execute(delete(clients).where(clients.c.client_id.in_(gone))).rowcount

    def drop_never_used(self, before: float, limit: int) -> int:
        """Drop the oldest of those that came before ``before`` and never got a grant; how many."""
        holds = exists().where(grants.c.client_id == clients.c.client_id)
        chosen = select(clients.c.client_id).where(clients.c.is_used.is_(False), clients.c.used_at < before)
        gone = chosen.where(~holds).order_by(clients.c.used_at).limit(limit).scalar_subquery()
        return self._connection.execute(delete(clients).where(clients.c.client_id.in_(gone))).rowcount


class GrantRows:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, grant_id: str) -> Grant | None:
        return self._one(_GRANT, grant_id=grant_id)

    def with_token(self, token_sha256: str) -> Grant | None:
        """The personal token's grant."""
        return self._one(_GRANT_OF_TOKEN, token_sha256=token_sha256)

    def of_user(self, user: str, now: float) -> list[Grant]:
        """Those that live, the newest first."""
        lives = (grants.c.user == user, grants.c.revoked_at.is_(None), grants.c.expires_at > now)
        rows = self._connection.execute(select(grants).where(*lives).order_by(grants.c.created_at.desc()))
        return [_grant(row) for row in rows]

    def add(self, grant: Grant) -> None:
        self._connection.execute(insert(grants), {**asdict(grant), "is_announced": True})

    def touch(self, grant_id: str, now: float, expires_at: float) -> None:
        """It was used, and lasts until ``expires_at``."""
        values = {"used_at": now, "expires_at": expires_at}
        self._connection.execute(update(grants).where(grants.c.grant_id == grant_id).values(values))

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """When they were used last, by grant. A later time stands."""
        is_older = and_(grants.c.grant_id == bindparam("of"), grants.c.used_at < bindparam("at"))
        written = update(grants).where(is_older).values(used_at=bindparam("at"))
        self._connection.execute(written, [{"of": grant_id, "at": at} for grant_id, at in uses.items()])

    def revoke(self, grant_id: str, now: float) -> bool:
        """End it; whether it was alive. What was issued from it is believed until that is announced."""
        return self._revoke(grants.c.grant_id == grant_id, now) > 0

    def revoke_all(self, user: str, now: float) -> int:
        return self._revoke(grants.c.user == user, now)

    def unannounced(self, limit: int) -> list[tuple[str, str]]:
        """Grant and user of those whose end not every worker has heard of."""
        chosen = select(grants.c.grant_id, grants.c.user).where(grants.c.is_announced.is_(False))
        return [(row.grant_id, row.user) for row in self._connection.execute(chosen.limit(limit))]

    def set_announced(self, grant_ids: Sequence[str]) -> None:
        chosen = grants.c.grant_id.in_(grant_ids)
        self._connection.execute(update(grants).where(chosen).values(is_announced=True))

    def drop_ended(self, before: float) -> int:
        """Forget those that ended before ``before``, with codes and refresh tokens; how many."""
        ended = or_(grants.c.expires_at < before, grants.c.revoked_at < before)
        gone = select(grants.c.grant_id).where(ended, grants.c.is_announced.is_(True))
        chosen = grants.c.grant_id.in_(gone.limit(SWEEP_ROWS_MAX).scalar_subquery())
        return self._connection.execute(delete(grants).where(chosen)).rowcount

    def _one(self, chosen: Select[Any], **named: str) -> Grant | None:
        row = self._connection.execute(chosen, named).one_or_none()
        return None if row is None else _grant(row)

    def _revoke(self, condition: object, now: float) -> int:
        chosen = update(grants).where(condition, grants.c.revoked_at.is_(None))  # type: ignore[arg-type]
        return self._connection.execute(chosen.values(revoked_at=now, is_announced=False)).rowcount


class CodeRows:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, code_sha256: str) -> Code | None:
        row = self._connection.execute(select(codes).where(codes.c.code_sha256 == code_sha256)).one_or_none()
        return None if row is None else Code(**row._mapping)

    def add(self, code: Code) -> None:
        self._connection.execute(insert(codes), asdict(code))

    def set_used(self, code_sha256: str, now: float) -> None:
        self._connection.execute(update(codes).where(codes.c.code_sha256 == code_sha256).values(used_at=now))

    def drop_ended(self, before: float) -> int:
        gone = select(codes.c.code_sha256).where(codes.c.expires_at < before).limit(SWEEP_ROWS_MAX)
        chosen = codes.c.code_sha256.in_(gone.scalar_subquery())
        return self._connection.execute(delete(codes).where(chosen)).rowcount


class RefreshTokenRows:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, token_sha256: str) -> RefreshToken | None:
        chosen = select(refresh_tokens).where(refresh_tokens.c.token_sha256 == token_sha256)
        row = self._connection.execute(chosen).one_or_none()
        return None if row is None else RefreshToken(**row._mapping)

    def add(self, token: RefreshToken) -> None:
        self._connection.execute(insert(refresh_tokens), asdict(token))

    def spend_forebears(self, token: RefreshToken) -> None:
        """``token`` is used for the first time: its parent, and what else came of it, is good no longer."""
        if token.parent_sha256 is None:
            return
        column = refresh_tokens.c
        siblings = and_(
            column.parent_sha256 == token.parent_sha256, column.token_sha256 != token.token_sha256
        )
        chosen = or_(column.token_sha256 == token.parent_sha256, siblings)
        self._connection.execute(update(refresh_tokens).where(chosen).values(is_spent=True))

    def drop_older_siblings(self, parent_sha256: str, kept_max: int) -> int:
        """Of what came of one token and was not used, keep the newest ``kept_max``; how many went."""
        column = refresh_tokens.c
        unspent = and_(column.parent_sha256 == parent_sha256, column.is_spent.is_(False))
        # By when they were added, which SQLite knows: those that end with their grant end together.
        chosen = select(column.token_sha256).where(unspent).order_by(literal_column("rowid").desc())
        gone = chosen.limit(-1).offset(kept_max).scalar_subquery()
        return self._connection.execute(delete(refresh_tokens).where(column.token_sha256.in_(gone))).rowcount

    def drop_ended(self, before: float) -> int:
        gone = select(refresh_tokens.c.token_sha256).where(refresh_tokens.c.expires_at < before)
        chosen = refresh_tokens.c.token_sha256.in_(gone.limit(SWEEP_ROWS_MAX).scalar_subquery())
        return self._connection.execute(delete(refresh_tokens).where(chosen)).rowcount


class SigningKeyRows:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[SigningKey]:
        """The oldest first."""
        rows = self._connection.execute(select(signing_keys).order_by(signing_keys.c.created_at))
        return [SigningKey(**row._mapping) for row in rows]

    def add(self, key: SigningKey) -> None:
        self._connection.execute(insert(signing_keys), asdict(key))

    def retire(self, kid: str, retires_at: float) -> None:
        chosen = update(signing_keys).where(signing_keys.c.kid == kid)
        self._connection.execute(chosen.values(retires_at=retires_at))

    def drop(self, kid: str) -> None:
        self._connection.execute(delete(signing_keys).where(signing_keys.c.kid == kid))


def _grant(row: Row[tuple[object, ...]]) -> Grant:
    values = dict(row._mapping)
    del values["is_announced"]
    return Grant(**values)
