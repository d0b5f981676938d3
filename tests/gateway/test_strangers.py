"""Crowds at one Home: its container bears only so much, neighbours notice nothing, its owner comes in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from gateway.auth import throttle
from gateway.auth.home_entry import mint_entry_code
from gateway.auth.throttle import Pace
from gateway.settings import GatewaySettings
from state.kinds.access_policy import Rule
from tests.gateway.conftest import ALICE_HOME, BOB_HOME, Town
from tests.gateway.rig import container, gateway
from tests.gateway.test_homes import visitor_of

pytestmark = pytest.mark.usefixtures("no_time_passes")

CROWD = 20
BURST = 5
HOST = "gw.example.com"
PROXY = GatewaySettings(trusted_proxies="127.0.0.1").trusted_proxies
_ADDRESSES = (f"192.0.2.{number % 250}" for number in count(1))


@asynccontextmanager
async def people(**settings: str) -> AsyncIterator[Town]:
    """Two users of a provider, with a container and a Home each, behind a proxy that tells addresses."""
    async with (
        gateway(trusted_proxies=PROXY, **settings) as rig,
        container("alice") as alice,
        container("bob") as bob,
    ):
        await rig.add_template()
        await rig.add_policy(Rule(provider="github"))
        for name, home, stand_in in (("alice", ALICE_HOME, alice), ("bob", BOB_HOME, bob)):
            await rig.add_user(name, f"github:{name}")
            await rig.give_home(name, home)
            await rig.route(name, stand_in, home)
            await rig.signed_in(f"github:{name}")
        await rig.applied()
        yield Town(rig, "", alice, bob)


async def status(town: Town, path: str, *, host: str, cookie: str = "") -> int:
    """Each time from another address."""
    headers = {"X-Forwarded-For": next(_ADDRESSES), **({"Cookie": cookie} if cookie else {})}
    async with town.rig.request("GET", path, host=host, headers=headers) as answer:
        return int(answer.status)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LINK_HOME", "OPEN_HOME"):
        monkeypatch.setattr(throttle, name, Pace(1.0, BURST))


@pytest.mark.usefixtures("narrow")
async def test_a_crowd_at_one_link_is_held_back_and_its_owner_and_its_neighbour_are_not() -> None:
    async with people(gateway_origin=f"https://{HOST}") as town:
        link = f"/dpage/{ALICE_HOME}-7"
        told = [await status(town, link, host=HOST) for _ in range(CROWD)]
        assert told == [200] * BURST + [429] * (CROWD - BURST)
        assert len(town.alice.requests) == BURST
        assert await status(town, f"/dpage/{BOB_HOME}-7", host=HOST) == 200
        owner, neighbour = [await town.rig.session(f"github:{name}") for name in ("alice", "bob")]
        for _ in range(2 * BURST):
            assert await status(town, link, host=HOST, cookie=owner) == 200
        for cookie in (neighbour, owner + "x", ""):
            assert await status(town, link, host=HOST, cookie=cookie) == 429


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("path", [f"/dpage/{ALICE_HOME}-7", "/static/app.css"])
async def test_a_crowd_at_a_homes_origin_does_not_keep_its_owner_out(path: str) -> None:
    async with people() as town:
        rig = town.rig
        alice, bob = (f"{home}.localhost:{rig.port}" for home in (ALICE_HOME, BOB_HOME))
        told = [await status(town, path, host=alice) for _ in range(CROWD)]
        assert told == [200] * BURST + [429] * (CROWD - BURST)
        assert len(town.alice.requests) == BURST
        assert await status(town, path.replace(ALICE_HOME, BOB_HOME), host=bob) == 200
        visitor = await visitor_of(rig, await rig.session("github:alice"))
        code = await mint_entry_code(rig.tickets, visitor, ALICE_HOME)
        async with rig.request("GET", f"/-/enter?code={code}", host=alice) as answer:
            assert answer.status == 303
            owner = answer.headers["Set-Cookie"].partition(";")[0]
        for _ in range(2 * BURST):
            assert await status(town, path, host=alice, cookie=owner) == 200


async def test_crowds_at_every_link_do_not_use_up_the_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "LINK_ALL", Pace(1.0, BURST))
    async with people() as town:
        rig = town.rig
        alice = f"{ALICE_HOME}.localhost:{rig.port}"
        told = [await status(town, f"/dpage/{ALICE_HOME}-7", host=alice) for _ in range(CROWD)]
        assert told.count(429) == CROWD - BURST
        visitor = await visitor_of(rig, await rig.session("github:alice"))
        for _ in range(2 * BURST):
            code = await mint_entry_code(rig.tickets, visitor, ALICE_HOME)
            assert await status(town, f"/-/enter?code={code}", host=alice) == 303
