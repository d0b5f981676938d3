"""A restart with another SECRET_KEY_FILE, or without its `auth.db`: what is lost is asked for anew, in words.

The key seals the keys that sign access tokens, and marks the cookies of sessions as ours. Accounts, grants
and containers do not hang on it.
"""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.secret_key import FILE_NAME
from gateway.main import AUTH_FILE
from state.kinds.access_policy import Rule
from state.kinds.account import Account
from state.store.memory import MemoryBackend
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.rig import Container, Rig, container, gateway
from tests.gateway.sign_in.browser import Browser, Program, Seen, program
from tests.gateway.sign_in.conftest import ANN_USER, Place, settings_of
from tests.gateway.sign_in.test_consent import call, connected


@dataclass
class House:
    """One gateway that ends and is started again at the same address, with all that its folder holds."""

    folder: Path
    github: GitHubStandIn
    oidc: OidcStandIn
    ann: Container
    backend: MemoryBackend
    port: int = 0

    @asynccontextmanager
    async def started(self, **settings: Any) -> AsyncIterator[Place]:
        async with gateway(
            backend=self.backend,
            folder=self.folder,
            port=self.port,
            **settings_of(self.github, self.oidc),
            **settings,
        ) as rig:
            self.port = rig.port
            yield Place(rig, self.github, self.oidc, self.ann)


@dataclass
class Before:
    """What Ann's browser and programs held when the gateway ended."""

    cookies: dict[str, dict[str, str]]
    left: Seen  # for the provider
    consent: Seen  # shown, and not answered
    asking: Program  # whose consent that is
    connected: Program
    tokens: dict[str, Any]
    personal: str
    kids: set[str]

    def browser(self, rig: Rig) -> Browser:
        return Browser(rig, cookies={host: dict(jar) for host, jar in self.cookies.items()})


@pytest.fixture
async def house(tmp_path: Path, github: GitHubStandIn, oidc: OidcStandIn) -> AsyncIterator[House]:
    async with container("ann") as ann:
        yield House(tmp_path, github, oidc, ann, MemoryBackend())


async def lived_in(house: House) -> Before:
    async with house.started() as place:
        await place.rig.add_template()
        await place.rig.add_policy(Rule(provider="github"), Rule(provider="oidc"))
        await place.rig.add_user("ann", ANN_USER)
        await place.rig.route("ann", place.ann)
        await place.rig.applied()
        asking, browser = await program(place.rig), Browser(place.rig)
        await browser.sign_in("github")
        by, tokens = await connected(place)
        fields = {"token_name": "x", "resource": f"{place.rig.origin}/mcp", "days": "30"}
        made = await browser.submit(await browser.visit("/"), "/-/token", **fields)
        personal = next(
            word for word in made.text.replace('"', " ").replace("<", " ").split() if "pat_" in word
        )
        consent = await browser.visit(asking.url())
        left = await browser.depart(await away(browser), "/signin", provider="github")
        return Before(
            browser.cookies, left, consent, asking, by, tokens, personal, await published(place.rig)
        )


async def away(browser: Browser) -> Seen:
    """The sign-in page, as a second window shows it where nobody is signed in."""
    jar = browser.cookies[f"localhost:{browser.rig.port}"]
    session = jar.pop("mcpgw")
    page = await browser.visit("/signin")
    jar["mcpgw"] = session
    return page


async def published(rig: Rig) -> set[str]:
    async with rig.request("GET", "/.well-known/jwks.json") as answer:
        return {key["kid"] for key in (await answer.json())["keys"]}


def key_file(path: Path) -> Path:
    path.write_bytes(base64.b64encode(os.urandom(32)))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("how", ["lost", "replaced"])
async def test_another_key_costs_sessions_and_access_tokens_and_nothing_else(
    house: House, tmp_path: Path, how: str
) -> None:
    before = await lived_in(house)
    settings: dict[str, Any] = {}
    if how == "lost":
        (house.folder / FILE_NAME).unlink()
    else:
        settings["secret_key_file"] = key_file(tmp_path / "other.key")
    async with house.started(**settings) as place:
        assert not before.kids & await published(place.rig)
        status, _, headers = await call(place, before.tokens["access_token"])
        assert (status, 'error="invalid_token"' in headers["WWW-Authenticate"]) == (401, True)
        before.connected.rig = before.asking.rig = place.rig
        status, fresh = await before.connected.refresh(before.tokens["refresh_token"])
        assert status == 200, "the program goes on by itself"
        assert (await call(place, fresh["access_token"]))[0] == 200
        assert (await call(place, before.personal))[0] == 200
        browser = before.browser(place.rig)
        seen = await browser.visit("/")
        assert (seen.status, seen.url, len(browser.visited)) == (200, f"{place.rig.origin}/signin", 2)
        refused = await browser.submit(before.consent, "/authorize", decision="allow")
        assert (refused.status, "Go back to the program and connect again" in refused.text) == (403, True)
        seen = await before.browser(place.rig).visit(before.left.headers["Location"])
        assert (seen.status, seen.url) == (200, f"{place.rig.origin}/"), "who had left for a provider is back"
        assert ANN_USER in seen.text
        assert "A program" in seen.text, "what was allowed stands there still"
        answer = await browser.submit(
            await browser.visit(before.asking.url()), "/authorize", provider="github"
        )
        assert (await before.asking.redeem(answer))[0] == 200


async def test_a_lost_database_costs_every_session_and_leads_to_sign_in_in_one_step(house: House) -> None:
    """Programs register anew, and people sign in; Accounts and containers are the store's, and stay."""
    before = await lived_in(house)
    for path in house.folder.glob(f"{AUTH_FILE}*"):
        path.unlink()
    async with house.started() as place:
        before.connected.rig = place.rig
        browser = before.browser(place.rig)
        seen = await browser.visit("/")
        assert (seen.status, seen.url) == (200, f"{place.rig.origin}/signin")
        assert len(browser.visited) == 2, "one redirect, and no more"
        for refused, reason in (
            (await browser.submit(before.consent, "/authorize", decision="allow"), "BadAuthorization"),
            (await before.browser(place.rig).visit(before.left.headers["Location"]), "BadState"),
        ):
            assert refused.status in (400, 403)
            assert reason in refused.text
            assert "Traceback" not in refused.text
        assert (await call(place, before.tokens["access_token"]))[0] == 401
        assert (await call(place, before.personal))[0] == 401
        status, told = await before.connected.refresh(before.tokens["refresh_token"])
        assert (status, told["error"]) == (401, "invalid_client"), "so that it registers anew"
        seen = await browser.submit(seen, "/signin", provider="github")
        assert (seen.status, ANN_USER in seen.text) == (200, True)
        accounts = await place.rig.read(lambda tx: tx.list(Account))
        assert [one.spec.user for one in accounts] == [ANN_USER]
        _, tokens = await connected(place)
        assert (await call(place, tokens["access_token"]))[1]["container"] == "ann"


@pytest.mark.parametrize("secret", ["A" * 43, "x", "", "é" * 43, "a.b.c", '"' + "A" * 43 + '"', "%00"])
async def test_a_cookie_of_nobody_knows_when_is_nobody_and_never_a_loop(place: Place, secret: str) -> None:
    browser = Browser(place.rig)
    jar = dict.fromkeys(("mcpgw", "mcpgw-state", "mcpgw-browser"), secret)
    browser.cookies[f"localhost:{place.rig.port}"] = jar
    seen = await browser.visit("/")
    assert (seen.status, seen.url.endswith("/signin"), len(browser.visited)) == (200, True, 2)
    seen = await browser.submit(seen, "/signin", provider="github")
    assert (seen.status, seen.url) == (200, f"{place.rig.origin}/")
