"""What a cookie costs: one that was made up costs nothing, and nobody's pushes out who is in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.auth.secret_key import SecretKey
from gateway.auth.sessions import COOKIES_TRIED_MAX, KNOWN_MAX, OVER_MAX, Sessions, TicketKind
from gateway.head import read_head
from tests.gateway.conftest import ALICE_HOME, Town, one_worker
from tests.gateway.rig import Rig

USER = "app:shop.alice"


@contextmanager
def reads(rig: Rig) -> Iterator[list[str]]:
    """What is asked of the store meanwhile."""
    asked: list[str] = []
    get = rig.tickets.get

    async def counted(kind: str, key: str) -> Any:
        asked.append(kind)
        return await get(kind, key)

    rig.tickets.get = counted  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        rig.tickets.get = get  # type: ignore[method-assign]


async def status(rig: Rig, cookie: str, path: str = "/", host: str = "") -> int:
    async with rig.request("GET", path, host=host, headers={"Cookie": cookie}) as answer:
        return int(answer.status)


def changed(cookie: str) -> str:
    """Another last character, as whoever guesses has."""
    return cookie[:-1] + ("A" if cookie[-1] != "A" else "B")


async def test_a_cookie_that_was_made_up_costs_no_look_into_the_store(town: Town) -> None:
    rig = town.rig
    session = await rig.session(USER)
    name, _, secret = session.partition("=")
    home = rig.workers[-1]._desk.sessions._mint(TicketKind.HOME_SESSION)
    made_up = ("A" * len(secret), secret[:43], "A" * 43 + secret[43:], changed(secret), home)
    with reads(rig) as asked:
        for one in made_up:
            assert await status(rig, f"{name}={one}") == 303
            assert await status(rig, f"mcpgw-home={one}", "/live", f"{ALICE_HOME}.localhost:{rig.port}") == (
                401
            )
        many = "; ".join(f"{name}={'A' * 40}{number:03}{secret[43:]}" for number in range(COOKIES_TRIED_MAX))
        assert await status(rig, many) == 303
        assert asked == [TicketKind.HOME_SESSION] * asked.count(TicketKind.HOME_SESSION)
        assert len(asked) <= len(rig.workers), "one of them was minted here, and was never put on record"
        assert await status(rig, f"{many}; {session}") == 200


@one_worker
async def test_a_session_that_is_over_is_asked_for_once_in_a_while(town: Town) -> None:
    rig = town.rig
    session = await rig.session(USER)
    sessions = rig.worker._desk.sessions
    visitor = await sessions.visitor(read_head([(b"cookie", session.encode())]))
    assert visitor is not None
    await rig.tickets.revoke(TicketKind.SESSION, visitor.key)
    rig.forget_sessions()
    with reads(rig) as asked:
        for _ in range(20):
            assert await status(rig, session) == 303
        assert 1 <= len(asked) <= 3, "one look each two seconds"
    assert not sessions._known
    assert len(sessions._over) == 1


@one_worker
async def test_who_was_here_longest_ago_is_forgotten_first(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.sessions.KNOWN_MAX", 2)
    monkeypatch.setattr("gateway.auth.sessions.TRUSTED_S", 3600.0)
    rig = town.rig
    first, second, third = [await rig.session(USER) for _ in range(3)]
    for cookie in (first, second, third):
        assert await status(rig, cookie) == 200
    with reads(rig) as asked:
        for cookie in (second, third):
            assert await status(rig, cookie) == 200
        assert asked == []
        assert await status(rig, first) == 200
        assert len(asked) == 1
        assert await status(rig, third) == 200
        assert len(asked) == 1


@one_worker
async def test_what_is_over_pushes_nobody_out_and_is_bounded(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.sessions.OVER_MAX", 4)
    monkeypatch.setattr("gateway.auth.sessions.TRUSTED_S", 3600.0)
    rig = town.rig
    sessions, session = rig.worker._desk.sessions, await rig.session(USER)
    assert await status(rig, session) == 200
    for _ in range(8):
        assert await status(rig, f"mcpgw={sessions._mint(TicketKind.SESSION)}") == 303
    assert len(sessions._over) == 4
    with reads(rig) as asked:
        assert await status(rig, session) == 200
    assert asked == []
    assert OVER_MAX < KNOWN_MAX


async def test_a_session_is_good_at_every_worker_and_one_of_another_key_at_none(town: Town) -> None:
    session = await town.rig.session(USER)
    for _ in range(8):
        assert await status(town.rig, session) == 200
    foreign = Sessions(town.rig.tickets, lambda _: None, SecretKey(b"o" * 32), is_https=False)
    assert await status(town.rig, (await foreign.open(USER)).partition(";")[0]) == 303
