"""One connection, the same head again and again: what its checks found is kept, and never a change too long.

Each test proves first that the request before the change went the kept way: without that, it would show
nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from gateway.doors import GatewayDoor
from gateway.doorway import Clearance
from state.kinds.app import App, key_sha256, mint_key
from state.kinds.template import ContainerTemplate, Route
from state.kinds.user_container import DATA_FINALIZER, UserContainer
from tests.gateway.conftest import Town
from tests.gateway.rig import bearer, container, until


@dataclass
class Line:
    """A client with one connection that it keeps."""

    town: Town
    client: aiohttp.ClientSession
    kept: list[bool] = field(default_factory=list)  # of each look at what was kept: whether it was still good

    async def call(self, path: str = "/mcp", user: str = "alice") -> tuple[int, dict[str, Any]]:
        headers = {"Host": f"localhost:{self.town.rig.port}", **bearer(self.town.key, user)}
        async with self.client.post(self.town.rig.url(path), headers=headers, data=b"{}") as answer:
            return answer.status, await answer.json(content_type=None)

    async def settle(self, path: str = "/mcp", user: str = "alice") -> None:
        """Ask until what was found is kept and used: a first connection is dialled on the other way."""
        for _ in range(20):
            self.kept.clear()
            status, _ = await self.call(path, user)
            assert status == 200
            if self.kept == [True]:
                return
        raise AssertionError("no request went the kept way")


@pytest.fixture
async def line(town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as client:
        line = Line(town, client)
        asked = GatewayDoor.still_clears

        def noted(door: GatewayDoor, cleared: Clearance) -> bool:
            is_good = asked(door, cleared)
            line.kept.append(is_good)
            return is_good

        monkeypatch.setattr(GatewayDoor, "still_clears", noted)
        await line.settle()
        yield line


async def test_a_key_withdrawn_is_refused_on_the_same_connection(line: Line) -> None:
    def withdraw(tx: Any) -> None:
        app = tx.get(App, "shop")
        spec = app.spec.model_copy(update={"key_sha256": key_sha256(mint_key())})
        tx.update_spec(app.replaced(spec=spec))

    await line.town.rig.write(withdraw)
    await line.town.rig.applied()
    asked_before = len(line.town.alice.requests)
    assert (await line.call())[0] == 401
    assert len(line.town.alice.requests) == asked_before


async def test_a_route_taken_from_the_template_is_gone_on_the_same_connection(line: Line) -> None:
    def change(tx: Any) -> None:
        template = tx.get(ContainerTemplate, "demo")
        routes = (Route(path="/tools", protocol="mcp"),)
        tx.update_spec(template.replaced(spec=template.spec.model_copy(update={"routes": routes})))

    await line.town.rig.write(change)
    await line.town.rig.applied()
    assert (await line.call())[0] == 404
    assert (await line.call("/tools"))[0] == 200


async def test_a_user_who_is_made_anew_reaches_the_new_container_alone(line: Line) -> None:
    rig = line.town.rig
    await rig.write(lambda tx: tx.delete(tx.get(UserContainer, "alice")))
    await rig.write(lambda tx: tx.drop_finalizer(tx.get(UserContainer, "alice"), DATA_FINALIZER))
    await rig.applied()
    asked_before = len(line.town.alice.requests)
    async with container("second") as second:
        await rig.add_user("alice", "app:shop.alice")
        await rig.route("alice", second)
        await rig.applied()
        status, seen = await line.call()
        assert (status, seen["container"]) == (200, "second")
        await line.settle()
        assert (await line.call())[1]["container"] == "second"
    assert len(line.town.alice.requests) == asked_before


async def test_a_container_replaced_is_not_asked_again_on_the_same_connection(line: Line) -> None:
    async with container("second") as second:
        await line.town.rig.route("alice", second)
        await line.town.rig.applied()
        asked_before = len(line.town.alice.requests)
        assert (await line.call())[1]["container"] == "second"
    assert len(line.town.alice.requests) == asked_before


async def test_another_user_on_the_same_connection_is_checked_for_himself(line: Line) -> None:
    assert (await line.call(user="bob"))[1]["container"] == "bob"
    assert (await line.call(user="alice"))[1]["container"] == "alice"
    assert (await line.call("/u/app:shop.bob/mcp", user="alice"))[0] == 403


async def test_nothing_kept_is_believed_without_the_lease(line: Line) -> None:
    """As after a lease that was lost: barriers no longer wait for this worker, so it may route nowhere."""
    asked_before = len(line.town.alice.requests)
    line.town.rig.suspend()
    late = asyncio.create_task(line.call())
    await until(lambda: line.kept[-1:] == [True] and len(line.kept) > 1)
    await asyncio.sleep(0.2)
    assert not late.done()
    assert len(line.town.alice.requests) == asked_before
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
