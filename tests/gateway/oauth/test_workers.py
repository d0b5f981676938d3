"""Several workers on one file, restarts, and what a sweep forgets."""

import asyncio
from pathlib import Path

import pytest

from gateway.auth.oauth.keys import TOKEN_S
from gateway.auth.oauth.tokens import InvalidToken
from tests.gateway.oauth.rig import ALICE, Clock, House, Rig, error_of, members, serving

DAY_S = 86400.0


async def test_what_one_worker_began_another_ends(rig: Rig) -> None:
    async with serving(rig.path, rig.clock, rig.house) as other:
        client_id = await rig.client()
        code = await other.consent(client_id)
        tokens = members(await rig.redeem(client_id, code))
        assert other.server.verify(tokens["access_token"]).user == ALICE
        again = members(await other.refresh(client_id, tokens["refresh_token"]))
        assert rig.server.verify(again["access_token"]).user == ALICE
        assert (await rig.revoke(client_id=client_id, token=again["access_token"])).status == 200
        assert error_of(await other.refresh(client_id, again["refresh_token"])) == "invalid_grant"


@pytest.mark.negative(35)
async def test_of_two_redemptions_at_once_at_two_workers_exactly_one_succeeds(rig: Rig) -> None:
    async with serving(rig.path, rig.clock, rig.house) as other:
        client_id = await rig.client()
        code = await rig.consent(client_id)
        answers = await asyncio.gather(
            *(worker.redeem(client_id, code) for worker in (rig, other) for _ in range(3))
        )
        assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400, 400]


@pytest.mark.negative(34)
async def test_a_replay_at_another_worker_revokes_too(rig: Rig) -> None:
    async with serving(rig.path, rig.clock, rig.house) as other:
        client_id = await rig.client()
        code = await rig.consent(client_id)
        tokens = members(await rig.redeem(client_id, code))
        assert error_of(await other.redeem(client_id, code)) == "invalid_grant"
        assert not await rig.lives(tokens["access_token"])
        assert rig.house.announced_count == 1


@pytest.mark.negative(41)
async def test_reuse_at_another_worker_ends_the_family(rig: Rig) -> None:
    async with serving(rig.path, rig.clock, rig.house) as other:
        client_id = await rig.client()
        first = await rig.tokens(client_id)
        second = members(await other.refresh(client_id, first["refresh_token"]))
        assert (await rig.refresh(client_id, second["refresh_token"])).status == 200
        assert error_of(await other.refresh(client_id, first["refresh_token"])) == "invalid_grant"
        assert not await rig.lives(second["access_token"])


@pytest.mark.parametrize("ahead_s", [-120.0, 120.0], ids=["behind", "ahead"])
async def test_a_worker_whose_clock_differs_believes_a_token_until_its_own_clock_says_that_it_is_over(
    rig: Rig, ahead_s: float
) -> None:
    other_clock = Clock(rig.clock.now + ahead_s)
    async with serving(rig.path, other_clock, rig.house) as other:
        token = (await rig.tokens(await rig.client()))["access_token"]
        assert (await other.server.verified(token)).user == ALICE
        other_clock.now = rig.clock.now + TOKEN_S - 1
        assert (await other.server.verified(token)).user == ALICE
        other_clock.now += 1
        with pytest.raises(InvalidToken):
            await other.server.verified(token)


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    path, clock, house = tmp_path / "auth.db", Clock(), House()
    async with serving(path, clock, house) as rig:
        client_id = await rig.client()
        tokens = await rig.tokens(client_id)
    async with serving(path, clock, house) as rig:
        assert rig.server.verify(tokens["access_token"]).user == ALICE
        code = await rig.consent(client_id)
        second = members(await rig.refresh(client_id, tokens["refresh_token"]))
    async with serving(path, clock, house) as rig:
        assert (await rig.redeem(client_id, code)).status == 200
        assert (await rig.refresh(client_id, second["refresh_token"])).status == 200
        assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"


async def test_an_announcement_comes_after_the_commit_and_before_the_answer(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    seen: list[bool] = []

    async def announce() -> None:
        seen.append(await rig.lives(tokens["access_token"]))

    rig.house.announce = announce  # type: ignore[method-assign]
    async with serving(rig.path, rig.clock, rig.house) as other:
        await other.revoke(client_id=client_id, token=tokens["refresh_token"])
    assert seen == [False]


async def test_clients_that_nobody_used_are_dropped_after_a_day(rig: Rig) -> None:
    unused, used = await rig.client(), await rig.client()
    tokens = await rig.tokens(used)
    rig.clock.now += DAY_S - 1
    assert (await rig.server.sweep()).clients == 0
    rig.clock.now += 2
    assert (await rig.server.sweep()).clients == 1
    assert error_of(await rig.redeem(unused, "x")) == "invalid_client"
    assert (await rig.refresh(used, tokens["refresh_token"])).status == 200


async def test_clients_whose_grants_are_over_are_dropped_after_a_season(rig: Rig) -> None:
    client_id = await rig.client()
    await rig.tokens(client_id)
    rig.clock.now += 89 * DAY_S
    await rig.server.sweep()
    assert await rig.auth.read(lambda tx: tx.clients.count()) == 1
    rig.clock.now += 2 * DAY_S
    await rig.server.sweep()
    assert await rig.auth.read(lambda tx: tx.clients.count()) == 0


async def test_what_is_over_is_forgotten_a_day_later(rig: Rig) -> None:
    client_id = await rig.client()
    await rig.consent(client_id)
    await rig.tokens(client_id)
    rig.clock.now += DAY_S
    assert (await rig.server.sweep())[:3] == (0, 0, 0)
    rig.clock.now += 61
    swept = await rig.server.sweep()
    assert (swept.codes, swept.refresh_tokens, swept.grants) == (2, 0, 1)
    rig.clock.now += 30 * DAY_S
    swept = await rig.server.sweep()
    assert (swept.refresh_tokens, swept.grants) == (1, 1)


async def test_a_grant_that_was_revoked_is_kept_until_everybody_heard(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    await rig.revoke(client_id=client_id, token=tokens["refresh_token"])
    rig.clock.now += 2 * DAY_S
    assert (await rig.server.sweep()).grants == 0
    unannounced = await rig.auth.read(lambda tx: tx.grants.unannounced(9))
    await rig.auth.transact(lambda tx: tx.grants.set_announced([grant_id for grant_id, _ in unannounced]))
    assert (await rig.server.sweep()).grants == 1
