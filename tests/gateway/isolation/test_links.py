"""A hostile hosted link on the gateway's own origin, where Homes have none of their own, in Chromium.

Its origin is nobody's (``CSP: sandbox``): to the browser it is no page of the gateway's at all.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway.conftest import BOB_HOME
from tests.gateway.isolation.scene import ANN, ANN_HOME, BOB, Answer, Scene, Visit, link_of, visiting
from tests.gateway.isolation.test_homes import POSTED, READ, learnt

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def visit(links_alone: Scene) -> AsyncIterator[Visit]:
    """Bob's link, opened by Ann, who is signed in at the very same host."""
    async with visiting(links_alone, links_alone.origin + link_of(BOB_HOME)) as visit:
        assert await visit.page.evaluate("origin") == "null"
        yield visit


def arrived(visit: Visit) -> list[Answer]:
    return visit.scene.watched.answers


async def test_it_has_no_cookies_and_no_stores(visit: Visit) -> None:
    before = await visit.own_cookies()
    for text in ("", "__Host-mcpgw=planted; Path=/; Secure", "mcpgw=planted; Path=/"):
        assert await visit.tries("cookie", text) == {"refused": "SecurityError"}
    for name, outcome in (await visit.tries("stores")).items():
        assert outcome == {"refused": "SecurityError"}, name
    outcome = await visit.tries("worker", link_of(BOB_HOME) + "/worker.js", "/")
    assert outcome["refused"] in ("SecurityError", "InvalidStateError")
    assert await visit.own_cookies() == before


async def test_it_reads_nothing_although_the_host_is_the_same(visit: Visit) -> None:
    for path in READ:
        url = visit.scene.origin + path
        for attempt in ("fetch", "xhr"):
            outcome = await visit.tries(attempt, url)
            assert "refused" in outcome and not learnt(outcome), (attempt, path)
        assert not learnt(await visit.tries("fetch", url, {"mode": "no-cors"}))
        assert not learnt(await visit.tries("frame", url))
        for name, attribute in (("script", "src"), ("link", "href"), ("img", "src")):
            assert (await visit.tries("include", name, attribute, url))["made"] == []
    assert arrived(visit)
    assert not [one for one in arrived(visit) if one.has_cookie], "no session comes along"
    for frame in visit.page.frames[1:]:
        assert ANN not in await frame.content()


async def test_it_posts_nothing_even_with_the_forms_own_token(visit: Visit) -> None:
    before, cookies = await visit.scene.kept(), await visit.own_cookies()
    for path, fields in POSTED.items():
        url, whole = visit.scene.origin + path, {**fields, "csrf": visit.csrf}
        await visit.tries("post", url, whole)
        await visit.tries("beacon", url, whole)
    posts = [one for one in arrived(visit) if one.method == "POST"]
    assert {one.path for one in posts} == POSTED.keys()
    assert {(one.status, one.reason, one.has_cookie) for one in posts} == {(403, "BadOrigin", False)}
    assert await visit.scene.kept() == before
    assert await visit.own_cookies() == cookies
    assert await visit.is_signed_in()


@pytest.mark.parametrize("path", ["/-/restart", "/authorize", "/signout", "/-/delete-account"])
async def test_its_whole_window_sends_a_form_in_vain(visit: Visit, path: str) -> None:
    """A window of its own it cannot open: the sandbox lets forms go, and popups not."""
    before, cookies = await visit.scene.kept(), await visit.own_cookies()
    fields = {**POSTED[path], "csrf": visit.csrf}
    await visit.tries("submit", visit.scene.origin + path, fields, "_self")
    await visit.page.get_by_text("another origin").first.wait_for()
    [answer] = [one for one in arrived(visit) if one.method == "POST"]
    assert (answer.path, answer.status, answer.reason) == (path, 403, "BadOrigin")
    assert await visit.scene.kept() == before
    assert await visit.own_cookies() == cookies


async def test_it_opens_no_window_no_socket_and_no_events(visit: Visit) -> None:
    assert await visit.tries("open", visit.scene.origin + "/") is False
    assert len(visit.context.pages) == 1
    assert "refused" in await visit.tries("events", visit.scene.origin + "/-/events")
    for path in ("/ws", "/mcp", link_of(BOB_HOME)):
        url = f"{visit.scene.origin.replace('https', 'wss')}{path}"
        assert "refused" in await visit.tries("socket", url)
    assert visit.scene.rig.followers_count == 0


async def test_it_learns_nothing_of_another_link_and_tells_nobody_its_own_address(visit: Visit) -> None:
    scene = visit.scene
    anns = scene.origin + link_of(ANN_HOME)
    for attempt in ("fetch", "xhr", "frame"):
        assert not learnt(await visit.tries(attempt, anns)), attempt
    for url in (anns, f"{scene.elsewhere}/static/picture"):
        await visit.tries("include", "img", "src", url)
    await visit.leave()
    for stand_in in (scene.ann, scene.third):
        assert stand_in.requests
        for seen in stand_in.requests:
            assert BOB_HOME not in str(seen["headers"])


async def test_an_owners_pages_are_not_there(visit: Visit) -> None:
    for path in ("/live/hostile", f"/live/{ANN_HOME}-7", "/ws"):
        page = await visit.at(visit.scene.origin + path)
        assert "secret of" not in await page.inner_text("body")
    assert BOB not in await (await visit.at(visit.scene.origin + "/")).content()
