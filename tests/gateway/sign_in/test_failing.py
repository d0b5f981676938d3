"""Credentials that are no good cost little however many come; what is remembered of good ones is bounded."""

from collections.abc import Callable, Coroutine
from typing import Any
from unittest.mock import AsyncMock

import pytest

from state.kinds.access_policy import Rule
from tests.gateway.sign_in.conftest import Place
from tests.gateway.sign_in.test_consent import call, connected

UNKNOWN_PERSONAL = "mcpgw_pat_" + "x" * 43
FAILURES_MAX = 300  # more than a burst
pytestmark = pytest.mark.usefixtures("no_time_passes")
one_worker = pytest.mark.parametrize("place", [1], indirect=True)


async def _failed(place: Place, tokens: Callable[[int], str], path: str = "/mcp") -> dict[str, str]:
    """The headers of the first 429, after many a 401."""
    for number in range(FAILURES_MAX):
        status, _, headers = await call(place, tokens(number), path)
        if status == 429:
            assert number >= 100
            return headers
        assert status == 401
    raise AssertionError("nobody is told to wait")


@one_worker
@pytest.mark.parametrize("junk", [UNKNOWN_PERSONAL, "a.b.c"])
async def test_a_flood_of_junk_is_told_to_wait_and_the_known_are_not(place: Place, junk: str) -> None:
    _, tokens = await connected(place)
    good = tokens["access_token"]
    assert (await call(place, good))[0] == 200
    headers = await _failed(place, lambda number: f"{junk}{number}")
    assert int(headers["Retry-After"]) >= 1
    for number in range(5):  # also where it has to be found out again
        await place.rig.add_policy(Rule(provider="oidc"), name=f"more-{number}")
        assert (await call(place, good))[0] == 200


@one_worker
async def test_a_token_that_was_withdrawn_is_junk_like_any_other(place: Place) -> None:
    asking, tokens = await connected(place)
    token = tokens["access_token"]
    assert (await call(place, token))[0] == 200
    status, _ = await asking.post("/revoke", {"token": token, "client_id": asking.client_id})
    assert status == 200
    await _failed(place, lambda _: token)
    assert len(place.rig.worker._desk.callers._tokens) == 0


@one_worker
async def test_whoever_has_to_wait_does_not_read_the_database(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _failed(place, lambda number: f"{UNKNOWN_PERSONAL}{number}")
    read = AsyncMock(side_effect=AssertionError("auth.db was asked"))
    monkeypatch.setattr(place.rig.worker._desk.callers, "_person", read)
    statuses = {(await call(place, UNKNOWN_PERSONAL))[0] for _ in range(3)}
    assert statuses == {429}
    read.assert_not_called()


@one_worker
async def test_the_gateways_api_counts_what_fails_too(place: Place) -> None:
    await _failed(place, lambda number: f"{UNKNOWN_PERSONAL}{number}", "/-/api/v1/containers/x/restart")


@one_worker
async def test_who_sends_no_credentials_is_not_counted(place: Place) -> None:
    for _ in range(FAILURES_MAX // 2):
        async with place.rig.request("POST", "/mcp", data=b"{}") as answer:
            assert answer.status == 401


@one_worker
async def test_a_token_is_remembered_once_however_it_is_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokens = await connected(place)
    token = tokens["access_token"]
    callers = place.rig.worker._desk.callers
    asked: list[str] = []
    find = callers._person

    def counting(token: str) -> Coroutine[Any, Any, Any]:
        asked.append(token)
        return find(token)

    monkeypatch.setattr(callers, "_person", counting)
    for number in range(20):
        assert (await call(place, token, **{"X-App-User": f"user-{number}"}))[0] == 200
    for scheme in ("bearer ", "BEARER ", "Bearer   "):
        assert (await call(place, token, Authorization=scheme + token))[0] == 200
    assert asked == [token]
    assert len(callers._tokens) == 1
