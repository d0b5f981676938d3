"""Whoever was put to sleep: what wakes them and what does not, and what each of them hears."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from gateway.hold.limits import HoldLimits
from gateway.verbs import ask, ask_to_wake
from state.kinds.demand import Demand
from state.kinds.request import Outcome, Request, RequestStatus, Verb
from state.kinds.resource import ConditionType, Truth
from state.kinds.user_container import Power, UserContainer
from tests.gateway.conftest import ALICE_HOME, Town
from tests.gateway.rig import MCP_ACCEPT, PATIENCE_S, Rig, bearer, gateway, until, until_true
from tests.gateway.test_homes import HTML, enter, page
from tests.gateway.test_pages import csrf_of, post
from tests.gateway.test_worker import SilentBackend

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}'
EVENTS = {"Accept": "text/event-stream"}
LISTEN = b'{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}'
LISTENS = {"Accept": MCP_ACCEPT, "Content-Type": "application/json", "Mcp-Method": "subscriptions/listen"}


@pytest.fixture(params=(1, 2))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    limits = HoldLimits(
        timeout_s=60, navigation_s=0.2, comment_every_s=0.1, listening_max=4, listening_per_seat_max=2
    )
    async with gateway(limits, workers=request.param) as rig:
        yield rig


async def put_to_sleep(rig: Rig, name: str = "alice") -> None:
    """What the reconciler does first: the container itself goes later."""
    await rig.status(name, endpoint=None, asleep_since=datetime.now(UTC))
    await rig.condition(name, ConditionType.READY, Truth.FALSE, "Asleep", "it was put to sleep")
    await rig.applied()


async def wake(town: Town) -> None:
    await town.rig.status("alice", asleep_since=None)
    await town.rig.route("alice", town.alice, ALICE_HOME)


async def requests(rig: Rig) -> list[Request]:
    found: list[Request] = await rig.read(lambda tx: tx.list(Request))
    return found


async def until_asked_to_wake(rig: Rig) -> Request:
    await until_true(lambda: requests(rig), "a Request to wake")
    [asked] = await requests(rig)
    assert (asked.spec.verb, asked.spec.user_container) == (Verb.WAKE, "alice")
    return asked


def listeners(rig: Rig) -> int:
    return sum(worker._delivery.listening_count for worker in rig.workers)


# --- what wakes ------------------------------------------------------------------------------------


async def test_calls_wake_once_for_all_and_are_answered_by_the_woken_container(town: Town) -> None:
    rig = town.rig
    await put_to_sleep(rig)
    calls = [asyncio.create_task(rig.mcp(town.key, "alice")) for _ in range(6)]
    await until(lambda: rig.held_count == 6, "six held requests")
    await until_asked_to_wake(rig)
    assert not town.alice.requests
    await wake(town)
    assert [answer["container"] for answer in await asyncio.gather(*calls)] == ["alice"] * 6
    assert len(await requests(rig)) == 1
    assert await rig.mcp(town.key, "bob")


async def test_a_browser_that_opens_a_page_wakes_and_follows_it(town: Town) -> None:
    rig = town.rig
    cookie = await enter(rig)
    await put_to_sleep(rig)
    async with page(rig, "/live", cookie, **HTML) as answer:
        assert answer.status == 503
        assert "/-/static/gateway.js" in await answer.text()
    await until_asked_to_wake(rig)
    await wake(town)
    await rig.applied()
    async with page(rig, "/live", cookie, **HTML) as answer:
        assert (await answer.json())["container"] == "alice"


async def test_a_websocket_of_the_owners_wakes(town: Town) -> None:
    rig = town.rig
    cookie = await enter(rig)
    await put_to_sleep(rig)
    headers = {"Cookie": cookie, "Host": f"{ALICE_HOME}.localhost:{rig.port}"}
    origin = f"http://{ALICE_HOME}.localhost:{rig.port}"
    opening = asyncio.create_task(rig.client.ws_connect(rig.url("/ws"), headers=headers, origin=origin))
    await until_asked_to_wake(rig)
    await wake(town)
    async with await opening as socket:
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=PATIENCE_S) == "alice: hello"


@pytest.mark.parametrize("rig", [1], indirect=True)
async def test_a_wake_that_came_to_nothing_is_asked_for_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sleep asked for in the same moment may win; a call that waits is not left to its deadline."""
    monkeypatch.setattr("gateway.hold.waking.WAKE_AGAIN_S", 0.2)
    monkeypatch.setattr("gateway.hold.waiting.WAKE_AGAIN_S", 0.2)
    rig = town.rig
    await put_to_sleep(rig)
    call = asyncio.create_task(rig.mcp(town.key, "alice"))
    first = await until_asked_to_wake(rig)
    done = first.replaced(status=RequestStatus(outcome=Outcome.DONE, message="it sleeps"))
    await rig.write(lambda tx: tx.update_status(done))

    async def is_asked_again() -> bool:
        return [one.name for one in await requests(rig)] != [first.name]

    await until_true(is_asked_again, "another Request to wake")
    await wake(town)
    assert (await call)["container"] == "alice"


async def test_a_store_that_does_not_take_the_wake_is_told_at_once_and_asked_by_the_next_call() -> None:
    backend = SilentBackend()
    async with gateway(backend=backend) as rig:
        await rig.add_template()
        key = await rig.add_app("shop")
        await rig.add_user("alice", "app:shop.alice")
        await put_to_sleep(rig)
        assert await rig.worker.lease.confirm(PATIENCE_S)
        backend.refuses = True
        for _ in range(2):
            async with rig.request("POST", "/mcp", headers=bearer(key, "alice"), data=CALL) as answer:
                assert (answer.status, (await answer.json())["reason"]) == (503, "StoreUnavailable")
        backend.refuses = False
        call = asyncio.create_task(rig.mcp(key, "alice"))
        await until_asked_to_wake(rig)
        call.cancel()


# --- what does not ---------------------------------------------------------------------------------


async def test_whoever_may_not_come_in_wakes_nobody(town: Town) -> None:
    rig = town.rig
    bob = await enter(rig, "app:shop.bob", "bcdefghijklmnopqrstuvwxy34")
    await put_to_sleep(rig)
    for headers in ({}, bearer("mcpgw_app_nonsense", "alice"), bearer(town.key)):
        async with rig.request("POST", "/mcp", headers=headers, data=CALL) as answer:
            assert answer.status in (400, 401)
    async with rig.request("POST", "/u/alice/mcp", headers=bearer(town.key, "bob"), data=CALL) as answer:
        assert answer.status == 403
    for cookie in ("", bob):
        async with page(rig, "/live", cookie, **HTML) as answer:
            assert answer.status == 401
    assert not await requests(rig)


@pytest.mark.parametrize("path", [f"/dpage/{ALICE_HOME}-x", "/static/x.css"], ids=["a link", "anyone's"])
@pytest.mark.parametrize("headers", [{}, HTML], ids=["a program", "a browser"])
async def test_a_stranger_is_told_at_once_and_wakes_nobody(
    town: Town, path: str, headers: dict[str, str]
) -> None:
    rig = town.rig
    await put_to_sleep(rig)
    async with page(rig, path, **headers) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "sleep" not in (await answer.text()).lower(), "whether its owner sleeps is nobody's business"
    assert not await requests(rig)
    assert rig.held_count == 0


async def test_the_end_of_a_session_is_answered_without_waking_anybody(town: Town) -> None:
    rig = town.rig
    await put_to_sleep(rig)
    headers = bearer(town.key, "alice", **{"Mcp-Session-Id": "s1"})
    async with rig.request("DELETE", "/mcp", headers=headers) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (404, "SessionOver")
    assert not await requests(rig)


LISTENERS = {"a stream of a session": ("GET", EVENTS, None), "subscriptions": ("POST", LISTENS, LISTEN)}


@pytest.mark.parametrize(("method", "headers", "body"), LISTENERS.values(), ids=LISTENERS.keys())
async def test_who_listens_hears_comments_until_the_container_is_there(
    town: Town, method: str, headers: dict[str, str], body: bytes | None
) -> None:
    rig = town.rig
    await put_to_sleep(rig)
    async with rig.request(method, "/mcp", headers=bearer(town.key, "alice", **headers), data=body) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        for _ in range(3):
            assert await answer.content.readline() == b": the container sleeps\n"
            assert await answer.content.readline() == b"\n"
        assert listeners(rig) == 1
        assert rig.held_count == 0
        assert not await requests(rig), "to listen is no reason to wake"
        await rig.flush_demand()
        assert not await rig.read(lambda tx: tx.list(Demand)), "nor is it use"
        assert not town.alice.requests
        await wake(town)
        rest = await asyncio.wait_for(answer.content.read(), PATIENCE_S)
        assert rest.replace(b": the container sleeps\n\n", b"") == b"", "whole, and nothing but comments"
    await until(lambda: listeners(rig) == 0)


async def test_a_stream_that_the_sleep_cut_connects_again_and_wakes_nobody(town: Town) -> None:
    rig = town.rig
    headers = bearer(town.key, "alice", **EVENTS)
    async with rig.request("GET", "/mcp/stream", headers=headers) as open_one:
        assert await open_one.content.readline() == b"data: begun\n"
        await put_to_sleep(rig)
        town.alice.release.set()  # the container goes
        await asyncio.wait_for(open_one.content.read(), PATIENCE_S)
    async with rig.request("GET", "/mcp/stream", headers=headers) as again:
        assert await again.content.readline() == b": the container sleeps\n"
        assert not await requests(rig)
        call = asyncio.create_task(rig.mcp(town.key, "alice"))
        await until_asked_to_wake(rig)
        await wake(town)
        assert (await call)["container"] == "alice"
        await asyncio.wait_for(again.content.read(), PATIENCE_S)
    async with rig.request("GET", "/mcp/stream", headers=headers) as woken:
        assert await woken.content.readline() == b"data: begun\n"


@pytest.mark.parametrize("rig", [1], indirect=True)
async def test_only_so_many_listen_at_a_time(town: Town) -> None:
    rig = town.rig
    for name in ("carol", "dave"):
        await rig.add_user(name, f"app:shop.{name}")
        await put_to_sleep(rig, name)
    await put_to_sleep(rig)
    opened: list[aiohttp.ClientResponse] = []
    for name, status in (
        ("alice", 200),
        ("alice", 200),
        ("alice", 429),
        ("carol", 200),
        ("carol", 200),
        ("dave", 503),
    ):
        answer = await rig.request("GET", "/mcp", headers=bearer(town.key, name, **EVENTS))
        assert answer.status == status
        opened.append(answer)
    for answer in opened:
        answer.close()
    await until(lambda: listeners(rig) == 0, "every client's end")


async def test_who_listens_without_taking_events_is_told_why_there_is_nothing(town: Town) -> None:
    await put_to_sleep(town.rig)
    async with town.rig.request("GET", "/mcp", headers=bearer(town.key, "alice")) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "Asleep")
    assert not await requests(town.rig)


@pytest.mark.parametrize("event", ["the worker stops", "an operator stops it", "it is deleted", "time is up"])
async def test_listening_ends_with_what_it_is_for(event: str) -> None:
    limits = HoldLimits(comment_every_s=0.1, listening_s=0.3 if event == "time is up" else 3600)
    async with gateway(limits) as rig:
        await rig.add_template()
        key = await rig.add_app("shop")
        obj = await rig.add_user("alice", "app:shop.alice")
        await put_to_sleep(rig)
        async with rig.request("GET", "/mcp", headers=bearer(key, "alice", **EVENTS)) as answer:
            assert await answer.content.readline() == b": the container sleeps\n"
            match event:
                case "the worker stops":
                    rig.stop()
                case "an operator stops it":
                    await rig.write(lambda tx: _set_power(tx, Power.STOPPED))
                case "it is deleted":
                    await rig.write(lambda tx: tx.delete(tx.get(UserContainer, obj.name)))
            await asyncio.wait_for(answer.content.read(), PATIENCE_S)


async def test_who_listens_to_what_an_operator_stopped_is_told_so(town: Town) -> None:
    await put_to_sleep(town.rig)
    await town.rig.write(lambda tx: _set_power(tx, Power.STOPPED))
    await town.rig.applied()
    async with town.rig.request("GET", "/mcp", headers=bearer(town.key, "alice", **EVENTS)) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "Stopped")


def _set_power(tx: Any, power: Power) -> None:
    obj = tx.get(UserContainer, "alice")
    tx.update_spec(obj.replaced(spec=obj.spec.model_copy(update={"power": power})))


# --- how it is asked for ---------------------------------------------------------------------------


async def test_sleep_is_asked_for_on_the_account_page_and_only_for_ones_own(town: Town) -> None:
    rig = town.rig
    cookie = await rig.session("app:shop.alice")
    csrf = await csrf_of(rig, cookie)
    for _ in range(2):
        async with post(rig, "/-/sleep", cookie, {"csrf": csrf, "name": "alice"}) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
    async with post(rig, "/-/sleep", cookie, {"csrf": csrf, "name": "bob"}) as answer:
        assert answer.status == 404
    async with post(rig, "/-/sleep", cookie, {"csrf": "nonsense", "name": "alice"}) as answer:
        assert answer.status == 403
    [asked] = await requests(rig)
    assert (asked.spec.user_container, asked.spec.verb) == ("alice", Verb.SLEEP)
    assert asked.spec.asked_by == "app:shop.alice"


async def test_an_app_asks_for_its_users_sleep(town: Town) -> None:
    rig, path = town.rig, "/-/api/v1/containers/alice/sleep"
    async with rig.request("POST", path, headers=bearer(town.key, "bob")) as answer:
        assert answer.status == 404
    async with rig.request("POST", path) as answer:
        assert answer.status == 401
    async with rig.request("POST", path, headers=bearer(town.key, "alice")) as answer:
        assert (answer.status, await answer.json()) == (202, {"accepted": True})
    assert [one.spec.verb for one in await requests(rig)] == [Verb.SLEEP]
    await put_to_sleep(rig)
    async with rig.request("GET", path.removesuffix("/sleep"), headers=bearer(town.key, "alice")) as answer:
        assert (await answer.json())["phase"] == "Asleep"


async def test_whom_an_operator_keeps_up_cannot_be_put_to_sleep(town: Town) -> None:
    await town.rig.write(lambda tx: _set_power(tx, Power.RUNNING))
    await town.rig.applied()
    path = "/-/api/v1/containers/alice/sleep"
    async with town.rig.request("POST", path, headers=bearer(town.key, "alice")) as answer:
        problem = json.loads(await answer.read())
        assert (answer.status, problem["reason"]) == (409, "PowerIsSet")
        assert "Auto" in problem["detail"]
    assert not await requests(town.rig)


@pytest.mark.parametrize("rig", [1], indirect=True)
async def test_the_newest_request_takes_the_place_of_the_last(town: Town) -> None:
    rig = town.rig

    async def last_after(verb: Verb) -> Request:
        def write(tx: Any) -> None:
            ask(tx, tx.get(UserContainer, "alice"), verb, "test")

        await rig.write(write)
        [asked] = await requests(rig)
        return asked

    slept = await last_after(Verb.SLEEP)
    assert await last_after(Verb.SLEEP) == slept, "what waits already is not doubled"
    assert (await last_after(Verb.RESTART)).spec.verb is Verb.RESTART
    assert (await last_after(Verb.SLEEP)).name != slept.name


@pytest.mark.parametrize("rig", [1], indirect=True)
async def test_a_wake_asked_for_on_old_news_takes_nothing_back(town: Town) -> None:
    """A worker may think that somebody sleeps who was woken, and has just asked for sleep anew."""
    rig = town.rig
    alice: UserContainer = await rig.read(lambda tx: tx.get(UserContainer, "alice"))
    await rig.write(lambda tx: ask(tx, alice, Verb.SLEEP, "alice"))
    await rig.write(lambda tx: ask_to_wake(tx, alice, "gateway"))
    assert [one.spec.verb for one in await requests(rig)] == [Verb.SLEEP]

    await put_to_sleep(rig)
    await rig.write(lambda tx: ask(tx, alice, Verb.RESTART, "alice"))
    await rig.write(lambda tx: ask_to_wake(tx, alice, "gateway"))
    assert [one.spec.verb for one in await requests(rig)] == [Verb.RESTART], "which wakes, too"

    anew = alice.replaced(metadata=alice.metadata.model_copy(update={"uid": "another"}))
    await rig.write(lambda tx: ask(tx, anew, Verb.SLEEP, "alice"))
    assert [one.spec.verb for one in await requests(rig)] == [Verb.RESTART], "another's is not meant"
