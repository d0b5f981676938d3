"""What a token is good for: its own resource, its own user, for as long as nothing was withdrawn."""

import base64
import json
import re
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from state.kinds.access_policy import Role, Rule
from state.kinds.account import Decision
from state.kinds.template import ContainerTemplate, Route
from state.kinds.user_container import UserContainer
from state.store.port import Tx
from tests.gateway.rig import MCP_ACCEPT, container
from tests.gateway.sign_in.browser import Browser
from tests.gateway.sign_in.conftest import ANN_USER, BOB_USER, Place
from tests.gateway.sign_in.test_consent import call, connected, program


def part(members: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert isinstance(read, dict)
    return read


def signed(place: Place, token: str, **differs: Any) -> str:
    """A token with our own key and other claims, as only somebody inside could make it."""
    key = place.rig.workers[0]._desk.oauth._keys.signer()
    assert key is not None
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    header |= differs.pop("header", {})
    return jwt.encode(header, {**claims_of(token), **differs}, key.private)


async def refused(place: Place, token: str, path: str = "/mcp") -> str:
    """The challenge of a 401."""
    status, _, headers = await call(place, token, path)
    assert status == 401
    challenge = headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert 'error="invalid_token"' in challenge
    return challenge


async def test_a_good_token_says_what_rfc_9068_asks_for(place: Place) -> None:
    _, tokens = await connected(place)
    claims = claims_of(tokens["access_token"])
    assert claims["iss"] == place.rig.origin
    assert claims["sub"] == ANN_USER
    assert claims["aud"] == f"{place.rig.origin}/mcp"
    assert 3500 < claims["exp"] - claims["iat"] <= 3600
    assert claims["client_id"]
    assert claims["jti"]


async def test_the_challenge_leads_to_metadata_that_leads_to_the_issuer(place: Place) -> None:
    async with place.rig.request("POST", "/mcp", data=b"{}", headers={"Accept": MCP_ACCEPT}) as answer:
        challenge = answer.headers["WWW-Authenticate"]
        assert answer.status == 401
    assert "error" not in challenge
    found = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert found is not None
    assert found[1] == f"{place.rig.origin}/.well-known/oauth-protected-resource/mcp"
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
        async with place.rig.request("GET", path) as answer:
            metadata = await answer.json()
        assert metadata["resource"] == f"{place.rig.origin}/mcp"
        assert metadata["authorization_servers"] == [place.rig.origin]
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        async with place.rig.request("GET", path) as answer:
            assert (await answer.json())["issuer"] == place.rig.origin


@pytest.mark.negative(45)
@pytest.mark.parametrize("garbage", ["x", "a.b.c", "mcpgw_pat_", "mcpgw_app_x", "e30.e30.e30", "..", "=" * 3])
async def test_garbage_is_401(place: Place, garbage: str) -> None:
    status, _, headers = await call(place, garbage)
    assert status == 401
    assert "resource_metadata=" in headers["WWW-Authenticate"]


@pytest.mark.negative(46)
async def test_an_unsigned_token_is_401(place: Place) -> None:
    _, tokens = await connected(place)
    for alg in ("none", "None", "HS256"):
        head = part({"alg": alg, "typ": "at+jwt", "kid": jwt_head(tokens["access_token"])["kid"]})
        body = tokens["access_token"].split(".")[1]
        await refused(place, f"{head}.{body}.{'' if alg != 'HS256' else 'c2ln'}")


def jwt_head(token: str) -> dict[str, Any]:
    head = token.split(".", maxsplit=1)[0]
    read = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert isinstance(read, dict)
    return read


@pytest.mark.negative(47)
async def test_a_changed_subject_is_401(place: Place) -> None:
    _, tokens = await connected(place)
    head, _, signature = tokens["access_token"].split(".")
    body = part({**claims_of(tokens["access_token"]), "sub": BOB_USER})
    await refused(place, f"{head}.{body}.{signature}")


@pytest.mark.negative(47)
async def test_a_subject_that_is_not_the_grants_is_401_though_we_signed_it(place: Place) -> None:
    await Browser(place.rig).sign_in("oidc")
    _, tokens = await connected(place)
    await refused(place, signed(place, tokens["access_token"], sub="oidc:subject-1"))


@pytest.mark.negative(48)
async def test_another_audience_is_401_with_the_right_key(place: Place) -> None:
    _, tokens = await connected(place)
    for audience in ("https://evil.example/mcp", place.rig.origin, [f"{place.rig.origin}/mcp"], ""):
        await refused(place, signed(place, tokens["access_token"], aud=audience))


@pytest.mark.negative(48)
async def test_a_token_for_one_server_is_refused_at_its_neighbour(place: Place) -> None:
    _, tokens = await connected(place)
    for path in ("/mcp-media", "/mcp-media/mcp", f"/u/{ANN_USER}/mcp", "/-/api/v1/containers"):
        method = "GET" if "api" in path else "POST"
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with place.rig.request(method, path, headers=headers) as answer:
            assert answer.status == 401, path
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert not place.ann.requests


@pytest.mark.negative(49)
async def test_another_issuer_is_401_with_the_right_key(place: Place) -> None:
    _, tokens = await connected(place)
    for issuer in ("https://evil.example", place.rig.origin + "/", ""):
        await refused(place, signed(place, tokens["access_token"], iss=issuer))


@pytest.mark.negative(50)
async def test_an_id_token_is_401(place: Place) -> None:
    _, tokens = await connected(place)
    await refused(place, signed(place, tokens["access_token"], header={"typ": "JWT"}))


@pytest.mark.negative(51)
async def test_an_upstream_token_is_401(place: Place) -> None:
    await connected(place)
    upstream = next(iter(place.github._tokens), None)
    assert upstream is not None, "the stand-in issued one"
    await refused(place, upstream)
    stranger = RSAKey.generate_key(2048, {"kid": "google"})
    now = int(time.time())
    theirs = {"iss": "https://accounts.google.com", "sub": "1", "aud": "gateway", "exp": now + 60, "iat": now}
    await refused(place, jwt.encode({"alg": "RS256", "kid": "google", "typ": "JWT"}, theirs, stranger))


async def test_a_token_that_is_over_is_401(place: Place) -> None:
    _, tokens = await connected(place)
    await refused(place, signed(place, tokens["access_token"], exp=int(time.time()) - 1))


@pytest.mark.negative(66)
async def test_who_is_banned_is_401_at_the_next_request_on_every_worker(place: Place) -> None:
    _, tokens = await connected(place)
    for _ in range(8):
        assert (await call(place, tokens["access_token"]))[0] == 200
    await place.rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.BANNED, "test")
    for _ in range(8):
        await refused(place, tokens["access_token"])
    asked = len(place.ann.requests)
    assert asked == 8, "nothing reached the container"


@pytest.mark.negative(66)
async def test_who_is_banned_cannot_refresh_nor_sign_in(place: Place) -> None:
    asking, tokens = await connected(place)
    await place.rig.workers[0]._desk.accounts.decide(ANN_USER, Decision.BANNED, "test")
    status, told = await asking.refresh(tokens["refresh_token"])
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await Browser(place.rig).sign_in("github")).status == 403


async def test_a_policy_that_no_longer_lets_somebody_in_acts_at_once(place: Place) -> None:
    _, tokens = await connected(place)
    assert (await call(place, tokens["access_token"]))[0] == 200
    await place.rig.add_policy(Rule(users=(ANN_USER,), allow=False), name="a-first")
    await refused(place, tokens["access_token"])


async def test_a_replayed_code_ends_what_it_gave_on_every_worker(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    answer = await browser.submit(await browser.visit(asking.url()), "/authorize", provider="github")
    status, tokens = await asking.redeem(answer)
    assert status == 200
    for _ in range(6):
        assert (await call(place, tokens["access_token"]))[0] == 200
    status, told = await asking.redeem(answer)
    assert (status, told["error"]) == (400, "invalid_grant")
    for _ in range(6):
        await refused(place, tokens["access_token"])


@pytest.mark.negative(41)
async def test_a_refresh_token_used_after_its_successor_ends_the_family_and_the_access_token(
    place: Place,
) -> None:
    asking, first = await connected(place)
    _, second = await asking.refresh(first["refresh_token"])
    _, third = await asking.refresh(second["refresh_token"])
    assert (await call(place, third["access_token"]))[0] == 200
    status, told = await asking.refresh(first["refresh_token"])
    assert (status, told["error"]) == (400, "invalid_grant")
    assert (await asking.refresh(third["refresh_token"]))[1]["error"] == "invalid_grant"
    for _ in range(6):
        await refused(place, third["access_token"])


@pytest.mark.negative(42)
async def test_whose_answer_was_lost_refreshes_again(place: Place) -> None:
    asking, first = await connected(place)
    status, _lost = await asking.refresh(first["refresh_token"])
    assert status == 200
    status, second = await asking.refresh(first["refresh_token"])
    assert status == 200
    assert (await call(place, second["access_token"]))[0] == 200


async def test_revoking_ends_the_access_token_on_every_worker(place: Place) -> None:
    asking, tokens = await connected(place)
    for _ in range(6):
        assert (await call(place, tokens["access_token"]))[0] == 200
    fields = {"token": tokens["refresh_token"], "client_id": asking.client_id}
    assert (await asking.post("/revoke", fields))[0] == 200
    for _ in range(6):
        await refused(place, tokens["access_token"])


@pytest.mark.negative(61)
@pytest.mark.negative(62)
async def test_the_container_sees_neither_the_token_nor_a_cookie_of_ours(place: Place) -> None:
    _, tokens = await connected(place)
    _, seen, _ = await call(place, tokens["access_token"], Cookie="mcpgw=secret; theirs=1")
    headers = dict(seen["headers"])
    assert "authorization" not in headers
    assert "secret" not in str(headers)


async def test_an_admin_reaches_a_named_users_container_and_others_do_not(place: Place) -> None:
    rig = place.rig
    async with container("bob") as bobs:
        await rig.add_user("bob", BOB_USER)
        await rig.route("bob", bobs)
        await rig.applied()
        _, tokens = await connected_for(place, f"/u/{BOB_USER}/mcp")
        status, told, _ = await call(place, tokens["access_token"], f"/u/{BOB_USER}/mcp")
        assert (status, told["reason"]) == (404, "NotFound")
        await rig.add_policy(Rule(users=(ANN_USER,), role=Role.ADMIN), name="a-first")
        status, seen, _ = await call(place, tokens["access_token"], f"/u/{BOB_USER}/mcp")
        assert (status, seen["container"]) == (200, "bob")
        status, _, _ = await call(place, tokens["access_token"], "/u/github:999/mcp")
        assert status == 401, "another resource"
        _, tokens = await connected_for(place, "/u/github:999/mcp")
        assert (await call(place, tokens["access_token"], "/u/github:999/mcp"))[0] == 404
        assert len(await rig.read(lambda tx: tx.list(UserContainer))) == 2, "nobody was created by a name"


async def connected_for(place: Place, path: str) -> tuple[Any, dict[str, Any]]:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url(resource=place.rig.origin + path))
    answer = await browser.submit(page, "/authorize", provider="github")
    status, tokens = await asking.redeem(answer)
    assert status == 200, tokens
    return asking, tokens


@pytest.mark.negative(68)
async def test_a_user_whose_name_is_part_of_anothers_reaches_their_own_only(place: Place) -> None:
    """`github:77` is not `github:7`, by token and by path."""
    rig = place.rig
    async with container("other") as other:
        await rig.add_user("other", "github:7")
        await rig.route("other", other)
        await rig.applied()
        place.github.visitor = "bob"
        await rig.add_user("bobs", BOB_USER)
        async with container("bob") as bobs:
            await rig.route("bobs", bobs)
            await rig.applied()
            _, tokens = await connected(place)
            assert (await call(place, tokens["access_token"]))[1]["container"] == "bob"
            _, tokens = await connected_for(place, "/u/github:7/mcp")
            assert (await call(place, tokens["access_token"], "/u/github:7/mcp"))[0] == 404
        assert not other.requests


async def test_an_unauthorized_request_creates_nothing_and_wakes_nobody(place: Place) -> None:
    before = await place.rig.store.revision()
    for token in ("x", "mcpgw_pat_x", "a.b.c"):
        await call(place, token)
    assert await place.rig.store.revision() == before
    assert not place.ann.requests


async def test_a_token_with_the_wrong_scope_is_403_and_is_told_which(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url(scope="api"))
    answer = await browser.submit(page, "/authorize", provider="github")
    _, tokens = await asking.redeem(answer)
    assert tokens["scope"] == "api"
    status, told, headers = await call(place, tokens["access_token"])
    assert (status, told["reason"]) == (403, "InsufficientScope")
    challenge = headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="mcp"' in challenge
    assert "resource_metadata=" in challenge


async def test_the_api_takes_a_token_for_itself_alone(place: Place) -> None:
    asking = await program(place.rig)
    browser = Browser(place.rig)
    api = f"{place.rig.origin}/-/api/v1"
    page = await browser.visit(asking.url(resource=api))
    answer = await browser.submit(page, "/authorize", provider="github")
    _, tokens = await asking.redeem(answer)
    assert tokens["scope"] == "api"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with place.rig.request("GET", "/-/api/v1/containers", headers=headers) as answered:
        [item] = (await answered.json())["items"]
    assert item["name"] == "ann"
    await refused(place, tokens["access_token"])


async def test_a_path_that_no_template_speaks_mcp_at_is_404_for_everybody(place: Place) -> None:
    def silence(tx: Tx) -> None:
        template = tx.get(ContainerTemplate, "demo")
        assert template is not None
        spec = template.spec.model_copy(update={"routes": (Route(path="/live"),)})
        tx.update_spec(template.replaced(spec=spec))

    _, tokens = await connected(place)
    await place.rig.write(silence)
    await place.rig.applied()
    assert (await call(place, tokens["access_token"]))[0] == 404


@pytest.mark.negative(67)
async def test_a_good_session_is_nobody_where_mcp_is_spoken(place: Place) -> None:
    browser = Browser(place.rig)
    await browser.sign_in("github")
    cookie = f"mcpgw={browser.cookies[f'localhost:{place.rig.port}']['mcpgw']}"
    async with place.rig.request("POST", "/mcp", headers={"Cookie": cookie}, data=b"{}") as answer:
        assert answer.status == 401
    assert not place.ann.requests


async def test_a_persons_token_speaks_for_nobody_else_whatever_it_claims(place: Place) -> None:
    _, tokens = await connected(place)
    _, seen, _ = await call(place, tokens["access_token"], **{"X-App-User": "bob", "X-Forwarded-User": "bob"})
    assert seen["container"] == "ann"
    assert "bob" not in str(seen["headers"])
