"""The gateway's own pages: the local developer's sign-in, the account, and what a form must carry."""

import asyncio
import html
import re
from typing import Any

import pytest

from gateway.auth.local import local_user, mint_sign_in_link
from gateway.pages.set_up import set_ups
from gateway.worker import is_bound_to_loopback
from state.kinds.request import Outcome, Request, RequestStatus, Verb
from state.kinds.resource import ConditionType, Truth
from state.kinds.user_container import UserContainer, UserContainerSpec, new_user_container
from tests.gateway.conftest import ALICE_HOME, Town
from tests.gateway.rig import PATIENCE_S, Rig, gateway, until, until_true
from tests.gateway.test_homes import HTML, _event


async def sign_in(rig: Rig) -> tuple[str, str]:
    """By the link; the session's cookie, and the CSRF token that the account page carries."""
    link = await mint_sign_in_link(rig.tickets, rig.origin)
    async with rig.request("GET", link.removeprefix(rig.origin), headers=HTML) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/"), await answer.text()
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return cookie, await csrf_of(rig, cookie)


async def csrf_of(rig: Rig, cookie: str) -> str:
    async with rig.request("GET", "/", headers={**HTML, "Cookie": cookie}) as answer:
        assert answer.status == 200
        found = re.search(r'name="csrf" value="([^"]+)"', await answer.text())
    assert found is not None
    return html.unescape(found[1])


async def account(rig: Rig, cookie: str) -> str:
    async with rig.request("GET", "/", headers={**HTML, "Cookie": cookie}) as answer:
        assert answer.status == 200
        return str(await answer.text())


def post(rig: Rig, path: str, cookie: str, fields: dict[str, str], **headers: str) -> Any:
    sent = {"Cookie": cookie, "Origin": rig.origin, **headers}
    return rig.request("POST", path, headers=sent, data=fields)


async def test_the_link_signs_the_local_developer_in_once_and_makes_a_container(rig: Rig) -> None:
    await rig.add_template()
    await rig.add_app("local")
    await rig.applied()
    link = (await mint_sign_in_link(rig.tickets, rig.origin)).removeprefix(rig.origin)
    async with rig.request("GET", link, headers=HTML) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"mcpgw=[\w-]{63}; Path=/; HttpOnly; SameSite=Lax; Max-Age=\d+", cookie)
    [made] = await rig.read(lambda tx: tx.list(UserContainer))
    assert made.spec.user == local_user() == "app:local.developer"
    async with rig.request("GET", link, headers=HTML) as answer:
        assert answer.status == 403
        assert not answer.headers.get("Set-Cookie", "").startswith("mcpgw=")
    text = await account(rig, cookie.partition(";")[0])
    assert f"{rig.origin}/mcp" in text
    assert "Starting" in text


async def test_without_a_session_the_account_leads_to_the_sign_in_page(rig: Rig) -> None:
    for path in ("/", "/account"):
        async with rig.request("GET", path, headers=HTML) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/signin")
    async with rig.request("GET", "/signin", headers=HTML) as answer:
        assert answer.status == 200
        assert "terminal" in await answer.text()


async def test_the_local_developer_hears_what_an_admin_takes(rig: Rig) -> None:
    cookie, _ = await sign_in(rig)
    async with rig.request("GET", "/admin", headers={**HTML, "Cookie": cookie}) as answer:
        assert answer.status == 403
        assert "Admins sign in at an identity provider, and none is configured" in await answer.text()


def test_where_clouds_cannot_connect_their_set_up_says_so() -> None:
    def unfit(url: str) -> list[str]:
        return [one.client for one in set_ups(url) if "needs an https address" in one.words]

    assert unfit("http://localhost:9000/mcp") == ["Claude", "ChatGPT"]
    assert unfit("https://mcp.example.com/mcp") == []


async def test_a_browser_that_looks_ahead_does_not_use_the_link_up(rig: Rig) -> None:
    link = (await mint_sign_in_link(rig.tickets, rig.origin)).removeprefix(rig.origin)
    async with rig.request("GET", link, headers={**HTML, "Sec-Purpose": "prefetch;prerender"}) as answer:
        assert answer.status == 425
    async with rig.request("HEAD", link) as answer:
        assert answer.status == 425
    async with rig.request("GET", link, headers=HTML) as answer:
        assert answer.status == 303


async def test_links_sign_in_only_where_the_gateway_is_local() -> None:
    async with gateway(gateway_origin="https://gw.example.com") as rig:
        link = await mint_sign_in_link(rig.tickets, "")
        async with rig.request("GET", link, host="gw.example.com", headers=HTML) as answer:
            assert answer.status == 404
        async with rig.request("GET", "/signin", host="gw.example.com", headers=HTML) as answer:
            assert "nobody can sign in" in await answer.text()


async def test_a_socket_that_others_can_reach_is_not_local() -> None:
    import socket

    for address, is_local in (("127.0.0.1", True), ("0.0.0.0", False)):
        with socket.socket() as listener:
            listener.bind((address, 0))
            assert is_bound_to_loopback(listener) is is_local


async def test_cookies_on_https_are_bound_to_their_host() -> None:
    async with gateway(gateway_origin="https://gw.example.com") as rig:
        cookie = await rig.worker._desk.sessions.open("app:shop.alice")
        assert cookie.startswith("__Host-mcpgw=")
        assert "; Secure" in cookie
        assert "Domain" not in cookie


async def test_every_page_is_fenced_in(rig: Rig) -> None:
    for path in ("/signin", "/nothing"):
        async with rig.request("GET", path, headers=HTML) as answer:
            policy = answer.headers["Content-Security-Policy"]
            text = await answer.text()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        for kind in ("script", "style", "img"):  # a hosted link at this origin is no file of ours
            assert f"{kind}-src {rig.origin}/-/static/;" in policy
        assert not re.search(r"<script(?! src=)|\son\w+=|style=", text), "no inline script or style"


async def test_the_account_shows_the_conditions_and_escapes_what_containers_say(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    await rig.unroute("alice")
    await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "Odd", "<script>alert(1)</script>")
    await rig.applied()
    text = await account(rig, cookie)
    assert "In trouble" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "bob" not in text


async def test_the_account_page_follows_what_happens(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    async with rig.request("GET", "/-/events", headers={"Cookie": cookie}) as answer:
        assert b"Ready" in await _event(answer)
        await rig.unroute("alice")
        assert b"Starting" in await _event(answer)
        await until(lambda: rig.followers_count == 1)
    async with rig.request("GET", "/-/events") as answer:
        assert answer.status == 403


async def test_the_account_page_follows_no_longer_than_the_session_lasts(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    async with rig.request("GET", "/-/events", headers={"Cookie": cookie}) as answer:
        assert b"Ready" in await _event(answer)
        async with post(rig, "/signout", cookie, {"csrf": csrf}) as signed_out:
            assert signed_out.status == 303
        rig.forget_sessions()  # what another worker believes for a moment
        await rig.unroute("alice")
        assert b"data: " not in await asyncio.wait_for(answer.content.read(), PATIENCE_S)
    await until(lambda: rig.followers_count == 0)


async def test_restart_is_asked_for_once_and_only_for_ones_own(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    for _ in range(2):
        async with post(rig, "/-/restart", cookie, {"csrf": csrf, "name": "alice"}) as answer:
            assert answer.status == 303
    async with post(rig, "/-/restart", cookie, {"csrf": csrf, "name": "bob"}) as answer:
        assert answer.status == 404
    [request] = await rig.read(lambda tx: tx.list(Request))
    assert (request.spec.user_container, request.spec.verb) == ("alice", Verb.RESTART)
    assert request.spec.asked_by == "app:shop.alice"

    done = request.replaced(status=RequestStatus(outcome=Outcome.DONE))
    await rig.store.transact(lambda tx: tx.update_status(done), actor="test")
    async with post(rig, "/-/restart", cookie, {"csrf": csrf, "name": "alice"}) as answer:
        assert answer.status == 303
    [again] = await rig.read(lambda tx: tx.list(Request))
    assert again.name != request.name, "what is done is forgotten when the next is asked for"


@pytest.mark.parametrize("path", ["/-/restart", "/-/open", "/-/start", "/signout"])
async def test_a_form_of_another_origin_or_without_its_token_is_403(town: Town, path: str) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    bob = await rig.session("app:shop.bob")
    fields = {"name": "alice", "path": "/live"}
    for token in ("", "nonsense", await csrf_of(rig, bob)):
        async with post(rig, path, cookie, {**fields, "csrf": token}) as answer:
            assert answer.status == 403
    for origin in ("http://evil.example", "null", f"http://{ALICE_HOME}.localhost:{rig.port}"):
        async with post(rig, path, cookie, {**fields, "csrf": csrf}, Origin=origin) as answer:
            assert answer.status == 403
    async with post(rig, path, "", {**fields, "csrf": csrf}) as answer:
        assert answer.status == 403
    assert not await rig.read(lambda tx: tx.list(Request))
    assert await account(rig, cookie)


async def test_open_leads_into_the_homes_own_origin(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    async with post(rig, "/-/open", cookie, {"csrf": csrf, "name": "alice", "path": "/live"}) as answer:
        location = answer.headers["Location"]
    home = f"http://{ALICE_HOME}.localhost:{rig.port}"
    assert re.fullmatch(rf"{home}/-/enter\?code=[\w-]+&to=/live", location)
    async with rig.request(
        "GET", location.removeprefix(home), host=home.removeprefix("http://"), headers=HTML
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/live")
    for fields in ({"name": "bob", "path": "/live"}, {"name": "alice", "path": "//evil.example"}):
        async with post(rig, "/-/open", cookie, {"csrf": csrf, **fields}) as answer:
            assert answer.status == 404


async def test_a_form_beyond_its_bounds_is_refused(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    async with post(rig, "/-/restart", cookie, {"csrf": "x" * 40_000}) as answer:
        assert answer.status == 413
    async with post(rig, "/-/restart", cookie, {f"f{n}": "x" for n in range(50)}) as answer:
        assert answer.status == 400


async def test_signing_out_ends_the_session(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    async with post(rig, "/signout", cookie, {"csrf": await csrf_of(rig, cookie)}) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/signin")
        assert "Max-Age=0" in answer.headers["Set-Cookie"]

    async def is_out() -> bool:
        async with rig.request("GET", "/", headers={"Cookie": cookie}) as answer:
            return bool(answer.status == 303)

    if len(rig.workers) == 1:
        assert await is_out(), "at once"
    await until_true(is_out, "its end at every worker")


async def test_whoever_has_no_container_is_offered_one(rig: Rig) -> None:
    await rig.add_template()
    await rig.applied()
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    for _ in range(2):
        async with post(rig, "/-/start", cookie, {"csrf": csrf}) as answer:
            assert answer.status == 303
    assert len(await rig.read(lambda tx: tx.list(UserContainer))) == 1


# The API


async def test_an_app_and_a_person_read_their_own_containers(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {town.key}", "X-App-User": "alice"}):
        async with rig.request("GET", "/-/api/v1/containers", headers=headers) as answer:
            items = (await answer.json())["items"]
        assert [(item["name"], item["phase"]) for item in items] == [("alice", "Ready")]
        async with rig.request("GET", "/-/api/v1/containers/alice", headers=headers) as answer:
            assert (await answer.json())["template"] == "demo"
        async with rig.request("GET", "/-/api/v1/containers/bob", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")
    async with rig.request("GET", "/-/api/v1/containers") as answer:
        assert answer.status == 401


async def test_the_api_restarts_for_an_app_and_for_a_person_with_the_token(town: Town) -> None:
    rig = town.rig
    path = "/-/api/v1/containers/alice/restart"
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    for headers, status in (
        ({"Cookie": cookie}, 403),
        ({"Cookie": cookie, "X-CSRF-Token": csrf}, 202),
        ({"Authorization": f"Bearer {town.key}", "X-App-User": "alice"}, 202),
        ({"Authorization": f"Bearer {town.key}", "X-App-User": "bob"}, 404),
        ({}, 401),
    ):
        async with rig.request("POST", path, headers=headers) as answer:
            assert answer.status == status, headers
    assert len(await rig.read(lambda tx: tx.list(Request))) == 1


async def test_the_api_takes_away_ones_own_container_alone(town: Town) -> None:
    rig, spec = town.rig, UserContainerSpec(user="app:shop.carol", template="demo")
    await rig.write(lambda tx: tx.create(new_user_container("carol", spec, managed_by="api")))
    await rig.applied()
    key = f"Bearer {town.key}"
    for name, headers, status in (
        ("carol", {"Cookie": await rig.session("app:shop.carol")}, 403),
        ("carol", {"Authorization": key, "X-App-User": "alice"}, 404),
        ("carol", {}, 401),
        ("alice", {"Authorization": key, "X-App-User": "alice"}, 409),
        ("carol", {"Authorization": key, "X-App-User": "carol"}, 202),
    ):
        async with rig.request("DELETE", f"/-/api/v1/containers/{name}", headers=headers) as answer:
            assert answer.status == status, headers
    found = await rig.read(lambda tx: tx.list(UserContainer))
    assert [one.name for one in found if one.metadata.is_deleted] == ["carol"]


async def test_reserved_paths_are_never_a_containers(town: Town) -> None:
    headers = {"Authorization": f"Bearer {town.key}", "X-App-User": "alice"}
    for path, status in (
        ("/.well-known/oauth-protected-resource/mcp", 200),
        ("/.well-known/oauth-protected-resource/live", 404),
        ("/.well-known/oauth-authorization-server", 200),
        ("/.well-known/nothing", 404),
        ("/register", 405),
        ("/authorize", 400),
        ("/token", 405),
        ("/revoke", 405),
        ("/admin", 303),
        ("/admin/nothing", 404),
        ("/auth/callback", 403),
        ("/-/nothing", 404),
    ):
        async with town.rig.request("GET", path, headers=headers) as answer:
            assert answer.status == status, path
    assert not town.alice.requests


async def test_files_of_the_pages_are_served_and_nothing_beside_them(rig: Rig) -> None:
    for path, kind in (
        ("gateway.css", "text/css"),
        ("gateway.js", "text/javascript"),
        ("favicon.svg", "image/svg+xml"),
    ):
        async with rig.request("GET", f"/-/static/{path}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
    for path in ("../render.py", "..%2frender.py", "%2e%2e/render.py"):
        answer = await rig.raw(f"GET /-/static/{path} HTTP/1.1\r\nhost: localhost:{rig.port}\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
