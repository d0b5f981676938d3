"""What the authorization server keeps: queries do as they say, on an index; nothing outlives its grant."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, insert

from state.store import auth_rows
from state.store.auth import AuthDatabase, AuthTx, open_auth
from state.store.auth_rows import Client, Code, Grant, RefreshToken, SigningKey
from state.store.schema import tickets
from state.store.upgrading import AUTH_STEPS, upgrade
from tests.state.store.test_tickets import Clock

NOW = Clock.now
HOUR = 3600.0


def client(client_id: str = "c1", *, used_at: float = NOW, is_used: bool = False) -> Client:
    return Client(client_id, "{}", "", NOW - HOUR, used_at, is_used)


def grant(grant_id: str = "g1", *, user: str = "github:1", client_id: str = "c1", **parts: object) -> Grant:
    made = Grant(
        grant_id, user, client_id, "A client", "mcp", "http://localhost:9000/mcp", NOW, NOW, NOW + HOUR
    )
    return replace(made, **parts)  # type: ignore[arg-type]


def code(code_sha256: str = "k1", *, grant_id: str = "g1", expires_at: float = NOW + 60) -> Code:
    return Code(code_sha256, grant_id, "http://127.0.0.1/cb", "challenge", expires_at)


def refresh(name: str, parent: str | None = None, *, expires_at: float = NOW + HOUR) -> RefreshToken:
    return RefreshToken(name, "g1", parent, expires_at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth.db"


@pytest.fixture
async def auth(path: Path, clock: Clock) -> AsyncIterator[AuthDatabase]:
    opened = await open_auth(path, clock)
    yield opened
    await opened.close()


# The file


async def test_a_transaction_is_all_or_nothing(auth: AuthDatabase) -> None:
    def half(tx: AuthTx) -> None:
        tx.clients.add(client())
        raise RuntimeError("died between")

    with pytest.raises(RuntimeError, match="died between"):
        await auth.transact(half)
    assert await auth.read(lambda tx: tx.clients.count()) == 0


async def test_a_transaction_has_one_time(auth: AuthDatabase, clock: Clock) -> None:
    def look(tx: AuthTx) -> tuple[float, float]:
        before = tx.now
        clock.now += 5
        return before, tx.now

    assert await auth.transact(look) == (NOW, NOW)
    assert await auth.read(lambda tx: tx.now) == NOW + 5


async def test_rows_outlive_the_process(path: Path, clock: Clock) -> None:
    before = await open_auth(path, clock)
    await before.transact(lambda tx: tx.grants.add(grant()))
    await before.close()
    after = await open_auth(path, clock)
    assert await after.read(lambda tx: tx.grants.get("g1")) == grant()
    await after.close()


def test_a_file_of_the_first_version_keeps_its_tickets(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(AUTH_STEPS.folder))
        command.upgrade(config, "0001")
        ticket = {"purpose": "session", "secret_sha256": "s", "payload": "{}", "expires_at": NOW}
        connection.execute(insert(tickets), ticket)
    with engine.begin() as connection:
        upgrade(connection, AUTH_STEPS, "here")
        assert [dict(row._mapping) for row in connection.execute(tickets.select())] == [ticket]
        assert auth_rows.ClientRows(connection).count() == 0
    engine.dispose()


# Clients


async def test_a_client_is_found_by_its_id_alone(auth: AuthDatabase) -> None:
    confidential = replace(client("c2"), secret_sha256="s", document='{"a": 1}')
    await auth.transact(lambda tx: (tx.clients.add(client()), tx.clients.add(confidential)))
    assert await auth.read(lambda tx: tx.clients.get("c1")) == client()
    assert await auth.read(lambda tx: tx.clients.get("c2")) == confidential
    assert await auth.read(lambda tx: tx.clients.get("C1")) is None
    assert await auth.read(lambda tx: tx.clients.count()) == 2


async def test_a_client_that_was_granted_something_is_a_used_one(auth: AuthDatabase) -> None:
    await auth.transact(lambda tx: tx.clients.add(client()))
    await auth.transact(lambda tx: tx.clients.touch("c1", NOW + 7))
    assert await auth.read(lambda tx: tx.clients.get("c1")) == client(used_at=NOW + 7, is_used=True)


async def test_clients_that_nobody_uses_go_and_those_that_hold_a_grant_stay(auth: AuthDatabase) -> None:
    kept = [
        client("fresh"),
        client("rests", used_at=NOW - 2 * HOUR, is_used=True),
        client("holds", used_at=NOW - 9 * HOUR, is_used=True),
        client("new-and-holds", used_at=NOW - 2 * HOUR),
    ]
    gone = [
        client("never", used_at=NOW - 2 * HOUR),
        client("long-ago", used_at=NOW - 9 * HOUR, is_used=True),
    ]

    def fill(tx: AuthTx) -> None:
        for one in (*kept, *gone):
            tx.clients.add(one)
        tx.grants.add(grant("g1", client_id="holds"))
        tx.grants.add(grant("g2", client_id="new-and-holds"))
        tx.grants.add(grant("g3", client_id=""))

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.clients.drop_unused(NOW - HOUR, NOW - 8 * HOUR)) == 2
    assert await auth.transact(lambda tx: tx.clients.drop_unused(NOW - HOUR, NOW - 8 * HOUR)) == 0
    for one in kept:
        assert await auth.read(lambda tx, one=one: tx.clients.get(one.client_id)) == one  # type: ignore[misc]
    assert await auth.read(lambda tx: tx.clients.count()) == len(kept)


async def test_the_oldest_of_those_nobody_ever_used_make_room(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        for age_s in (5, 4, 3, 2, 1):
            tx.clients.add(client(f"c{age_s}", used_at=NOW - age_s))
        tx.clients.add(client("used", used_at=NOW - 9, is_used=True))
        tx.clients.add(client("holds", used_at=NOW - 9))
        tx.grants.add(grant("g1", client_id="holds"))

    def left(tx: AuthTx) -> set[str]:
        names = ("c1", "c2", "c3", "c4", "c5", "used", "holds")
        return {name for name in names if tx.clients.get(name) is not None}

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.clients.drop_never_used(NOW - 2, 2)) == 2
    assert await auth.read(left) == {"c1", "c2", "c3", "used", "holds"}, "the oldest first"
    assert await auth.transact(lambda tx: tx.clients.drop_never_used(NOW - 2, 2)) == 1
    assert await auth.transact(lambda tx: tx.clients.drop_never_used(NOW - 2, 2)) == 0
    assert await auth.read(left) == {"c1", "c2", "used", "holds"}


# Grants


async def test_a_grant_is_found_by_its_id_and_a_personal_one_by_its_token(auth: AuthDatabase) -> None:
    personal = grant("g2", client_id="", token_sha256="t")
    await auth.transact(lambda tx: (tx.grants.add(grant()), tx.grants.add(personal)))
    assert await auth.read(lambda tx: tx.grants.get("g1")) == grant()
    assert await auth.read(lambda tx: tx.grants.with_token("t")) == personal
    assert await auth.read(lambda tx: tx.grants.with_token("")) is None
    assert await auth.read(lambda tx: tx.grants.get("g3")) is None


async def test_a_user_has_the_grants_that_live_the_newest_first(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant("old", created_at=NOW - 2))
        tx.grants.add(grant("new", created_at=NOW - 1))
        tx.grants.add(grant("over", expires_at=NOW))
        tx.grants.add(grant("revoked", revoked_at=NOW - 1))
        tx.grants.add(grant("anothers", user="github:2"))

    await auth.transact(fill)
    found = await auth.read(lambda tx: tx.grants.of_user("github:1", tx.now))
    assert [one.grant_id for one in found] == ["new", "old"]
    assert all(one.lives(NOW) for one in found)


async def test_a_grant_lives_until_it_ends(auth: AuthDatabase) -> None:
    assert grant().lives(NOW + HOUR - 1)
    assert not grant().lives(NOW + HOUR)
    assert not grant(revoked_at=NOW).lives(NOW)


async def test_a_grant_that_is_used_lasts_longer(auth: AuthDatabase) -> None:
    await auth.transact(lambda tx: tx.grants.add(grant()))
    await auth.transact(lambda tx: tx.grants.touch("g1", NOW + 5, NOW + 2 * HOUR))
    assert await auth.read(lambda tx: tx.grants.get("g1")) == grant(
        used_at=NOW + 5, expires_at=NOW + 2 * HOUR
    )


async def test_uses_are_written_together_and_never_back_in_time(auth: AuthDatabase) -> None:
    await auth.transact(lambda tx: (tx.grants.add(grant()), tx.grants.add(grant("g2", used_at=NOW + 9))))
    assert not grant().is_used
    await auth.transact(lambda tx: tx.grants.note_uses({"g1": NOW + 5, "g2": NOW + 5, "gone": NOW}))
    assert await auth.read(lambda tx: tx.grants.get("g1")) == grant(used_at=NOW + 5)
    assert await auth.read(lambda tx: tx.grants.get("g2")) == grant("g2", used_at=NOW + 9)
    assert grant(used_at=NOW + 5).is_used


async def test_a_grant_is_revoked_once_and_announced_once(auth: AuthDatabase) -> None:
    await auth.transact(lambda tx: (tx.grants.add(grant()), tx.grants.add(grant("g2"))))
    assert await auth.read(lambda tx: tx.grants.unannounced(9)) == []
    assert await auth.transact(lambda tx: tx.grants.revoke("g1", NOW + 1)) is True
    assert await auth.transact(lambda tx: tx.grants.revoke("g1", NOW + 2)) is False
    assert await auth.transact(lambda tx: tx.grants.revoke("none", NOW)) is False
    assert await auth.read(lambda tx: tx.grants.get("g1")) == grant(revoked_at=NOW + 1)
    assert await auth.read(lambda tx: tx.grants.unannounced(9)) == [("g1", "github:1")]
    await auth.transact(lambda tx: tx.grants.set_announced(["g1"]))
    assert await auth.read(lambda tx: tx.grants.unannounced(9)) == []
    await auth.transact(lambda tx: tx.grants.revoke("g1", NOW + 3))
    assert await auth.read(lambda tx: tx.grants.unannounced(9)) == [], "it had ended before"


async def test_all_of_a_user_are_revoked_and_nobody_elses(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        for number in range(3):
            tx.grants.add(grant(f"g{number}"))
        tx.grants.add(grant("revoked", revoked_at=NOW - 1))
        tx.grants.add(grant("anothers", user="github:10"))

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.grants.revoke_all("github:1", tx.now)) == 3
    assert await auth.read(lambda tx: tx.grants.of_user("github:1", tx.now)) == []
    assert len(await auth.read(lambda tx: tx.grants.of_user("github:10", tx.now))) == 1
    assert len(await auth.read(lambda tx: tx.grants.unannounced(9))) == 3
    assert len(await auth.read(lambda tx: tx.grants.unannounced(2))) == 2


async def test_what_ended_is_forgotten_once_every_worker_has_heard_of_it(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant("lives"))
        tx.grants.add(grant("over", expires_at=NOW - 2))
        tx.grants.add(grant("heard"))
        tx.grants.add(grant("unheard"))
        tx.grants.revoke("heard", NOW - 2)
        tx.grants.revoke("unheard", NOW - 2)
        tx.grants.set_announced(["heard"])

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.grants.drop_ended(NOW - 3)) == 0
    assert await auth.transact(lambda tx: tx.grants.drop_ended(NOW - 1)) == 2
    for grant_id, is_there in (("lives", True), ("over", False), ("heard", False), ("unheard", True)):
        found = await auth.read(lambda tx, name=grant_id: tx.grants.get(name))  # type: ignore[misc]
        assert (found is not None) == is_there, grant_id


async def test_codes_and_refresh_tokens_go_with_their_grant(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant(expires_at=NOW - 2))
        tx.grants.add(grant("g2"))
        tx.codes.add(code())
        tx.codes.add(code("k2", grant_id="g2"))
        tx.refresh_tokens.add(refresh("r1"))
        tx.refresh_tokens.add(replace(refresh("r2"), grant_id="g2"))

    await auth.transact(fill)
    await auth.transact(lambda tx: tx.grants.drop_ended(NOW - 1))
    assert await auth.read(lambda tx: tx.codes.get("k1")) is None
    assert await auth.read(lambda tx: tx.refresh_tokens.get("r1")) is None
    assert await auth.read(lambda tx: tx.codes.get("k2")) == code("k2", grant_id="g2")
    assert await auth.read(lambda tx: tx.refresh_tokens.get("r2")) is not None


@pytest.mark.parametrize(
    "orphan",
    [lambda tx: tx.codes.add(code()), lambda tx: tx.refresh_tokens.add(refresh("r1"))],
    ids=["a code", "a refresh token"],
)
async def test_nothing_is_issued_without_a_grant(
    auth: AuthDatabase, orphan: Callable[[AuthTx], None]
) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await auth.transact(orphan)


async def test_two_grants_never_share_a_token(auth: AuthDatabase) -> None:
    await auth.transact(lambda tx: tx.grants.add(grant(token_sha256="t")))
    with pytest.raises(Exception, match="UNIQUE"):
        await auth.transact(lambda tx: tx.grants.add(grant("g2", token_sha256="t")))
    await auth.transact(lambda tx: (tx.grants.add(grant("g3")), tx.grants.add(grant("g4"))))


# Codes


async def test_a_code_is_there_used_or_not_until_it_is_swept(auth: AuthDatabase) -> None:
    """A second use has to be told from an unknown code."""
    await auth.transact(lambda tx: (tx.grants.add(grant()), tx.codes.add(code())))
    await auth.transact(lambda tx: tx.codes.set_used("k1", NOW + 1))
    assert await auth.read(lambda tx: tx.codes.get("k1")) == replace(code(), used_at=NOW + 1)
    assert await auth.transact(lambda tx: tx.codes.drop_ended(NOW + 60)) == 0
    assert await auth.transact(lambda tx: tx.codes.drop_ended(NOW + 61)) == 1
    assert await auth.read(lambda tx: tx.codes.get("k1")) is None


# Refresh tokens


def _spent(tx: AuthTx) -> set[str]:
    names = ("a", "b", "b2", "c", "d", "other")
    found = {name: tx.refresh_tokens.get(name) for name in names}
    return {name for name, token in found.items() if token is not None and token.is_spent}


async def test_a_used_successor_spends_its_parent_and_its_siblings(auth: AuthDatabase) -> None:
    """a → b, b2 (the answer with b was lost), b → c, c → d: a token two uses old is a stranger's."""

    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant())
        tx.grants.add(grant("g2"))
        for name, parent in (("a", None), ("b", "a"), ("b2", "a"), ("c", "b"), ("d", "c")):
            tx.refresh_tokens.add(refresh(name, parent))
        tx.refresh_tokens.add(replace(refresh("other"), grant_id="g2"))

    await auth.transact(fill)
    assert await auth.read(_spent) == set()
    await auth.transact(lambda tx: tx.refresh_tokens.spend_forebears(refresh("a")))
    assert await auth.read(_spent) == set(), "the first one has none"
    await auth.transact(lambda tx: tx.refresh_tokens.spend_forebears(refresh("b", "a")))
    assert await auth.read(_spent) == {"a", "b2"}
    await auth.transact(lambda tx: tx.refresh_tokens.spend_forebears(refresh("c", "b")))
    assert await auth.read(_spent) == {"a", "b", "b2"}
    await auth.transact(lambda tx: tx.refresh_tokens.spend_forebears(refresh("c", "b")))
    assert await auth.read(_spent) == {"a", "b", "b2"}, "to do it again does nothing more"


async def test_of_the_unused_siblings_the_newest_few_are_kept(auth: AuthDatabase) -> None:
    names = [f"b{number}" for number in (3, 1, 4, 0, 5)]

    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant())
        tx.refresh_tokens.add(refresh("a"))
        tx.refresh_tokens.add(replace(refresh("spent", "a"), is_spent=True))
        tx.refresh_tokens.add(refresh("cousin", "z"))
        for name in names:
            tx.refresh_tokens.add(refresh(name, "a"))

    def left(tx: AuthTx) -> list[str]:
        every = ("a", "spent", "cousin", *names)
        return [name for name in every if tx.refresh_tokens.get(name) is not None]

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.refresh_tokens.drop_older_siblings("a", 2)) == 3
    assert await auth.read(left) == ["a", "spent", "cousin", "b0", "b5"]
    assert await auth.transact(lambda tx: tx.refresh_tokens.drop_older_siblings("a", 2)) == 0


async def test_refresh_tokens_that_are_over_are_swept(auth: AuthDatabase) -> None:
    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant())
        tx.refresh_tokens.add(refresh("r1", expires_at=NOW))
        tx.refresh_tokens.add(refresh("r2", "r1", expires_at=NOW + 1))

    await auth.transact(fill)
    assert await auth.transact(lambda tx: tx.refresh_tokens.drop_ended(NOW + 0.5)) == 1
    assert await auth.read(lambda tx: tx.refresh_tokens.get("r1")) is None
    assert await auth.read(lambda tx: tx.refresh_tokens.get("r2")) == refresh("r2", "r1", expires_at=NOW + 1)


async def test_a_sweep_is_bounded_and_the_rest_waits_for_the_next(
    auth: AuthDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_rows, "SWEEP_ROWS_MAX", 2)

    def fill(tx: AuthTx) -> None:
        tx.grants.add(grant("keeps", client_id=""))
        for number in range(3):
            tx.clients.add(client(f"c{number}", used_at=NOW - HOUR))
            tx.grants.add(grant(f"g{number}", client_id="", expires_at=NOW - HOUR))
            tx.codes.add(code(f"k{number}", grant_id="keeps", expires_at=NOW - HOUR))
            over = replace(refresh(f"r{number}", expires_at=NOW - HOUR), grant_id="keeps")
            tx.refresh_tokens.add(over)

    await auth.transact(fill)
    sweeps: list[Callable[[AuthTx], int]] = [
        lambda tx: tx.clients.drop_unused(tx.now, tx.now),
        lambda tx: tx.grants.drop_ended(tx.now),
        lambda tx: tx.codes.drop_ended(tx.now),
        lambda tx: tx.refresh_tokens.drop_ended(tx.now),
    ]
    for sweep in sweeps:
        assert [await auth.transact(sweep) for _ in range(3)] == [2, 1, 0]


# Signing keys


async def test_signing_keys_come_the_oldest_first_retire_and_go(auth: AuthDatabase) -> None:
    old, new = SigningKey("k1", b"\x00\xff", "{}", NOW - 1), SigningKey("k2", b"\x01", "{}", NOW)
    await auth.transact(lambda tx: (tx.signing_keys.add(new), tx.signing_keys.add(old)))
    assert await auth.read(lambda tx: tx.signing_keys.all()) == [old, new]
    await auth.transact(lambda tx: tx.signing_keys.retire("k1", NOW + HOUR))
    assert await auth.read(lambda tx: tx.signing_keys.all()) == [replace(old, retires_at=NOW + HOUR), new]
    await auth.transact(lambda tx: tx.signing_keys.drop("k1"))
    assert await auth.read(lambda tx: tx.signing_keys.all()) == [new]


# Indexes

STATEMENTS: dict[str, Callable[[AuthTx], object]] = {
    "a client by its id": lambda tx: tx.clients.get("c1"),
    "a client's use": lambda tx: tx.clients.touch("c1", NOW),
    "a grant by its id": lambda tx: tx.grants.get("g1"),
    "a personal token": lambda tx: tx.grants.with_token("t"),
    "a user's grants": lambda tx: tx.grants.of_user("github:1", NOW),
    "a grant's use": lambda tx: tx.grants.touch("g1", NOW, NOW),
    "the end of a grant": lambda tx: tx.grants.revoke("g1", NOW),
    "the end of a user's grants": lambda tx: tx.grants.revoke_all("github:1", NOW),
    "what is not announced": lambda tx: tx.grants.unannounced(9),
    "what is announced now": lambda tx: tx.grants.set_announced(["g1", "g2"]),
    "a code": lambda tx: tx.codes.get("k1"),
    "a code's use": lambda tx: tx.codes.set_used("k1", NOW),
    "a refresh token": lambda tx: tx.refresh_tokens.get("r1"),
    "a refresh token's forebears": lambda tx: tx.refresh_tokens.spend_forebears(refresh("r1", "r0")),
    "a refresh token's siblings": lambda tx: tx.refresh_tokens.drop_older_siblings("r0", 4),
    "ended grants": lambda tx: tx.grants.drop_ended(NOW),
    "ended codes": lambda tx: tx.codes.drop_ended(NOW),
    "ended refresh tokens": lambda tx: tx.refresh_tokens.drop_ended(NOW),
    "never used clients": lambda tx: tx.clients.drop_never_used(NOW, 9),
    "unused clients": lambda tx: tx.clients.drop_unused(NOW, NOW),
}


def plans(connection: Connection, run: Callable[[AuthTx], object]) -> list[str]:
    """What SQLite means to do for each statement that ``run`` makes."""
    found: list[str] = []

    def explain(conn: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if not statement.startswith("EXPLAIN"):
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            found.extend(row.detail for row in rows)

    event.listen(connection, "before_cursor_execute", explain)
    try:
        run(AuthTx(connection, NOW))
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    return found


def test_no_request_and_no_sweep_reads_a_whole_table(path: Path) -> None:
    """As SQLite plans without statistics of the tables, which nobody has it collect."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection, AUTH_STEPS, "here")
        for what, run in STATEMENTS.items():
            steps = plans(connection, run)
            assert steps, what
            assert not [step for step in steps if step.startswith("SCAN ")], f"{what}: {steps}"
    engine.dispose()
