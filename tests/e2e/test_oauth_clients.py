"""Real clients, from nothing to a tool call in a container of one's own: a real provider, consent, tokens.

Nobody sits at the browser: what a client would open there, a person of ours visits; or Chromium does.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from multidict import CIMultiDict, CIMultiDictProxy
from playwright.async_api import Page

from mcpgw.testing.house import House, free_port
from state.kinds.user_container import UserContainer
from tests.clients.robot import Person, Seen
from tests.clients.run import Driver, connected
from tests.e2e.browser import tab
from tests.e2e.conftest import opened
from tests.engines import RealEngine
from tests.idp.rig import Idp, oidc_provider

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

POLICY = """
apiVersion: mcp-gateway/v1
kind: AccessPolicy
metadata: {name: default}
spec: {rules: [{provider: example}]}
"""
SIGN_IN_AND_ALLOW = ("answer=sign-in", "decision=allow", "provider=example")


@dataclass
class Place:
    house: House
    idp: Idp

    def person(self, login: str) -> Person:
        """Somebody who allows what they began, and signs in as ``login`` where they are asked."""
        return Person(*SIGN_IN_AND_ALLOW, fills={"login": login})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    port = free_port()
    origin = f"http://localhost:{port}"
    async with oidc_provider(f"{origin}/auth/callback") as idp:
        settings = {
            "GATEWAY_BIND": f"127.0.0.1:{port}",
            "GATEWAY_ORIGIN": origin,
            "OAUTH_EXAMPLE_ISSUER": idp.issuer,
            "OAUTH_EXAMPLE_CLIENT_ID": idp.client_id,
            "OAUTH_EXAMPLE_CLIENT_SECRET": idp.client_secret,
        }
        house = opened(real_engine, tmp_path_factory.mktemp("oauth"), settings, begin="nothing")
        built = await asyncio.to_thread(house.__enter__)  # a house waits, and has loops of its own
        try:
            built.write_manifest("access.yaml", POLICY)
            await asyncio.to_thread(built.start)
            yield Place(built, idp)
        finally:
            await asyncio.to_thread(house.__exit__, None, None, None)


@pytest.mark.parametrize("driver", Driver)
async def test_a_client_reaches_the_persons_own_container(place: Place, driver: Driver) -> None:
    async with place.person("alice") as alice:
        got = await connected(driver, place.house.mcp_url, alice, tool="whoami", arguments={})
    assert {"echo", "whoami", "counter"} <= set(got.tools)
    assert (await container_of(place, "example:1001")).status.home in str(got.answer)


async def test_two_people_with_the_same_client_reach_two_containers(place: Place) -> None:
    answers = []
    for login in ("alice", "bob"):
        async with place.person(login) as person:
            got = await connected(Driver.MCP_2, place.house.mcp_url, person, tool="whoami", arguments={})
            answers.append(str(got.answer))
    for user, answer in zip(("example:1001", "example:1002"), answers, strict=True):
        assert (await container_of(place, user)).status.home in answer
    assert answers[0] != answers[1]


@dataclass
class AtChromium:
    """Somebody who is signed in there, and allows what they began."""

    page: Page

    async def visit(self, url: str) -> Seen:
        await self.page.goto(url)
        async with self.page.expect_response(lambda answer: "code=" in answer.url) as heard:
            await self.page.get_by_role("button", name="Allow", exact=True).click()
        answer = await heard.value
        headers = CIMultiDictProxy(CIMultiDict(answer.headers))
        return Seen(answer.url, answer.status, await answer.text(), headers, (url, answer.url))


async def test_a_new_user_goes_from_the_address_bar_to_a_tool_call(place: Place) -> None:
    origin = place.house.mcp_url.removesuffix("/mcp")
    async with tab() as browser:
        page = browser.page
        await page.goto(origin)
        await page.get_by_role("button", name="Continue with Example").click()
        await page.get_by_label("Login name").fill("dora")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Start my container").click()
        await page.get_by_text("Ready", exact=True).first.wait_for()
        got = await connected(
            Driver.MCP_2, place.house.mcp_url, AtChromium(page), tool="whoami", arguments={}
        )
        assert (await container_of(place, "example:sub-of-dora")).status.home in str(got.answer)
        await page.goto(origin)
        await page.get_by_role("button", name="Revoke").wait_for()


async def container_of(place: Place, user: str) -> UserContainer:
    """The only one; with a home, whose name is its hostname."""
    everybodys = await asyncio.to_thread(place.house.read, lambda tx: tx.list(UserContainer))
    [container] = [one for one in everybodys if one.spec.user == user]
    assert container.status.home
    return container
