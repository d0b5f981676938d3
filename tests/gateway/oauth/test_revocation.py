"""What a client gives back."""

import pytest

from tests.gateway.oauth.rig import Rig, basic, error_of, members


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "unheard-of"])
async def test_either_token_ends_the_whole_grant(rig: Rig, kind: str, hint: str) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    answer = await rig.revoke(client_id=client_id, token=tokens[kind], token_type_hint=hint)
    assert answer.status == 200
    assert rig.house.announced_count == 1
    assert not await rig.lives(tokens["access_token"])
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"


async def test_an_access_token_that_is_over_still_says_what_it_came_of(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    rig.clock.now += 7200
    assert (await rig.revoke(client_id=client_id, token=tokens["access_token"])).status == 200
    assert not await rig.lives(tokens["access_token"])


@pytest.mark.negative(44)
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_another_clients_token_is_not_revoked(rig: Rig, kind: str) -> None:
    client_id, other = await rig.client(), await rig.client()
    tokens = await rig.tokens(client_id)
    assert error_of(await rig.revoke(client_id=other, token=tokens[kind])) == "invalid_grant"
    assert await rig.lives(tokens["access_token"])
    assert rig.house.announced_count == 0
    assert (await rig.refresh(client_id, tokens["refresh_token"])).status == 200


@pytest.mark.parametrize("token", ["unknown", "a.b.c", "mcpgw_pat_x", "ü"])
async def test_an_unknown_token_is_as_good_as_revoked(rig: Rig, token: str) -> None:
    answer = await rig.revoke(client_id=await rig.client(), token=token)
    assert (answer.status, members(answer)) == (200, {})
    assert rig.house.announced_count == 0


async def test_who_asks_again_has_it_announced_again(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    for _ in range(2):
        answer = await rig.revoke(client_id=client_id, token=tokens["refresh_token"])
        assert answer.status == 200
    assert rig.house.announced_count == 2


async def test_a_client_proves_who_it_is(rig: Rig) -> None:
    found = await rig.register(token_endpoint_auth_method="client_secret_basic")
    assert error_of(await rig.revoke(client_id=found["client_id"], token="x")) == "invalid_client"
    assert error_of(await rig.revoke(token="x")) == "invalid_client"
    authorization = basic(found["client_id"], found["client_secret"])
    assert (await rig.revoke(authorization, token="x")).status == 200


async def test_a_missing_token_is_refused(rig: Rig) -> None:
    assert error_of(await rig.revoke(client_id=await rig.client())) == "invalid_request"
