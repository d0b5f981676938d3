"""Codes and sessions in auth.db."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from state.store.auth import open_auth
from state.store.errors import AlreadyExists, StoreError
from state.store.tickets import PAYLOAD_BYTES_MAX, Tickets


class Clock:
    """A wall clock that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "auth.db"


@pytest.fixture
async def tickets(path: Path, clock: Clock) -> AsyncIterator[Tickets]:
    auth = await open_auth(path, clock)
    yield auth.tickets
    await auth.close()


async def test_a_code_is_taken_once(tickets: Tickets) -> None:
    await tickets.put("code", "secret", {"user": "github:1", "count": 2}, ttl_s=60)
    taken = await asyncio.gather(*(tickets.take("code", "secret") for _ in range(10)))
    assert [one for one in taken if one is not None] == [{"user": "github:1", "count": 2}]


async def test_a_session_is_read_until_it_is_revoked(tickets: Tickets) -> None:
    await tickets.put("session", "secret", {"user": "github:1"}, ttl_s=60)
    assert await tickets.get("session", "secret") == {"user": "github:1"}
    assert await tickets.get("session", "secret") == {"user": "github:1"}
    await tickets.revoke("session", "secret")
    await tickets.revoke("session", "secret")
    assert await tickets.get("session", "secret") is None


async def test_a_secret_is_good_for_its_purpose_alone(tickets: Tickets) -> None:
    await tickets.put("code", "secret", {"a": 1}, ttl_s=60)
    await tickets.put("session", "secret", {"b": 2}, ttl_s=60)
    assert await tickets.take("link", "secret") is None
    assert await tickets.take("code", "secret") == {"a": 1}
    assert await tickets.get("session", "secret") == {"b": 2}
    assert await tickets.get("session", "Secret") is None


async def test_its_time_ends_it(tickets: Tickets, clock: Clock) -> None:
    await tickets.put("session", "one", {}, ttl_s=60)
    await tickets.put("session", "two", {}, ttl_s=60)
    await tickets.put("session", "late", {}, ttl_s=61)
    clock.now += 60
    assert await tickets.get("session", "one") is None
    assert await tickets.take("session", "two") is None
    assert await tickets.get("session", "late") == {}
    assert await tickets.sweep() == 1
    assert await tickets.sweep() == 0
    assert await tickets.get("session", "late") == {}


async def test_a_sweep_spares_another_purposes_secret_of_the_same_name(
    tickets: Tickets, clock: Clock
) -> None:
    await tickets.put("code", "secret", {}, ttl_s=1)
    await tickets.put("session", "secret", {}, ttl_s=60)
    clock.now += 2
    assert await tickets.sweep() == 1
    assert await tickets.get("session", "secret") == {}


async def test_a_secret_is_not_put_twice(tickets: Tickets) -> None:
    await tickets.put("code", "secret", {"user": "one"}, ttl_s=60)
    with pytest.raises(AlreadyExists) as refused:
        await tickets.put("code", "secret", {"user": "two"}, ttl_s=60)
    assert "secret was given" in str(refused.value)
    assert await tickets.take("code", "secret") == {"user": "one"}


async def test_a_payload_has_a_limit(tickets: Tickets) -> None:
    with pytest.raises(ValueError, match="at most"):
        await tickets.put("code", "secret", {"x": "y" * PAYLOAD_BYTES_MAX}, ttl_s=60)


async def test_no_secret_stands_in_the_file(tickets: Tickets, path: Path) -> None:
    await tickets.put("session", "the-secret-itself", {"user": "findable"}, ttl_s=60)
    text = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"findable" in text
    assert b"the-secret-itself" not in text


async def test_nobody_else_may_read_it(tickets: Tickets, path: Path) -> None:
    await tickets.put("session", "secret", {}, ttl_s=60)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == dict.fromkeys(("auth.db", "auth.db-wal", "auth.db-shm"), 0o600)


async def test_a_session_outlives_the_process(path: Path, clock: Clock) -> None:
    before = await open_auth(path, clock)
    await before.tickets.put("session", "secret", {"user": "one"}, ttl_s=60)
    await before.close()
    after = await open_auth(path, clock)
    assert await after.tickets.get("session", "secret") == {"user": "one"}
    await after.close()


async def test_a_file_that_was_open_to_others_is_closed_to_them(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    await (await open_auth(path, clock)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_state_file_is_no_auth_file(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"auth\.db cannot be opened"):
        await open_auth(path)
