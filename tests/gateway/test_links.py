"""Hosted links without a wildcard domain: on the gateway's origin, and nothing of it."""

from collections.abc import AsyncIterator

import pytest

from gateway.links import SANDBOX
from state.kinds.access_policy import Rule
from state.kinds.account import Decision
from tests.gateway.conftest import ALICE_HOME, BOB_HOME, Town
from tests.gateway.rig import container, gateway

HOST = "gw.example.com"


@pytest.fixture
async def bare() -> AsyncIterator[Town]:
    """A gateway without an origin for each Home."""
    async with (
        gateway(gateway_origin=f"https://{HOST}") as rig,
        container("alice") as alice,
        container("bob") as bob,
    ):
        await rig.add_template()
        key = await rig.add_app("shop")
        for name, home, stand_in in (("alice", ALICE_HOME, alice), ("bob", BOB_HOME, bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.give_home(name, home)
            await rig.route(name, stand_in, home)
        await rig.applied()
        yield Town(rig, key, alice, bob)


async def test_a_hosted_link_is_served_in_a_sandbox(bare: Town) -> None:
    async with bare.rig.request("GET", f"/dpage/{ALICE_HOME}-7?x=1", host=HOST) as answer:
        assert answer.status == 200
        assert (await answer.json())["container"] == "alice"
        assert SANDBOX.decode() in answer.headers.getall("Content-Security-Policy")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_container_sets_no_cookie_on_the_gateways_origin(bare: Town) -> None:
    """The stand-in tries, and may at an origin of its own."""
    async with bare.rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "name",
    [
        "NEL",
        "Report-To",
        "Reporting-Endpoints",
        "Strict-Transport-Security",
        "Public-Key-Pins",
        "Alt-Svc",
        "Refresh",
        "Set-Cookie",
        "Service-Worker-Allowed",
        "Clear-Site-Data",
        "Content-Security-Policy-Report-Only",
        "WWW-Authenticate",
        "Link",
        "Permissions-Policy",
        "X-Whatever",
    ],
)
async def test_a_container_says_nothing_that_holds_for_the_gateways_origin(bare: Town, name: str) -> None:
    bare.alice.more_headers = [(name.lower().encode(), b"1; url=/")]
    async with bare.rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
        assert answer.status == 200
        assert name not in answer.headers


async def test_what_describes_the_answer_alone_stays(bare: Town) -> None:
    said = {"ETag": '"1"', "Location": "/x", "Vary": "Accept", "Content-Security-Policy": "img-src 'none'"}
    bare.alice.more_headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
    async with bare.rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
        assert all(value in answer.headers.getall(name) for name, value in said.items())
        assert SANDBOX.decode() in answer.headers.getall("Content-Security-Policy")


async def test_a_sandboxed_form_is_sent_without_our_cookies(bare: Town) -> None:
    headers = {"Origin": "null", "Cookie": "__Host-mcpgw=secret; mcpgw=secret"}
    async with bare.rig.request(
        "POST", f"/dpage/{ALICE_HOME}-7", host=HOST, headers=headers, data={"a": "b"}
    ) as answer:
        seen = await answer.json()
    assert (seen["method"], seen["body"]) == ("POST", "a=b")
    assert "secret" not in str(seen["headers"])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/live", id="an_owners_page"),
        pytest.param(f"/live/{ALICE_HOME}-7", id="an_owners_page_that_looks_like_a_link"),
        pytest.param("/static/x.js", id="anyones_page_names_no_home"),
        pytest.param(f"/static/{ALICE_HOME}-7", id="anyones_page_with_a_home"),
        pytest.param("/dpage/7", id="no_home"),
        pytest.param(f"/dpage/{ALICE_HOME}", id="no_link"),
        pytest.param(f"/dpage/{ALICE_HOME}-", id="an_empty_link"),
        pytest.param(f"/dpage/x/{ALICE_HOME}-7", id="further_down"),
        pytest.param(f"/dpage/{'a' * 26}-7", id="an_unknown_home"),
        pytest.param("/api/auth/v1/shop", id="no_id_at_the_end"),
        pytest.param(f"/api/auth/v1/shop/{ALICE_HOME}", id="no_link_at_the_end"),
        pytest.param(f"/api/auth/v1/shop/{ALICE_HOME}-7/", id="a_slash_at_the_end"),
        pytest.param(f"/api/auth/{ALICE_HOME}-7/shop", id="further_up"),
        pytest.param(f"/api/auth/{ALICE_HOME}-7/{'a' * 26}-7", id="an_unknown_home_at_the_end"),
        pytest.param("/", id="the_front_page_is_ours"),
    ],
)
async def test_nothing_else_of_a_container_is_there(bare: Town, path: str) -> None:
    async with bare.rig.request("GET", path, host=HOST) as answer:
        assert answer.status in (303, 404)
    assert not bare.alice.requests


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/api/auth/v1/shop/{ALICE_HOME}-7", "alice"),
        (f"/api/auth/{BOB_HOME}-7/{ALICE_HOME}-7", "alice"),
        (f"/api/auth/{ALICE_HOME}-7/{BOB_HOME}-7", "bob"),
        (f"/dpage/{ALICE_HOME}-7/{BOB_HOME}-7", "alice"),
    ],
)
async def test_of_two_homes_in_a_path_the_one_where_the_id_stands_is_reached(
    bare: Town, path: str, name: str
) -> None:
    async with bare.rig.request("POST", path, host=HOST) as answer:
        assert (answer.status, (await answer.json())["container"]) == (200, name)
    assert len(bare.alice.requests) + len(bare.bob.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        f"/api/auth/v1%2f{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7%2f{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7%252f{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7/..%2f{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7/%2e%2e/{ALICE_HOME}-7",
        f"/api/auth//{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7;/{ALICE_HOME}-7",
        f"/api/auth/{BOB_HOME}-7%5c{ALICE_HOME}-7",
    ],
)
async def test_a_link_that_could_be_read_in_two_ways_leads_nowhere(bare: Town, path: str) -> None:
    async with bare.rig.request("POST", path, host=HOST) as answer:
        assert answer.status == 400
    assert not bare.alice.requests
    assert not bare.bob.requests


async def test_where_homes_have_origins_links_are_at_them_alone(town: Town) -> None:
    home = f"http://{ALICE_HOME}.localhost:{town.rig.port}"
    async with town.rig.request("GET", f"/dpage/{ALICE_HOME}-7?x=1") as answer:
        assert (answer.status, answer.headers["Location"]) == (307, f"{home}/dpage/{ALICE_HOME}-7?x=1")
        assert (answer.headers["Cache-Control"], await answer.read()) == ("no-store", b"")
    for method, path in (
        ("POST", f"/dpage/{ALICE_HOME}-7"),
        ("GET", f"/live/{ALICE_HOME}-7"),
        ("GET", f"/static/{ALICE_HOME}-7"),
        ("GET", f"/dpage/{'a' * 26}-7"),
    ):
        async with town.rig.request(method, path) as answer:
            assert answer.status == 404, path
    assert not town.alice.requests
    async with town.rig.request(
        "GET", f"/dpage/{ALICE_HOME}-7", host=f"{ALICE_HOME}.localhost:{town.rig.port}"
    ) as answer:
        assert answer.status == 200
        assert "Content-Security-Policy" not in answer.headers


async def test_a_stranger_is_not_told_why_it_does_not_answer(bare: Town) -> None:
    async with gateway(gateway_origin=f"https://{HOST}", hold_timeout_s=1) as rig:
        await rig.add_template()
        await rig.add_user("alice", "app:shop.alice")
        await rig.give_home("alice", ALICE_HOME)
        await rig.applied()
        async with rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
            assert answer.status == 503
            assert (await answer.json())["reason"] == "NotReady"


async def test_a_persons_links_are_there_while_somebody_lets_the_person_in(bare: Town) -> None:
    async with gateway(gateway_origin=f"https://{HOST}", unmatched_users="pending") as rig:
        await rig.add_template()
        await rig.add_user("ann", "github:1")
        await rig.give_home("ann", ALICE_HOME)
        await rig.route("ann", bare.alice, ALICE_HOME)
        await rig.applied()

        async def status() -> int:
            async with rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
                return int(answer.status)

        assert await status() == 404, "who never signed in"
        await rig.signed_in("github:1")
        assert await status() == 404, "who waits for an admin"
        await rig.add_policy(Rule(provider="github"))
        assert await status() == 200
        await rig.worker._desk.accounts.decide("github:1", Decision.BANNED, "test")
        assert await status() == 404
        assert len(bare.alice.requests) == 1


@pytest.mark.usefixtures("no_time_passes")
async def test_links_are_asked_for_only_so_often(bare: Town) -> None:
    asked = [0] * 2
    for _ in range(110):
        async with bare.rig.request("GET", f"/dpage/{ALICE_HOME}-7", host=HOST) as answer:
            asked[answer.status == 429] += 1
    assert asked[1] > 0
    assert asked[0] >= 100
