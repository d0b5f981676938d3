"""Each Home's own origin: entered by a one-time code, its owner's alone, and never a way to MCP."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import pytest

from gateway.auth.home_entry import mint_entry_code
from gateway.auth.local import local_user, mint_sign_in_link
from gateway.auth.sessions import (
    COOKIES_TRIED_MAX,
    SILENT_TRUSTED_S,
    TRUSTED_S,
    TicketKind,
    Visitor,
    key_of,
)
from state.kinds.resource import ConditionType, Truth
from state.store.errors import Unavailable
from tests.gateway.conftest import ALICE_HOME, BOB_HOME, Town, one_worker
from tests.gateway.rig import PATIENCE_S, Rig, until

HTML = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}


def host(rig: Rig, home: str = ALICE_HOME) -> str:
    return f"{home}.localhost:{rig.port}"


def page(rig: Rig, path: str, cookie: str = "", home: str = ALICE_HOME, **headers: str) -> Any:
    method = headers.pop("method", "GET")
    sent = {**({"Cookie": cookie} if cookie else {}), **headers}
    return rig.request(method, path, host=host(rig, home), headers=sent)


async def enter(rig: Rig, user: str = "app:shop.alice", home: str = ALICE_HOME) -> str:
    """Come in as the account page lets one; the Home's cookie."""
    session = await rig.session(user)
    visitor = await visitor_of(rig, session)
    code = await mint_entry_code(rig.tickets, visitor, home)
    async with page(rig, f"/-/enter?code={code}&to=/live", home=home) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/live"), await answer.text()
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    return cookie.partition(";")[0]


async def visitor_of(rig: Rig, cookie: str) -> Visitor:
    from gateway.head import read_head

    visitor = await rig.workers[0]._desk.sessions.visitor(read_head([(b"cookie", cookie.encode())]))
    assert visitor is not None
    return visitor


async def test_two_hundred_cookies_of_others_in_front_do_not_hide_ours(town: Town) -> None:
    foreign = "; ".join(f"c{number}=x" for number in range(200))
    home = await enter(town.rig)
    async with page(town.rig, "/live", f"{foreign}; {home}") as answer:
        assert answer.status == 200
        assert (await answer.json())["container"] == "alice"
    session = await town.rig.session("app:shop.alice")
    headers = {**HTML, "Cookie": f"{foreign}; {session}"}
    async with town.rig.request("GET", "/", headers=headers) as answer:
        assert answer.status == 200


async def test_the_way_in_is_asked_for_only_so_often(town: Town) -> None:
    told: set[int] = set()
    for _ in range(300 * len(town.rig.workers)):
        async with page(town.rig, "/-/enter?code=nonsense") as answer:
            told.add(answer.status)
        if 429 in told:
            break
    assert told == {403, 429}


async def test_a_container_sets_cookies_for_its_own_host_alone(town: Town) -> None:
    town.alice.more_headers = [(b"set-cookie", b"wide=1; Path=/; Domain=localhost; HttpOnly")]
    async with page(town.rig, "/live", await enter(town.rig)) as answer:
        assert "wide=1; Path=/; HttpOnly" in answer.headers.getall("Set-Cookie")


async def test_the_owner_comes_in_by_a_code_and_reaches_the_own_container(town: Town) -> None:
    cookie = await enter(town.rig)
    async with page(town.rig, "/live/x?y=z", f"{cookie}; theirs=1") as answer:
        seen = await answer.json()
    told = dict(seen["headers"])
    assert (seen["container"], seen["path"], seen["query"]) == ("alice", "/live/x", "y=z")
    assert told["cookie"] == "theirs=1"
    assert told["host"] == told["x-forwarded-host"] == host(town.rig)


async def test_without_the_cookie_nobody_reaches_an_owners_page(town: Town) -> None:
    for cookie in ("", "mcpgw-home=nonsense", "mcpgw-home=", f"mcpgw-home={'x' * 5000}"):
        async with page(town.rig, "/live", cookie) as answer:
            assert answer.status == 401
            assert town.rig.origin in (await answer.json())["detail"]
    async with page(town.rig, "/live", **HTML) as answer:
        assert (answer.status, answer.content_type) == (401, "text/html")
    assert not town.alice.requests


async def test_another_homes_cookie_and_the_gateways_are_nobody(town: Town) -> None:
    bobs = await enter(town.rig, "app:shop.bob", BOB_HOME)
    session = await town.rig.session("app:shop.alice")
    as_home = session.replace("mcpgw=", "mcpgw-home=")
    for cookie in (bobs, session, as_home):
        async with page(town.rig, "/live", cookie) as answer:
            assert answer.status == 401
    async with page(town.rig, "/live", bobs, home=BOB_HOME) as answer:
        assert (await answer.json())["container"] == "bob"
    assert not town.alice.requests


async def test_a_second_cookie_that_a_siblings_page_set_does_not_hide_ours(town: Town) -> None:
    cookie = await enter(town.rig)
    async with page(town.rig, "/live", f"mcpgw-home=planted; {cookie}") as answer:
        assert answer.status == 200


@one_worker
async def test_many_planted_cookies_do_not_hide_ours_and_cost_nothing_once_ours_is_known(town: Town) -> None:
    rig = town.rig
    cookie = await enter(rig)
    minted = partial(rig.worker._desk.sessions._mint, TicketKind.HOME_SESSION)  # theirs, ended since
    planted = "; ".join(f"mcpgw-home={minted()}" for _ in range(COOKIES_TRIED_MAX - 1))
    async with page(rig, "/live", f"{planted}; {cookie}") as answer:
        assert answer.status == 200
    asked: list[str] = []
    get = rig.tickets.get

    async def counted(kind: str, key: str) -> Any:
        asked.append(key)
        return await get(kind, key)

    rig.tickets.get = counted  # type: ignore[method-assign]
    others = "; ".join(f"mcpgw-home={minted()}" for _ in range(COOKIES_TRIED_MAX))
    async with page(rig, "/live", f"{others}; {cookie}") as answer:
        assert answer.status == 200
    assert len(asked) <= 2, (
        "at most this session and the one that opened it, should they have to be asked for"
    )


async def test_a_code_is_good_once_at_its_own_home_for_its_owner(town: Town) -> None:
    rig = town.rig
    session = await rig.session("app:shop.alice")
    alice = await visitor_of(rig, session)
    code = await mint_entry_code(rig.tickets, alice, ALICE_HOME)
    for path, home, status in (
        (f"/-/enter?code={code}", ALICE_HOME, 303),
        (f"/-/enter?code={code}", ALICE_HOME, 403),
        ("/-/enter?code=nonsense", ALICE_HOME, 403),
        ("/-/enter", ALICE_HOME, 403),
        (f"/-/enter?code={await mint_entry_code(rig.tickets, alice, ALICE_HOME)}", BOB_HOME, 403),
        (f"/-/enter?code={await mint_entry_code(rig.tickets, alice, BOB_HOME)}", BOB_HOME, 403),
    ):
        async with page(rig, path, home=home) as answer:
            assert answer.status == status, path
            assert ("Set-Cookie" in answer.headers) is (status == 303)


@pytest.mark.parametrize(
    "to", ["//evil.example", "http://evil.example", "/../x", "\\\\evil", "/%2f/evil", ""]
)
async def test_the_way_in_leads_nowhere_else(town: Town, to: str) -> None:
    session = await town.rig.session("app:shop.alice")
    code = await mint_entry_code(town.rig.tickets, await visitor_of(town.rig, session), ALICE_HOME)
    async with page(town.rig, f"/-/enter?code={code}&to={to}") as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")


@one_worker
async def test_who_was_in_stays_in_while_nobody_can_be_asked_and_not_for_ever(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await enter(town.rig)
    async with page(town.rig, "/live", cookie) as answer:
        assert answer.status == 200

    async def silent(kind: str, key: str) -> Any:
        raise Unavailable(f"{kind} cannot be asked")

    town.rig.tickets.get = silent  # type: ignore[method-assign]
    for passed_s, status in ((TRUSTED_S + 1, 200), (TRUSTED_S + SILENT_TRUSTED_S + 1, 503)):
        with monkeypatch.context() as later:
            later.setattr("gateway.auth.sessions.asyncio", Later(passed_s))
            async with page(town.rig, "/live", cookie) as answer:
                assert answer.status == status


class Later:
    """What the sessions ask for the time, some seconds ahead."""

    def __init__(self, by_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._by_s = by_s

    def get_running_loop(self) -> "Later":
        return self

    def time(self) -> float:
        return self._clock() + self._by_s


async def test_signing_out_at_the_gateway_ends_the_homes_session_too(town: Town) -> None:
    rig = town.rig
    session = await rig.session("app:shop.alice")
    visitor = await visitor_of(rig, session)
    code = await mint_entry_code(rig.tickets, visitor, ALICE_HOME)
    async with page(rig, f"/-/enter?code={code}") as answer:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    async with page(rig, "/live", cookie) as answer:
        assert answer.status == 200
    headers = {"Cookie": session, "Origin": rig.origin}
    async with rig.request("POST", "/signout", headers=headers, data={"csrf": visitor.csrf}) as answer:
        assert answer.status == 303

    async def is_out() -> bool:
        async with page(rig, "/live", cookie) as answer:
            return bool(answer.status == 401)

    from tests.gateway.rig import until_true

    await until_true(is_out, "the end of the Home's session")


async def test_n67_mcp_is_not_spoken_at_a_homes_origin(town: Town) -> None:
    cookie = await enter(town.rig)
    for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {town.key}", "X-App-User": "alice"}):
        async with town.rig.request("POST", "/mcp", host=host(town.rig), headers=headers) as answer:
            assert answer.status == 404
            assert f"{town.rig.origin}/mcp" in (await answer.json())["detail"]
    assert not town.alice.requests


async def test_a_hosted_link_opens_for_whoever_knows_the_hostname_and_nothing_else_does(town: Town) -> None:
    async with page(town.rig, f"/dpage/{ALICE_HOME}-1/x") as answer:
        assert (await answer.json())["container"] == "alice"
    for path in (f"/dpage/{BOB_HOME}-1", "/dpage/1", "/dpage", f"/live/{ALICE_HOME}-1", f"/{ALICE_HOME}-1"):
        async with page(town.rig, path) as answer:
            assert answer.status in (401, 404), path
    async with page(town.rig, "/dpage/1", await enter(town.rig)) as answer:
        assert answer.status == 200, "the owner may all the same"


async def test_a_link_whose_id_comes_last_opens_its_own_home_and_no_other(town: Town) -> None:
    for path in (f"/api/auth/v1/shop/{ALICE_HOME}-1", f"/api/auth/{BOB_HOME}-1/{ALICE_HOME}-1"):
        async with page(town.rig, path, method="POST", Origin=f"http://{host(town.rig)}") as answer:
            assert (await answer.json())["container"] == "alice"
    for path in (
        f"/api/auth/v1/shop/{BOB_HOME}-1",
        f"/api/auth/{ALICE_HOME}-1/{BOB_HOME}-1",
        f"/api/auth/{ALICE_HOME}-1/shop",
        f"/api/auth/shop/{ALICE_HOME}-1/",
        f"/api/auth/shop/{ALICE_HOME}-1/shop",
        "/api/auth/v1/shop",
        "/api/auth",
    ):
        async with page(town.rig, path) as answer:
            assert answer.status == 401, path
    async with page(town.rig, "/api/auth/v1/shop", await enter(town.rig)) as answer:
        assert answer.status == 200, "the owner may all the same"
    assert len(town.alice.requests) == 3
    assert not town.bob.requests


async def test_what_is_anyones_needs_nothing_and_waits_for_nothing(town: Town) -> None:
    async with page(town.rig, "/static/app.css") as answer:
        assert answer.status == 200
    await town.rig.unroute("alice")
    await town.rig.applied()
    async with page(town.rig, "/static/app.css") as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    await town.rig.flush_demand()
    from state.kinds.demand import Demand

    demand = await town.rig.read(lambda tx: tx.get(Demand, "alice"))
    assert demand is None, "nobody in particular keeps nothing awake"


async def test_a_home_that_nobody_owns_does_not_exist(town: Town) -> None:
    unknown = "zzzzzzzzzzzzzzzzzzzzzzzzzz"
    for path in ("/live", "/static/x", f"/dpage/{unknown}-1", "/-/enter?code=x"):
        async with page(town.rig, path, home=unknown) as answer:
            assert answer.status == 404


async def test_a_foreign_page_can_neither_post_nor_open_a_websocket(town: Town) -> None:
    cookie = await enter(town.rig)
    bobs_page = f"http://{host(town.rig, BOB_HOME)}"
    for headers in ({"Origin": bobs_page}, {"Origin": town.rig.origin}, {"Sec-Fetch-Site": "same-site"}):
        async with page(town.rig, "/live", cookie, method="POST", **headers) as answer:
            assert answer.status == 403, headers
    async with page(town.rig, "/live", cookie, method="POST", Origin=f"http://{host(town.rig)}") as answer:
        assert answer.status == 200
    url = f"ws://127.0.0.1:{town.rig.port}/ws"
    headers = {"Host": host(town.rig), "Cookie": cookie}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await town.rig.client.ws_connect(url, headers={**headers, "Origin": bobs_page})
    assert refused.value.status == 403
    own = {**headers, "Origin": f"http://{host(town.rig)}"}
    async with town.rig.client.ws_connect(url, headers=own) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "alice: hello"
    assert len(town.alice.requests) == 2


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
async def test_another_origins_page_may_link_to_an_owners_page_and_neither_frame_nor_read_it(
    town: Town, site: str
) -> None:
    """Sibling Homes below one domain are one site: the browser sends the owner's cookie along."""
    cookie = await enter(town.rig)
    for mode, dest, status in (
        ("navigate", "document", 200),
        ("navigate", "iframe", 403),
        ("navigate", "object", 403),
        ("no-cors", "script", 403),
        ("no-cors", "image", 403),
        ("cors", "empty", 403),
    ):
        fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        async with page(town.rig, "/live", cookie, **fetched) as answer:
            assert answer.status == status, (mode, dest)
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    async with page(town.rig, "/live", cookie, **own) as answer:
        assert answer.status == 200
    async with page(town.rig, f"/dpage/{ALICE_HOME}-1", **{**own, "Sec-Fetch-Site": site}) as answer:
        assert answer.status == 200, "what a link opens is no secret of a cookie's"


@pytest.mark.parametrize("path", ["/static/x", f"/dpage/{ALICE_HOME}-1"])
async def test_a_stranger_learns_that_a_container_is_not_ready_and_not_why(town: Town, path: str) -> None:
    rig = town.rig
    await rig.unroute("alice")
    said = "container 3f2a ended with 137; image secret/image:1"
    await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "CrashLoop", said)
    await rig.status("alice", restart_after=datetime.now(UTC) + timedelta(hours=1))
    await rig.applied()
    for accept in ({}, HTML):
        async with page(rig, path, **accept) as answer:
            text = await answer.text()
            assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
        assert "not ready" in text
        assert "CrashLoop" not in text
        assert "secret" not in text
    async with page(rig, "/live", await enter(rig)) as answer:
        assert said in await answer.text(), "its owner is told"


async def test_a_browser_gets_a_waiting_page_that_follows_until_the_container_answers(town: Town) -> None:
    cookie = await enter(town.rig)
    await town.rig.unroute("alice")
    await town.rig.applied()
    async with page(town.rig, "/live", cookie, **HTML) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (503, "text/html")
        assert int(answer.headers["Retry-After"]) >= 1
    assert '<meta http-equiv="refresh"' in text, "it works without scripts"
    assert "/-/events" in text
    async with page(town.rig, "/-/events", cookie, Accept="text/event-stream") as answer:
        assert answer.content_type == "text/event-stream"
        assert b'"ready":false' in (await _event(answer))
        await town.rig.route("alice", town.alice, ALICE_HOME)
        assert b'"ready":true' in (await _event(answer))
    async with page(town.rig, "/live", cookie, **HTML) as answer:
        assert (await answer.json())["container"] == "alice"
    await until(lambda: town.rig.followers_count == 0, "the end of the stream")


async def test_a_page_that_comes_within_the_moment_needs_no_waiting_page(town: Town) -> None:
    cookie = await enter(town.rig)
    await town.rig.unroute("alice")
    await town.rig.applied()

    async def navigate() -> str:
        async with page(town.rig, "/live", cookie, **HTML) as answer:
            return str((await answer.json())["container"])

    navigation = asyncio.create_task(navigate())
    await until(lambda: town.rig.held_count == 1)
    await town.rig.route("alice", town.alice, ALICE_HOME)
    assert await navigation == "alice"


async def test_progress_is_shown_no_longer_than_the_session_lasts(town: Town) -> None:
    rig = town.rig
    cookie = await enter(rig)
    async with page(rig, "/-/events", cookie) as answer:
        assert b"ready" in await _event(answer)
        await rig.tickets.revoke(TicketKind.HOME_SESSION, key_of(cookie.partition("=")[2]))  # elsewhere
        rig.forget_sessions()  # and some time went by
        await rig.unroute("alice")
        assert b"data: " not in await asyncio.wait_for(answer.content.read(), PATIENCE_S)
    await until(lambda: rig.followers_count == 0)


async def test_progress_is_shown_to_the_owner_only(town: Town) -> None:
    for cookie in ("", await enter(town.rig, "app:shop.bob", BOB_HOME)):
        async with page(town.rig, "/-/events", cookie) as answer:
            assert answer.status == 403


async def test_the_paths_of_the_gateway_at_a_homes_origin_are_never_the_containers(town: Town) -> None:
    cookie = await enter(town.rig)
    for path in ("/-/anything", "/-/api/v1/containers", "/-/restart", "/-/open"):
        async with page(town.rig, path, cookie) as answer:
            assert answer.status in (404, 405), path
    assert not town.alice.requests


async def test_codes_and_sessions_are_kept_as_hashes_only(town: Town) -> None:
    cookie = await enter(town.rig)
    link = await mint_sign_in_link(town.rig.tickets, town.rig.origin)
    secrets = [cookie.partition("=")[2], link.partition("=")[2]]
    kept = b"".join(path.read_bytes() for path in town.rig.folder.iterdir())
    assert all(secret.encode() not in kept for secret in secrets)
    assert local_user().encode() in kept


async def _event(answer: aiohttp.ClientResponse) -> bytes:
    while True:
        line = await asyncio.wait_for(answer.content.readline(), 20)
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            return line
