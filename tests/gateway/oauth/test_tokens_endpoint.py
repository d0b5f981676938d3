"""Codes and refresh tokens: what is redeemed once, what is good again, and what its reuse costs."""

import asyncio
from typing import Any

import pytest

from gateway.auth.oauth.answers import Answer
from tests.gateway.oauth.rig import (
    ALICE,
    CALLBACK,
    ISSUER,
    MCP,
    MEDIA,
    VERIFIER,
    Rig,
    basic,
    bytes_of,
    error_of,
    header,
    members,
)

DAY_S = 86400.0


async def refreshed(rig: Rig, client_id: str, token: str, **parameters: str) -> dict[str, Any]:
    answer = await rig.refresh(client_id, token, **parameters)
    assert answer.status == 200, answer.body
    return members(answer)


async def test_a_code_gives_tokens_for_what_was_allowed(rig: Rig) -> None:
    client_id = await rig.client()
    answer = await rig.redeem(client_id, await rig.consent(client_id, scope="mcp api", resource=ISSUER))
    assert answer.status == 200
    assert header(answer, b"cache-control") == b"no-store"
    assert header(answer, b"content-type") == b"application/json"
    found = members(answer)
    assert found.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (found["token_type"], found["expires_in"], found["scope"]) == ("Bearer", 3600, "mcp api")
    said = rig.server.verify(found["access_token"])
    assert (said.user, said.client_id, said.scope, said.resource) == (ALICE, client_id, "mcp api", MCP)
    assert said.expires_at == rig.clock.now + 3600


async def test_no_secret_stands_in_the_file(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    tokens = members(await rig.redeem(client_id, code))
    again = await refreshed(rig, client_id, tokens["refresh_token"])
    written = bytes_of(rig.path)
    assert client_id.encode() in written
    for secret in (code, tokens["refresh_token"], tokens["access_token"], again["refresh_token"]):
        assert secret.encode() not in written
    assert b"PRIVATE" not in written and b'"d":' not in written


@pytest.mark.negative(34)
async def test_a_replayed_code_is_refused_and_what_it_gave_is_revoked(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    tokens = members(await rig.redeem(client_id, code))
    assert rig.house.announced_count == 0
    assert error_of(await rig.redeem(client_id, code)) == "invalid_grant"
    assert rig.house.announced_count == 1
    assert not await rig.lives(tokens["access_token"])
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"
    assert await rig.auth.read(lambda tx: tx.grants.unannounced(9))


async def test_a_replay_is_known_for_one_after_the_code_is_over(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    tokens = members(await rig.redeem(client_id, code))
    rig.clock.now += 3000
    await rig.server.sweep()
    assert error_of(await rig.redeem(client_id, code)) == "invalid_grant"
    assert not await rig.lives(tokens["access_token"])


async def test_who_does_not_hold_the_verifier_revokes_nothing_by_a_replay(rig: Rig) -> None:
    client_id, other = await rig.client(), await rig.client()
    code = await rig.consent(client_id)
    tokens = members(await rig.redeem(client_id, code))
    assert error_of(await rig.redeem(client_id, code, code_verifier="w" * 64)) == "invalid_grant"
    assert error_of(await rig.redeem(other, code)) == "invalid_grant"
    assert await rig.lives(tokens["access_token"])


@pytest.mark.negative(35)
async def test_of_two_redemptions_at_once_exactly_one_succeeds(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    answers = await asyncio.gather(*(rig.redeem(client_id, code) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400]


@pytest.mark.negative(36)
@pytest.mark.parametrize("verifier", ["w" * 64, "x", '"' * 50])
async def test_a_wrong_verifier_is_refused(rig: Rig, verifier: str) -> None:
    client_id = await rig.client()
    answer = await rig.redeem(client_id, await rig.consent(client_id), code_verifier=verifier)
    assert error_of(answer) in ("invalid_grant", "invalid_request")


async def test_a_missing_verifier_is_refused(rig: Rig) -> None:
    registered = await rig.register(token_endpoint_auth_method="client_secret_post")
    client_id = registered["client_id"]
    answer = await rig.redeem(
        client_id,
        await rig.consent(client_id),
        code_verifier="",
        client_secret=registered["client_secret"],
    )
    assert error_of(answer) == "invalid_request"


@pytest.mark.negative(37)
@pytest.mark.parametrize("uri", ["http://localhost:1/callback", "https://evil.example/", '"'])
async def test_a_wrong_redirect_is_refused(rig: Rig, uri: str) -> None:
    client_id = await rig.client()
    answer = await rig.redeem(client_id, await rig.consent(client_id), redirect_uri=uri)
    assert error_of(answer) == "invalid_grant"


async def test_the_redirect_may_be_left_out_as_pkce_binds_the_code(rig: Rig) -> None:
    client_id = await rig.client()
    assert (await rig.redeem(client_id, await rig.consent(client_id), redirect_uri="")).status == 200


@pytest.mark.negative(38)
async def test_another_clients_code_is_refused(rig: Rig) -> None:
    client_id, other = await rig.client(), await rig.client()
    code = await rig.consent(client_id)
    assert error_of(await rig.redeem(other, code)) == "invalid_grant"
    assert (await rig.redeem(client_id, code)).status == 200


async def test_a_code_is_over_after_a_minute(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    rig.clock.now += 60
    assert error_of(await rig.redeem(client_id, code)) == "invalid_grant"
    assert await rig.auth.read(lambda tx: tx.grants.of_user(ALICE, tx.now)) == []


@pytest.mark.negative(39)
async def test_another_clients_refresh_token_is_refused(rig: Rig) -> None:
    client_id, other = await rig.client(), await rig.client()
    tokens = await rig.tokens(client_id)
    assert error_of(await rig.refresh(other, tokens["refresh_token"])) == "invalid_grant"
    assert (await rig.refresh(client_id, tokens["refresh_token"])).status == 200


@pytest.mark.negative(40)
@pytest.mark.parametrize("scope", ["mcp api", "api", "unheard-of", "mcp unheard-of"])
async def test_a_wider_scope_is_refused(rig: Rig, scope: str) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id, scope="mcp")
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"], scope=scope)) == "invalid_scope"


async def test_a_narrower_scope_is_one_tokens_alone(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id, scope="mcp api")
    narrow = await refreshed(rig, client_id, tokens["refresh_token"], scope="api offline_access")
    assert narrow["scope"] == rig.server.verify(narrow["access_token"]).scope == "api"
    assert (await refreshed(rig, client_id, narrow["refresh_token"]))["scope"] == "mcp api"


@pytest.mark.negative(41)
async def test_reuse_after_the_successor_was_used_ends_the_family(rig: Rig) -> None:
    client_id = await rig.client()
    first = await rig.tokens(client_id)
    second = await refreshed(rig, client_id, first["refresh_token"])
    third = await refreshed(rig, client_id, second["refresh_token"])
    assert rig.house.announced_count == 0
    assert error_of(await rig.refresh(client_id, first["refresh_token"])) == "invalid_grant"
    assert rig.house.announced_count == 1
    assert not await rig.lives(third["access_token"])
    assert error_of(await rig.refresh(client_id, third["refresh_token"])) == "invalid_grant"


@pytest.mark.negative(42)
async def test_a_lost_answer_logs_nobody_out(rig: Rig) -> None:
    client_id = await rig.client()
    first = await rig.tokens(client_id)
    await refreshed(rig, client_id, first["refresh_token"])
    second = await refreshed(rig, client_id, first["refresh_token"])
    third = await refreshed(rig, client_id, second["refresh_token"])
    assert await rig.lives(third["access_token"])


async def test_the_answer_that_was_lost_is_good_no_longer_once_its_sibling_was_used(rig: Rig) -> None:
    client_id = await rig.client()
    first = await rig.tokens(client_id)
    lost = await refreshed(rig, client_id, first["refresh_token"])
    found = await refreshed(rig, client_id, first["refresh_token"])
    await refreshed(rig, client_id, found["refresh_token"])
    assert error_of(await rig.refresh(client_id, lost["refresh_token"])) == "invalid_grant"
    assert not await rig.lives(found["access_token"])


async def test_another_clients_reuse_revokes_nothing(rig: Rig) -> None:
    client_id, other = await rig.client(), await rig.client()
    first = await rig.tokens(client_id)
    second = await refreshed(rig, client_id, first["refresh_token"])
    await refreshed(rig, client_id, second["refresh_token"])
    assert error_of(await rig.refresh(other, first["refresh_token"])) == "invalid_grant"
    assert await rig.lives(second["access_token"])


@pytest.mark.negative(43)
@pytest.mark.parametrize("grant_type", ["client_credentials", "password", 'x"', "implicit"])
async def test_another_grant_type_is_refused(rig: Rig, grant_type: str) -> None:
    answer = await rig.token(grant_type=grant_type, client_id=await rig.client())
    assert error_of(answer) == "unsupported_grant_type"


async def test_a_missing_grant_type_is_refused(rig: Rig) -> None:
    assert error_of(await rig.token(client_id=await rig.client())) == "invalid_request"


@pytest.mark.parametrize("missing", ["code", "refresh_token"])
async def test_what_is_to_be_redeemed_may_not_be_missing(rig: Rig, missing: str) -> None:
    grant_type = "refresh_token" if missing == "refresh_token" else "authorization_code"
    answer = await rig.token(grant_type=grant_type, client_id=await rig.client())
    assert error_of(answer) == "invalid_request"


async def test_a_doubled_parameter_is_refused(rig: Rig) -> None:
    client_id = await rig.client()
    code = await rig.consent(client_id)
    pairs = [("grant_type", "authorization_code"), ("client_id", client_id), ("code", code), ("code", code)]
    assert error_of(await rig.server.token(pairs, {})) == "invalid_request"


async def test_a_refresh_token_lasts_as_long_as_it_is_used(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    for _ in range(6):
        rig.clock.now += 29 * DAY_S
        await rig.server.sweep()
        tokens = await refreshed(rig, client_id, tokens["refresh_token"])
    rig.clock.now += 5 * DAY_S
    assert (await rig.grant_of(tokens["access_token"])).expires_at < rig.clock.now + 2 * DAY_S
    rig.clock.now += DAY_S - 1800
    last = await refreshed(rig, client_id, tokens["refresh_token"])
    assert last["expires_in"] == 1800, "no token outlives its grant"
    rig.clock.now += 1800
    assert error_of(await rig.refresh(client_id, last["refresh_token"])) == "invalid_grant"


async def test_a_refresh_token_that_is_not_used_is_over_after_thirty_days(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    rig.clock.now += 30 * DAY_S
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"


async def test_a_client_that_wants_no_refresh_gets_none(rig: Rig) -> None:
    client_id = await rig.client(grant_types=["authorization_code"])
    tokens = await rig.tokens(client_id)
    assert "refresh_token" not in tokens
    rig.clock.now += 3599
    assert await rig.lives(tokens["access_token"])
    rig.clock.now += 1
    assert not await rig.lives(tokens["access_token"])
    assert error_of(await rig.refresh(client_id, "x")) == "unauthorized_client"


async def test_who_may_not_come_in_is_issued_nothing(rig: Rig) -> None:
    client_id = await rig.client()
    code, tokens = await rig.consent(client_id), await rig.tokens(client_id)
    rig.house.welcome.clear()
    assert error_of(await rig.redeem(client_id, code)) == "invalid_grant"
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"
    rig.house.welcome.add(ALICE)
    assert (await rig.redeem(client_id, code)).status == 200
    assert (await rig.refresh(client_id, tokens["refresh_token"])).status == 200


@pytest.mark.parametrize("resource", [MEDIA, "https://evil.example/", "x"])
async def test_a_token_is_for_the_resource_that_was_allowed(rig: Rig, resource: str) -> None:
    client_id = await rig.client()
    code, tokens = await rig.consent(client_id, resource=MCP), await rig.tokens(client_id, resource=MCP)
    assert error_of(await rig.redeem(client_id, code, resource=resource)) == "invalid_target"
    again = await rig.refresh(client_id, tokens["refresh_token"], resource=resource)
    assert error_of(again) == "invalid_target"
    assert (await rig.redeem(client_id, code, resource=f"{MCP}/")).status == 200
    assert (await rig.refresh(client_id, tokens["refresh_token"], resource=ISSUER)).status == 200


async def test_a_person_who_revoked_a_grant_ended_its_refresh_tokens(rig: Rig) -> None:
    client_id = await rig.client()
    tokens = await rig.tokens(client_id)
    grant = await rig.grant_of(tokens["access_token"])
    await rig.auth.transact(lambda tx: tx.grants.revoke(grant.grant_id, tx.now))
    assert error_of(await rig.refresh(client_id, tokens["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("registered", ["client_secret_post", "client_secret_basic"])
async def test_who_has_a_secret_may_send_it_either_way(rig: Rig, registered: str, method: str) -> None:
    found = await rig.register(token_endpoint_auth_method=registered)
    client_id, secret = found["client_id"], found["client_secret"]
    code = await rig.consent(client_id)
    given = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    if method == "client_secret_post":
        answer = await rig.token(**given, client_id=client_id, client_secret=secret)
    else:
        answer = await rig.token(basic(client_id, secret), **given)
    assert answer.status == 200


async def refused_client(rig: Rig, authorization: str = "", **parameters: str) -> Answer:
    code = await rig.consent(await rig.client())
    answer = await rig.token(authorization, grant_type="authorization_code", code=code, **parameters)
    assert answer.status == 401
    assert error_of(answer) == "invalid_client"
    return answer


async def test_a_client_that_does_not_prove_who_it_is_is_refused(rig: Rig) -> None:
    found = await rig.register(token_endpoint_auth_method="client_secret_post")
    public = await rig.client()
    for parameters in (
        {"client_id": found["client_id"]},
        {"client_id": found["client_id"], "client_secret": "wrong"},
        {"client_id": public, "client_secret": "wrong"},
        {"client_id": "nobody"},
        {"client_id": "x" * 3000},
        {},
    ):
        answer = await refused_client(rig, **parameters)
        assert header(answer, b"www-authenticate") is None


async def test_who_came_by_basic_is_challenged_so(rig: Rig) -> None:
    found = await rig.register(token_endpoint_auth_method="client_secret_basic")
    for authorization in (
        basic(found["client_id"], "wrong"),
        basic("nobody", "x"),
        "Basic",
        "Basic !!!",
        "Basic /w==",
        "basic eA==",
    ):
        answer = await refused_client(rig, authorization)
        assert (header(answer, b"www-authenticate") or b"").startswith(b"Basic ")


async def test_a_client_says_who_it_is_in_one_way(rig: Rig) -> None:
    found = await rig.register(token_endpoint_auth_method="client_secret_basic")
    authorization = basic(found["client_id"], found["client_secret"])
    for more in ({"client_secret": found["client_secret"]}, {"client_id": await rig.client()}):
        answer = await rig.token(authorization, grant_type="refresh_token", refresh_token="x", **more)
        assert error_of(answer) == "invalid_request"


async def test_an_error_is_never_cached_and_says_what_to_do(rig: Rig) -> None:
    answer = await rig.redeem(await rig.client(), "unknown")
    assert header(answer, b"cache-control") == b"no-store"
    assert members(answer).keys() == {"error", "error_description"}


async def test_the_scheme_of_another_endpoint_is_no_credential_here(rig: Rig) -> None:
    client_id = await rig.client()
    answer = await rig.token(
        "Bearer x",
        grant_type="authorization_code",
        client_id=client_id,
        code=await rig.consent(client_id),
        code_verifier=VERIFIER,
        redirect_uri=CALLBACK,
    )
    assert answer.status == 200
