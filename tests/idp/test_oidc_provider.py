"""The OpenID provider of the tests: a whole code flow, with nothing but HTTP."""

from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.clients.robot import Person
from tests.idp.rig import Idp, oidc_provider
from tests.idp.walk import Callback, Proof, authorized, form_of

SCOPE = "openid email profile"


async def discovered(http: httpx2.AsyncClient, idp: Idp) -> dict[str, Any]:
    found = (await http.get(f"{idp.issuer}/.well-known/openid-configuration")).json()
    assert found["issuer"] == idp.issuer
    return dict(found)


async def signed_in(idp: Idp, callback: Callback, login: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The claims of the id_token, and of userinfo."""
    proof = Proof()
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        Person("answer=sign-in", fills={"login": login}) as person,
    ):
        found = await discovered(http, idp)
        asked = {"client_id": idp.client_id, "scope": SCOPE, "nonce": "the-nonce", **proof.challenge}
        told = await authorized(found["authorization_endpoint"], callback, person, **asked)
        assert told["iss"] == idp.issuer
        form = form_of(callback, told["code"], code_verifier=proof.verifier)
        answer = await http.post(found["token_endpoint"], data=form, auth=(idp.client_id, idp.client_secret))
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        keys = KeySet.import_key_set((await http.get(found["jwks_uri"])).json())
        claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
        assert (claims["iss"], claims["aud"], claims["nonce"]) == (idp.issuer, idp.client_id, "the-nonce")
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return claims, (await http.get(found["userinfo_endpoint"], headers=headers)).json()


@pytest.mark.parametrize(
    ("login", "sub", "email", "is_verified"),
    [
        ("alice", "1001", "alice@example.com", True),
        ("carol", "1003", "carol@example.com", False),
        ("mallory", "1666", "alice@example.com", False),
        ("guest-7", "sub-of-guest-7", "guest-7@example.com", True),
        ("nomail", "1005", None, None),
    ],
    ids=["verified", "unverified", "claiming another's", "not listed", "without an address"],
)
async def test_a_code_flow_gives_the_claims_of_the_account(
    callback: Callback, login: str, sub: str, email: str | None, is_verified: bool | None
) -> None:
    async with oidc_provider(callback.url) as idp:
        claims, userinfo = await signed_in(idp, callback, login)
    assert claims["sub"] == userinfo["sub"] == sub
    assert "email" not in claims
    assert (userinfo.get("email"), userinfo.get("email_verified")) == (email, is_verified)


async def test_the_id_token_has_the_address_where_a_test_wants_that(callback: Callback) -> None:
    async with oidc_provider(callback.url, email_in="id_token") as idp:
        claims, _ = await signed_in(idp, callback, "alice")
    assert (claims["email"], claims["email_verified"]) == ("alice@example.com", True)


async def test_a_person_may_refuse(callback: Callback) -> None:
    async with oidc_provider(callback.url) as idp, Person("answer=refuse") as person:
        asked = {"client_id": idp.client_id, "scope": SCOPE, **Proof().challenge}
        told = await authorized(f"{idp.issuer}/auth", callback, person, **asked)
    assert (told["error"], told["iss"]) == ("access_denied", idp.issuer)


async def test_a_code_is_refused_without_its_verifier_and_the_second_time(callback: Callback) -> None:
    proof = Proof()
    async with (
        oidc_provider(callback.url) as idp,
        httpx2.AsyncClient(trust_env=False, auth=(idp.client_id, idp.client_secret)) as http,
        Person("answer=sign-in", fills={"login": "alice"}) as person,
    ):
        asked = {"client_id": idp.client_id, "scope": SCOPE, **proof.challenge}
        told = await authorized(f"{idp.issuer}/auth", callback, person, **asked)
        form = form_of(callback, told["code"])
        wrong = await http.post(f"{idp.issuer}/token", data={**form, "code_verifier": Proof().verifier})
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
        told = await authorized(f"{idp.issuer}/auth", callback, person, **asked)  # signed in: nobody is asked
        form = form_of(callback, told["code"], code_verifier=proof.verifier)
        statuses = [(await http.post(f"{idp.issuer}/token", data=form)).status_code for _ in range(2)]
        assert statuses == [200, 400]


async def test_it_asks_for_pkce_and_knows_its_redirect_uri(callback: Callback) -> None:
    async with oidc_provider(callback.url) as idp, httpx2.AsyncClient(trust_env=False) as http:
        asked = {"client_id": idp.client_id, "response_type": "code", "scope": SCOPE}
        plain = await http.get(f"{idp.issuer}/auth", params={**asked, "redirect_uri": callback.url})
        assert "error=invalid_request" in plain.headers["location"]
        foreign = await http.get(
            f"{idp.issuer}/auth",
            params={**asked, **Proof().challenge, "redirect_uri": "http://127.0.0.1:9/x"},
        )
        assert foreign.status_code == 400
