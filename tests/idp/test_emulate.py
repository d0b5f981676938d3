"""The wire shapes of GitHub and Google: a whole code flow at each, with nothing but HTTP."""

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.clients.robot import Person
from tests.idp.rig import emulated
from tests.idp.walk import Callback, Proof, authorized, form_of


async def test_github_gives_a_numeric_id_the_addresses_and_the_organizations(callback: Callback) -> None:
    async with (
        emulated("github", callback.url) as idp,
        httpx2.AsyncClient(trust_env=False, headers={"User-Agent": "the-tests"}) as http,
        Person("login=alice") as person,
    ):
        asked = {"client_id": idp.client_id, "scope": "read:user user:email read:org"}
        told = await authorized(f"{idp.issuer}/login/oauth/authorize", callback, person, **asked)
        form = form_of(callback, told["code"], client_id=idp.client_id, client_secret=idp.client_secret)
        json_please = {"Accept": "application/json"}
        tokens = (
            await http.post(f"{idp.issuer}/login/oauth/access_token", data=form, headers=json_please)
        ).json()
        assert tokens["token_type"] == "bearer"
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        user = (await http.get(f"{idp.issuer}/user")).json()
        assert (user["login"], type(user["id"])) == ("alice", int)
        [address] = (await http.get(f"{idp.issuer}/user/emails")).json()
        assert (address["email"], address["primary"], address["verified"]) == (
            "alice@example.com",
            True,
            True,
        )
        assert [one["login"] for one in (await http.get(f"{idp.issuer}/user/orgs")).json()] == ["acme"]
        again = await http.post(f"{idp.issuer}/login/oauth/access_token", data=form, headers=json_please)
        assert (again.status_code, again.json()["error"]) == (200, "bad_verification_code")


async def test_github_has_users_without_a_public_address(callback: Callback) -> None:
    async with emulated("github", callback.url) as idp, httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{idp.issuer}/users/bob")).json()["email"] is None


async def test_github_s_emulation_is_no_judge_of_tokens(callback: Callback) -> None:
    """It takes garbage for its first user: what must be refused is tested with a strict stand-in."""
    async with emulated("github", callback.url) as idp, httpx2.AsyncClient(trust_env=False) as http:
        user = await http.get(f"{idp.issuer}/user", headers={"Authorization": "Bearer gho_garbage"})
        assert (user.status_code, user.json()["login"]) == (200, "alice")


async def test_google_gives_an_id_token_with_the_hosted_domain(callback: Callback) -> None:
    proof = Proof()
    async with (
        emulated("google", callback.url) as idp,
        httpx2.AsyncClient(trust_env=False) as http,
        Person("email=alice@example.com") as person,
    ):
        found = (await http.get(f"{idp.issuer}/.well-known/openid-configuration")).json()
        asked = {"client_id": idp.client_id, "scope": "openid email profile", "nonce": "n", **proof.challenge}
        told = await authorized(found["authorization_endpoint"], callback, person, **asked)
        secrets = {"client_id": idp.client_id, "client_secret": idp.client_secret}
        form = form_of(callback, told["code"], code_verifier=proof.verifier, **secrets)
        tokens = (await http.post(found["token_endpoint"], data=form)).json()
        keys = KeySet.import_key_set((await http.get(found["jwks_uri"])).json())
        claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (idp.issuer, idp.client_id, "n")
    assert (claims["email"], claims["email_verified"], claims["hd"]) == (
        "alice@example.com",
        True,
        "example.com",
    )
