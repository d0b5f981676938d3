"""Further addresses for MCP (EXTRA_ORIGINS): resources of their own on the one issuer, for whom they name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from state.kinds.access_policy import Rule
from state.setting_values import ExtraOrigin
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.rig import bearer, container, gateway
from tests.gateway.sign_in.browser import Browser, program
from tests.gateway.sign_in.conftest import ANN_USER, Place, settings_of

HOST, OPEN_HOST = "mcp.example.org", "mcp.example.net"
EXTRA, OPEN = f"https://{HOST}", f"https://{OPEN_HOST}"
EXTRAS = (ExtraOrigin(EXTRA, ("oidc",)), ExtraOrigin(OPEN))
OIDC_USER = "oidc:subject-1"


@pytest.fixture
async def one(github: GitHubStandIn, oidc: OidcStandIn) -> AsyncIterator[Place]:
    """One extra origin is for the issuer's people alone, and one for everybody's."""
    async with (
        gateway(**settings_of(github, oidc), extra_origins=EXTRAS) as rig,
        container("ann") as ann,
    ):
        await rig.add_template()
        await rig.add_policy(Rule(provider="github"), Rule(provider="oidc"))
        for name, user in (("ann", ANN_USER), ("oidc", OIDC_USER)):
            await rig.add_user(name, user)
            await rig.route(name, ann)
        await rig.applied()
        yield Place(rig, github, oidc, ann)


async def connected(place: Place, resource: str, provider: str) -> str:
    """An access token for ``resource``."""
    asking = await program(place.rig)
    browser = Browser(place.rig)
    page = await browser.visit(asking.url(resource=resource))
    status, tokens = await asking.redeem(await browser.submit(page, "/authorize", provider=provider))
    assert status == 200, tokens
    return str(tokens["access_token"])


async def called(place: Place, token: str, host: str = "", path: str = "/mcp") -> tuple[int, str, Any]:
    """Status, challenge and answer."""
    headers = bearer(token) if token else {}
    async with place.rig.request("POST", path, host=host, headers=headers, data=b"{}") as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", ""), await answer.json()


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", HOST.upper()])
async def test_its_challenge_leads_to_its_own_metadata_and_that_to_the_one_issuer(
    one: Place, host: str
) -> None:
    status, challenge, _ = await called(one, "", host)
    metadata_path = "/.well-known/oauth-protected-resource"
    assert (status, f'resource_metadata="{EXTRA}{metadata_path}/mcp"' in challenge) == (401, True)
    for path in (f"{metadata_path}/mcp", metadata_path):
        async with one.rig.request("GET", path, host=host) as answer:
            metadata = await answer.json()
        assert metadata["resource"] == f"{EXTRA}/mcp"
        assert metadata["authorization_servers"] == [one.rig.origin]
    async with one.rig.request("GET", f"{metadata_path}/mcp") as answer:
        assert (await answer.json())["resource"] == f"{one.rig.origin}/mcp"


@pytest.mark.negative(48)
async def test_a_token_is_good_at_the_address_that_it_was_made_for_alone(one: Place) -> None:
    sites = {"": one.rig.origin, HOST: EXTRA, OPEN_HOST: OPEN}
    for host, origin in sites.items():
        token = await connected(one, f"{origin}/mcp", "oidc")
        for other, other_origin in sites.items():
            status, challenge, _ = await called(one, token, other)
            assert status == (200 if other == host else 401), (host, other)
            if other != host:
                assert 'error="invalid_token"' in challenge
                assert f'resource_metadata="{other_origin}/.well-known/' in challenge
    assert len(one.ann.requests) == len(sites)


async def test_the_container_is_told_which_address_was_asked_for(one: Place) -> None:
    _, _, seen = await called(one, await connected(one, f"{EXTRA}/mcp", "oidc"), HOST)
    assert dict(seen["headers"])["x-forwarded-host"] == HOST


async def test_only_its_own_providers_are_offered_and_taken_for_it(one: Place) -> None:
    asking = await program(one.rig)
    for browser in (Browser(one.rig), signed_in := Browser(one.rig)):
        if browser is signed_in:
            await browser.sign_in("github")
        page = await browser.visit(asking.url(resource=f"{EXTRA}/mcp"))
        assert "Example ID" in page.text
        assert "GitHub" not in page.text
        assert "Allow, and sign in" in page.text, "whoever is signed in is of another provider"
        refused = await browser.submit(page, "/authorize", provider="github", decision="allow")
        assert (refused.status, "NoProvider" in refused.text) == (400, True)
    page = await Browser(one.rig).visit(asking.url(resource=f"{OPEN}/mcp"))
    assert "GitHub" in page.text


async def test_a_person_of_another_provider_is_refused_there_whatever_they_once_got(one: Place) -> None:
    """The address was for everybody until its operator named whose people it is for."""
    token = await connected(one, f"{OPEN}/mcp", "github")
    assert (await called(one, token, OPEN_HOST))[0] == 200
    settings = settings_of(one.github, one.oidc)
    narrowed = (EXTRAS[0], ExtraOrigin(OPEN, ("oidc",)))
    async with gateway(
        backend=one.rig.backend,
        folder=one.rig.folder,
        **{**settings, "gateway_origin": one.rig.origin, "extra_origins": narrowed},
    ) as rig:
        later = Place(rig, one.github, one.oidc, one.ann)
        status, _, told = await called(later, token, OPEN_HOST)
    assert (status, told["reason"]) == (403, "OtherProvider")
    assert len(one.ann.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/signin", "/signout", "/account", "/admin", "/authorize", "/auth/callback", "/favicon.ico"),
        *("/token", "/register", "/revoke", "/-/restart", "/-/events", "/-/api/v1/containers"),
        *("/-/static/gateway.js", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"),
    ],
)
async def test_pages_and_the_authorization_server_are_not_there(one: Place, path: str) -> None:
    cookie = await one.rig.session(ANN_USER)
    for method in ("GET", "POST"):
        async with one.rig.request(
            method, path, host=HOST, headers={"Cookie": cookie, "Accept": "text/html"}
        ) as answer:
            assert answer.status == 404
            assert f"{one.rig.origin}/" in await answer.text()
            assert "Set-Cookie" not in answer.headers


async def test_a_session_is_nobody_there_and_a_foreign_page_asks_nothing(one: Place) -> None:
    cookie = await one.rig.session(ANN_USER)
    async with one.rig.request("POST", "/mcp", host=HOST, headers={"Cookie": cookie}, data=b"{}") as answer:
        assert answer.status == 401
    token = await connected(one, f"{EXTRA}/mcp", "oidc")
    for origin, status in (("https://evil.example", 403), (one.rig.origin, 403), (EXTRA, 200)):
        headers = bearer(token, Origin=origin)
        async with one.rig.request("POST", "/mcp", host=HOST, headers=headers, data=b"{}") as answer:
            assert answer.status == status, origin


async def test_a_program_asks_for_no_other_path_and_no_other_host(one: Place) -> None:
    asking = await program(one.rig)
    for resource in (f"{EXTRA}/-/api/v1", f"{EXTRA}/live", f"http://{HOST}/mcp", f"{EXTRA}.evil.example/mcp"):
        answer = await Browser(one.rig).visit(asking.url(resource=resource))
        assert answer.query["error"] == "invalid_target", resource
