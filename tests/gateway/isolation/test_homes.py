"""A hostile page at a Home's origin, scripted in Chromium: it reads nothing of the gateway's, nor of another
Home's, and does nothing there. Each attempt is judged by what the page learnt and by what the gateway saw.
"""

from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from gateway.pages.render import STATIC_PATH
from tests.gateway.conftest import BOB_HOME
from tests.gateway.isolation.scene import (
    ANN,
    ANN_HOME,
    BELOW,
    BOB,
    HOSTILE_PATH,
    WORKER_PATH,
    Answer,
    Scene,
    Visit,
    link_of,
    names_of,
    visiting,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ = (
    *("/", "/account", "/signin", "/authorize", "/admin", "/admin/people", "/health"),
    *("/-/log?name=ann", "/-/log/events?name=ann", "/-/values?name=ann"),
    *("/-/api/v1/containers", "/-/api/v1/containers/ann/log", "/mcp", f"/u/{ANN}/mcp"),
)
POSTED: dict[str, dict[str, str]] = {
    "/-/start": {},
    "/-/restart": {"name": "ann"},
    "/-/sleep": {"name": "ann"},
    "/-/reset": {"name": "ann", "confirm": "reset"},
    "/-/open": {"name": "ann", "path": "/"},
    "/-/values": {"name": "ann"},
    "/-/token": {"token_name": "x", "days": "30"},
    "/-/revoke": {"grant": "x"},
    "/-/signout-everywhere": {},
    "/-/delete-account": {"confirm": "delete"},
    "/-/admin/restart": {"name": "bob"},
    "/-/admin/ban": {"user": BOB},
    "/-/api/v1/containers/ann/restart": {},
    "/-/api/v1/containers/ann/sleep": {},
    "/signin": {"provider": "github"},
    "/signout": {},
    "/authorize": {"decision": "allow"},
    "/token": {"grant_type": "client_credentials"},
    "/register": {},
    "/revoke": {"token": "x"},
    "/mcp": {},
}


def other_home(visit: Visit) -> str:
    """The origin of the Home that the hostile page is not at; its owner has a session there."""
    is_anns = urlsplit(visit.page.url).netloc.startswith(ANN_HOME)
    return visit.scene.home(BOB_HOME if is_anns else ANN_HOME)


def arrived_at(visit: Visit, origin: str) -> list[Answer]:
    return [one for one in visit.scene.watched.answers if one.origin == origin]


def learnt(outcome: Any) -> list[str]:
    """Every text, at whatever depth, that the page could read."""
    if not isinstance(outcome, dict):
        return []
    texts = [value for name, value in outcome.items() if name == "text" and value]
    return texts + [text for value in outcome.values() for text in learnt(value)]


async def test_every_way_to_change_something_is_tried(scene: Scene) -> None:
    routes = [one for one in scene.rig.worker.front._pages._gateway.routes if isinstance(one, APIRoute)]
    untried = [
        one.path for one in routes if "POST" in one.methods and not any(map(one.path_regex.match, POSTED))
    ]
    assert not untried


async def test_it_reads_nothing_of_the_gateways(visit: Visit) -> None:
    for path in READ:
        url = visit.scene.origin + path
        for attempt in ("fetch", "xhr"):
            outcome = await visit.tries(attempt, url)
            assert "refused" in outcome and not learnt(outcome), (attempt, path)
        opaque = await visit.tries("fetch", url, {"mode": "no-cors"})
        assert not learnt(opaque), path
    assert await visit.tries("fetch", visit.scene.origin + "/", {"headers": {"Authorization": "x"}}) == {
        "refused": "TypeError"
    }


async def test_it_posts_nothing_to_the_gateway_even_with_the_forms_own_token(visit: Visit) -> None:
    before, cookies = await visit.scene.kept(), await visit.own_cookies()
    for path, fields in POSTED.items():
        url, whole = visit.scene.origin + path, {**fields, "csrf": visit.csrf}
        assert not learnt(await visit.tries("post", url, whole)), path
        await visit.tries("beacon", url, whole)
        for method in ("PUT", "DELETE"):
            assert await visit.tries("fetch", url, {"method": method}) == {"refused": "TypeError"}, path
    posts = [one for one in arrived_at(visit, visit.scene.origin) if one.method == "POST"]
    assert {one.path for one in posts} == POSTED.keys()
    assert {(one.status, one.reason) for one in posts} == {(403, "BadOrigin")}
    assert any(one.has_cookie for one in posts) is (visit.scene.setting is BELOW), "one site, or two"
    assert not [one for one in arrived_at(visit, visit.scene.origin) if one.method in ("PUT", "DELETE")]
    assert await visit.scene.kept() == before
    assert await visit.own_cookies() == cookies
    assert await visit.is_signed_in()


@pytest.mark.parametrize("path", ["/-/restart", "/-/reset", "/authorize", "/signout", "/-/delete-account"])
async def test_a_form_that_sends_itself_is_refused_on_a_page(visit: Visit, path: str) -> None:
    before, cookies = await visit.scene.kept(), await visit.own_cookies()
    async with visit.context.expect_page() as opening:
        await visit.tries("submit", visit.scene.origin + path, {**POSTED[path], "csrf": visit.csrf})
    page = await opening.value
    await page.get_by_text("another origin").first.wait_for()
    [answer] = [one for one in arrived_at(visit, visit.scene.origin) if one.method == "POST"]
    assert (answer.path, answer.status, answer.reason) == (path, 403, "BadOrigin")
    assert await visit.scene.kept() == before
    assert await visit.own_cookies() == cookies


async def test_it_includes_nothing_of_the_gateways_as_a_script_a_style_or_a_picture(visit: Visit) -> None:
    for path in ("/-/api/v1/containers", "/.well-known/jwks.json", "/", "/signout", "/-/restart"):
        url = visit.scene.origin + path
        for name, attribute in (("script", "src"), ("link", "href"), ("img", "src")):
            outcome = await visit.tries("include", name, attribute, url)
            assert outcome["made"] == []
            assert not learnt(outcome)
            if name != "script":
                assert outcome["refused"] == "error", (name, path)
    assert await visit.is_signed_in()


@pytest.mark.parametrize("path", ["/", "/signin", "/authorize", "/nothing", "/-/api/v1/containers"])
async def test_it_frames_no_page_of_the_gateways(visit: Visit, path: str) -> None:
    outcome = await visit.tries("frame", visit.scene.origin + path)
    assert not learnt(outcome)
    for name in ("object", "embed"):
        await visit.tries("include", name, "data" if name == "object" else "src", visit.scene.origin + path)
    for frame in visit.page.frames[1:]:
        assert frame.url.startswith("chrome-error:") or "secret" not in await frame.content()
        assert ANN not in await frame.content()
        assert "Sign in" not in await frame.content()


async def test_a_window_of_the_gateways_that_it_opened_is_out_of_its_reach(visit: Visit) -> None:
    before = await visit.scene.kept()
    for path in ("/", "/authorize", "/-/restart"):
        async with visit.context.expect_page() as opening:
            assert await visit.tries("open", visit.scene.origin + path)
        page = await opening.value
        await page.wait_for_url(f"{visit.scene.origin}{path}**")  # until then it is the opener's about:blank
        assert await page.evaluate("window.opener") is None
        seen = await visit.tries("peek")
        assert seen["closed"] is True
        assert not [text for text in learnt(seen) if "about:blank" not in text]
        assert page.url.startswith(visit.scene.origin + path)
        await page.close()
    assert await visit.scene.kept() == before


async def test_it_follows_no_events_and_opens_no_socket(visit: Visit) -> None:
    for origin in (visit.scene.origin, other_home(visit)):
        assert "refused" in await visit.tries("events", f"{origin}/-/events")
        for path in ("/ws", "/mcp", "/-/events"):
            url = f"{origin.replace('http', 'ws', 1)}{path}"
            assert "refused" in await visit.tries("socket", url)
        assert {one.status for one in arrived_at(visit, origin)} <= {400, 401, 403, 404}
    assert visit.scene.rig.followers_count == 0


async def test_it_neither_reads_nor_replaces_a_cookie_of_the_gateways(visit: Visit) -> None:
    scene, mallory = visit.scene, "M" * 43
    before, gateway_host = await visit.own_cookies(), scene.setting.gateway
    names = [*names_of(scene.setting).values(), "mcpgw", "mcpgw-home", "mcpgw-state", "mcpgw-browser"]
    for name in names:
        for attributes in (
            "Path=/",
            "Path=/; Secure",
            f"Path=/; Domain={gateway_host}",
            f"Path=/; Secure; Domain={gateway_host}",
            f"Path=/; Secure; Domain={scene.setting.domain}",
            f"Path=/account; Domain={gateway_host}",
        ):
            await visit.tries("cookie", f"{name}={mallory}; {attributes}")
    assert {key: value for key, value in (await visit.own_cookies()).items() if key in before} == before
    planted = [one for one in await visit.context.cookies(scene.origin) if one["value"] == mallory]
    assert {one["name"] for one in planted if one["name"].startswith("__Host-")} == set()
    assert bool(planted) is (scene.setting is BELOW), "a parent's cookies are what only a domain apart ends"
    secrets = set(before.values())
    assert not secrets & set((await visit.tries("cookie", ""))["text"].replace("=", ";").split(";"))
    assert await visit.is_signed_in()
    page = await visit.at(other_home(visit) + HOSTILE_PATH)
    assert "secret of" in await page.inner_text("body")


async def test_a_session_of_the_attackers_own_does_not_take_the_place_of_anns(visit: Visit) -> None:
    """What a form would be filled in for, and a container be started for, is hers."""
    name = names_of(visit.scene.setting)["session"]
    own = (await visit.scene.rig.session(BOB)).partition("=")[2]
    for attributes in ("Path=/", "Path=/account", "Path=/-/"):
        for named in (name, "mcpgw"):
            host = visit.scene.setting.gateway
            await visit.tries("cookie", f"{named}={own}; Secure; Domain={host}; {attributes}")
    for path in ("/", "/account"):
        page = await visit.at(visit.scene.origin + path)
        assert ANN in await page.content()
        assert BOB not in await page.content()


async def test_what_it_stores_and_says_stays_at_its_own_origin(visit: Visit) -> None:
    await visit.tries("stores")
    assert (await visit.tries("worker", WORKER_PATH, "/live/"))["text"].endswith("/live/")
    twin = await visit.at(visit.page.url)
    strangers = [await visit.at(visit.scene.origin + "/"), await visit.at(other_home(visit) + HOSTILE_PATH)]
    listen = "window.heard = []; new BroadcastChannel('mcpgw').onmessage = (said) => heard.push(said.data)"
    for page in (twin, *strangers):
        await page.evaluate(f"() => {{ {listen} }}")
    await visit.page.evaluate("() => new BroadcastChannel('mcpgw').postMessage('restart')")
    await twin.wait_for_function("heard.length === 1")
    assert await twin.evaluate("localStorage.mcpgw") == "planted"
    for page in strangers:
        assert await page.evaluate("heard") == []
        assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert await page.evaluate("async () => (await indexedDB.databases()).length") == 0
        registered = "async () => (await navigator.serviceWorker.getRegistrations()).length"
        assert await page.evaluate(registered) == 0
        assert await page.evaluate("navigator.serviceWorker.controller") is None


async def test_it_reads_nothing_of_another_home_and_does_nothing_there(visit: Visit) -> None:
    origin = other_home(visit)
    for path in ("/", HOSTILE_PATH, "/-/events", "/-/enter?code=x", "/mcp"):
        for attempt in ("fetch", "xhr"):
            outcome = await visit.tries(attempt, origin + path)
            assert "refused" in outcome and not learnt(outcome), (attempt, path)
        assert not learnt(await visit.tries("fetch", origin + path, {"mode": "no-cors"}))
        assert not learnt(await visit.tries("post", origin + path, {"x": "y"}))
        for name, attribute in (("script", "src"), ("link", "href"), ("img", "src")):
            assert (await visit.tries("include", name, attribute, origin + path))["made"] == []
        assert not learnt(await visit.tries("frame", origin + path))
    async with visit.context.expect_page() as opening:
        await visit.tries("submit", origin + HOSTILE_PATH, {"x": "y"})
    await (await opening.value).get_by_text("another origin").first.wait_for()
    asked = [one for one in arrived_at(visit, origin) if not one.path.startswith(STATIC_PATH)]
    assert not [one for one in asked if one.status not in (401, 403, 404, 405)]
    assert not (visit.scene.bob if origin == visit.scene.home(BOB_HOME) else visit.scene.ann).requests


async def test_a_page_of_another_home_that_it_opened_is_shown_to_its_owner_alone(visit: Visit) -> None:
    async with visit.context.expect_page() as opening:
        await visit.tries("open", other_home(visit) + HOSTILE_PATH)
    page = await opening.value
    await page.get_by_text("secret of").wait_for()
    seen = await visit.tries("peek")
    for what in ("document", "address", "cookies", "stored"):
        assert seen[what] == {"refused": "SecurityError"}, what


async def test_a_homes_name_is_told_to_nobody_to_whom_its_page_leads(visit: Visit) -> None:
    """It opens the Home's hosted links, so that nobody is to learn it by the way."""
    await visit.tries("include", "img", "src", visit.scene.elsewhere + "/static/picture")
    await visit.tries("fetch", visit.scene.elsewhere + "/static/x", {"mode": "no-cors"})
    await visit.leave()
    asked = {seen["path"]: dict(seen["headers"]) for seen in visit.scene.third.requests}
    assert {"/static/picture", "/static/x", "/static"} <= asked.keys()
    for path, headers in asked.items():
        assert ANN_HOME not in str(headers) and BOB_HOME not in str(headers), path


async def test_a_way_in_for_one_home_leads_nobody_into_another(scene: Scene) -> None:
    """A page that came by such a code sends the person with it to a Home that it was not made for."""
    async with visiting(scene, scene.home(BOB_HOME) + link_of(BOB_HOME)) as visit:
        page = await visit.at(scene.origin + "/")
        async with page.expect_request(lambda request: "/-/enter?code=" in request.url) as entering:
            await page.get_by_role("button", name="Open").click()
        code = urlsplit((await entering.value).url).query
        await page.wait_for_url(scene.home(ANN_HOME) + "/")
        for home in (ANN_HOME, BOB_HOME):
            again = await visit.at(f"{scene.home(home)}/-/enter?{code}")
            assert "This way in was used or is over" in await again.inner_text("body")
