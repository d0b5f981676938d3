"""A request whose user's container is not there yet: held, then answered, or refused in time and in words."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from gateway.hold.limits import HoldLimits
from state.kinds.demand import Demand
from state.kinds.resource import ConditionType, Truth
from state.kinds.user_container import DATA_FINALIZER, Power, UserContainer, derived_name
from tests.gateway.conftest import ALICE_HOME, WORKERS
from tests.gateway.rig import MCP_ACCEPT, Container, Rig, bearer, container, gateway, loopback, until

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}'
SHORT_S = 0.5
STATELESS = {"Accept": MCP_ACCEPT, "Content-Type": "application/json", "Mcp-Method": "tools/call"}


@pytest.fixture(params=WORKERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    limits = HoldLimits(timeout_s=60, silence_s=0.2, comment_every_s=0.1, navigation_s=0.2)
    async with gateway(limits, workers=request.param) as rig:
        yield rig


@pytest.fixture
async def short() -> AsyncIterator[Rig]:
    """Holds for a moment only."""
    async with gateway(HoldLimits(timeout_s=SHORT_S, held_per_seat_max=3, dials_max=3)) as rig:
        yield rig


@pytest.fixture
async def alice() -> AsyncIterator[Container]:
    async with container("alice") as stand_in:
        yield stand_in


def held(rig: Rig, count: int = 1) -> Any:
    return until(lambda: rig.held_count == count, f"{count} held requests")


async def start(rig: Rig) -> str:
    await rig.add_template()
    key = await rig.add_app("shop")
    await rig.applied()
    return key


async def test_an_authorized_user_without_a_container_gets_one_and_the_request_waits_for_it(
    rig: Rig, alice: Container
) -> None:
    key = await start(rig)
    calls = [asyncio.create_task(rig.mcp(key, "alice")) for _ in range(5)]
    await held(rig, 5)
    [made] = await rig.read(lambda tx: tx.list(UserContainer))
    assert made.name == derived_name("app:shop.alice", "demo")
    assert (made.spec.user, made.spec.template) == ("app:shop.alice", "demo")
    assert (made.metadata.managed_by, made.metadata.finalizers) == ("api", (DATA_FINALIZER,))
    await rig.route(made.name, alice)
    assert [answer["container"] for answer in await asyncio.gather(*calls)] == ["alice"] * 5
    assert rig.held_count == 0


async def test_the_container_that_an_operator_wrote_for_a_user_is_used(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_template("big")
    await rig.add_user("alice", "app:shop.alice", template="big")
    await rig.route("alice", alice)
    await rig.applied()
    assert (await rig.mcp(key, "alice"))["container"] == "alice"
    assert len(await rig.read(lambda tx: tx.list(UserContainer))) == 1


async def test_a_missing_template_is_named(rig: Rig) -> None:
    key = await rig.add_app("shop", template="nowhere")
    await rig.applied()
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        problem = await answer.json()
        assert (answer.status, problem["reason"]) == (503, "TemplateMissing")
        assert "nowhere" in problem["detail"]
    assert not await rig.read(lambda tx: tx.list(UserContainer))


@pytest.mark.fault(25)
async def test_at_the_deadline_it_is_503_with_the_conditions_own_words(short: Rig) -> None:
    key = await start(short)
    await short.add_user("alice", "app:shop.alice")
    await short.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "ImagePullFailed", "no image demo:9")
    asked_at = time.monotonic()
    async with short.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        problem = await answer.json()
        assert time.monotonic() - asked_at >= SHORT_S, "not before the deadline"
        assert (answer.status, problem["reason"]) == (503, "ImagePullFailed")
        assert "no image demo:9" in problem["detail"]
        assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.fault(7)
async def test_a_crash_loop_answers_at_once_with_the_time_of_the_next_start(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "CrashLoop", "exit code 1, 5 times")
    await rig.status("alice", restart_after=datetime.now(UTC) + timedelta(seconds=200), restart_count=5)
    await rig.applied()
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "CrashLoop")
        assert 190 < int(answer.headers["Retry-After"]) <= 200


async def test_a_crash_loop_that_begins_while_somebody_waits_ends_the_wait(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    waiting = asyncio.create_task(_reason(rig, key))
    await held(rig, 1)
    await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "CrashLoop", "exit code 1, 5 times")
    await rig.status("alice", restart_after=datetime.now(UTC) + timedelta(seconds=200), restart_count=5)
    assert await waiting == "CrashLoop"


async def test_a_stopped_container_is_refused_at_once(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice", power=Power.STOPPED)
    await rig.applied()
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "Stopped")


async def test_a_name_that_is_anothers_already_is_told_as_such(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user(derived_name("app:shop.alice", "demo"), "app:shop.bob")
    await rig.applied()
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice"), data=b"{}") as answer:
        told = await answer.json()
    assert (answer.status, told["reason"]) == (503, "NameTaken")
    assert "rename it in its manifest" in told["detail"]


async def test_holding_is_bounded_for_a_user(short: Rig) -> None:
    key = await start(short)
    await short.add_user("alice", "app:shop.alice")
    await short.applied()
    waiting = [asyncio.create_task(_status(short, key)) for _ in range(3)]
    await held(short, 3)
    async with short.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        assert answer.status == 429
        assert "Retry-After" in answer.headers
    assert await asyncio.gather(*waiting) == [503, 503, 503]


async def test_holding_is_bounded_in_all() -> None:
    async with gateway(HoldLimits(timeout_s=60, held_max=2)) as rig:
        key = await start(rig)
        waiting = [asyncio.create_task(_status(rig, key, user)) for user in ("a", "b")]
        await held(rig, 2)
        async with rig.request("POST", "/mcp", headers=bearer(key, "c")) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "TooManyHeld")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await held(rig, 0)


async def test_a_client_that_hangs_up_is_held_no_longer(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    call = asyncio.create_task(rig.mcp(key, "alice"))
    await held(rig, 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await held(rig, 0)
    await rig.route("alice", alice)
    await rig.applied()
    assert (await rig.mcp(key, "alice"))["container"] == "alice"
    assert len(alice.requests) == 1


async def test_a_client_that_hangs_up_while_the_routes_are_not_known_is_held_no_longer(
    rig: Rig, alice: Container
) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    call = asyncio.create_task(rig.mcp(key, "alice"))
    await held(rig, 1)
    rig.suspend()
    await rig.route("alice", alice)
    await rig.applied()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await held(rig, 0)
    assert not alice.requests


async def test_a_websocket_is_held_and_one_that_hangs_up_is_not(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    url = f"ws://127.0.0.1:{rig.port}/mcp/ws"
    headers = {"Host": f"localhost:{rig.port}", **bearer(key, "alice")}
    gone = asyncio.create_task(_connect(rig, url, headers))
    await held(rig, 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await held(rig, 0)
    opening = asyncio.create_task(_connect(rig, url, headers))
    await held(rig, 1)
    await rig.route("alice", alice)
    socket = await opening
    await socket.send_str("hello")
    assert await socket.receive_str() == "alice: hello"
    await socket.close()


async def test_a_refused_dial_is_held_and_dialled_again_when_the_table_knows_better(
    rig: Rig, alice: Container
) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    dead = loopback()
    nobody = Container("nobody", dead.getsockname()[1])
    dead.close()
    await rig.route("alice", nobody)
    await rig.applied()
    call = asyncio.create_task(rig.mcp(key, "alice"))
    await held(rig, 1)
    await rig.route("alice", alice)
    assert (await call)["container"] == "alice"
    assert len(alice.requests) == 1, "what was refused was not sent twice"


async def test_a_container_that_starts_to_listen_late_is_reached_at_a_later_dial(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    async with container("alice") as alice:
        port = alice.port
    late = Container("late", port)
    await rig.route("alice", late)
    await rig.applied()
    call = asyncio.create_task(rig.mcp(key, "alice"))
    await held(rig, 1)
    server = await asyncio.start_server(_answer_once, "127.0.0.1", port)
    async with server:
        assert (await call)["container"] == "late"


async def test_an_endpoint_that_refuses_every_dial_is_503(short: Rig) -> None:
    key = await start(short)
    await short.add_user("alice", "app:shop.alice")
    dead = loopback()
    nobody = Container("nobody", dead.getsockname()[1])
    dead.close()
    await short.route("alice", nobody)
    await short.applied()
    async with short.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "DialRefused")
        assert "Retry-After" in answer.headers


async def test_a_user_deleted_while_somebody_waits_is_told_so(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    waiting = asyncio.create_task(_reason(rig, key))
    await held(rig, 1)
    await rig.write(lambda tx: tx.delete(tx.get(UserContainer, "alice")))
    assert await waiting == "Deleting"


async def test_a_gateway_that_stops_tells_whoever_waits_to_ask_again(rig: Rig) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    waiting = asyncio.create_task(_reason(rig, key))
    await held(rig, 1)
    rig.stop()
    assert await waiting == "Restarting"


# Event streams


async def test_a_call_that_takes_events_hears_comments_and_then_its_answer(
    rig: Rig, alice: Container
) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    headers = bearer(key, "alice", **STATELESS, **{"Accept-Encoding": "gzip"})
    async with rig.request("POST", "/mcp", headers=headers, data=CALL) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        for _ in range(3):
            assert (await answer.content.readline()).startswith(b": ")
            assert await answer.content.readline() == b"\n"
        await rig.route("alice", alice)
        rest = (await answer.read()).decode()
    lines = [line for line in rest.splitlines() if line and not line.startswith(":")]
    assert lines[0] == "event: message"
    message = json.loads(lines[1].removeprefix("data: "))
    assert (message["id"], message["result"]["container"]) == (7, "alice")
    assert message["result"]["body"] == CALL.decode(), "the body that was read ahead arrived whole"
    assert "accept-encoding" not in dict(message["result"]["headers"])


async def test_a_streams_events_pass_as_they_are_after_the_comments(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    headers = bearer(key, "alice", **STATELESS)
    async with rig.request("POST", "/mcp/stream", headers=headers, data=CALL) as answer:
        assert (await answer.content.readline()).startswith(b": ")
        alice.release.set()
        await rig.route("alice", alice)
        rest = await answer.read()
    assert rest.endswith(b"data: begun\n\ndata: ended\n\n")


async def test_a_failure_after_the_comments_is_a_json_rpc_error() -> None:
    async with gateway(HoldLimits(timeout_s=0.6, silence_s=0.1, comment_every_s=0.1)) as rig:
        key = await start(rig)
        await rig.add_user("alice", "app:shop.alice")
        await rig.condition("alice", ConditionType.DEGRADED, Truth.TRUE, "ImagePullFailed", "no image demo:9")
        headers = bearer(key, "alice", **STATELESS)
        async with rig.request("POST", "/mcp", headers=headers, data=CALL) as answer:
            assert answer.status == 200
            text = (await answer.read()).decode()
        message = json.loads(next(line for line in text.splitlines() if line.startswith("data: "))[6:])
        assert message["id"] == 7
        assert message["error"]["code"] == -32000
        assert message["error"]["data"]["reason"] == "ImagePullFailed"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_that_breaks_off_after_the_comments_is_an_error_or_a_visible_cut(
    rig: Rig, is_stream: bool
) -> None:
    """Nothing of a JSON answer was passed on, so the client is told; a stream's end can only be cut."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(CALL)
        kind = b"text/event-stream" if is_stream else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: 99\r\n\r\ndata: x\n\n" % kind)
        await writer.drain()
        writer.close()

    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    server = await asyncio.start_server(half, "127.0.0.1", 0)
    broken = Container("broken", server.sockets[0].getsockname()[1])
    async with (
        server,
        rig.request("POST", "/mcp", headers=bearer(key, "alice", **STATELESS), data=CALL) as answer,
    ):
        assert (await answer.content.readline()).startswith(b": ")
        await rig.route("alice", broken)
        if is_stream:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
            return
        text = (await answer.read()).decode()
    message = json.loads(next(line for line in text.splitlines() if line.startswith("data: "))[6:])
    assert (message["id"], message["error"]["data"]["reason"]) == (7, "BadAnswer")
    assert "broke off" in message["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({"Accept": "application/json", "Mcp-Method": "tools/call"}, CALL, id="takes no events"),
        pytest.param(
            {"Accept": MCP_ACCEPT}, CALL, id="an initialize, whose answer brings a session in a header"
        ),
        pytest.param(STATELESS, b'{"jsonrpc":"2.0","method":"notifications/x"}', id="a notification"),
        pytest.param(STATELESS, b"not json", id="no JSON"),
        pytest.param(STATELESS, b'{"id":7,"method":"x","p":"' + b"x" * 70_000 + b'"}', id="a large body"),
    ],
)
async def test_whoever_cannot_hear_comments_is_held_in_silence_and_its_body_is_whole(
    rig: Rig, alice: Container, headers: dict[str, str], body: bytes
) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    call = asyncio.create_task(_answer(rig, bearer(key, "alice", **headers), body))
    await held(rig, 1)
    await asyncio.sleep(0.5)  # beyond the silence, so that a comment would have been sent
    await rig.route("alice", alice)
    status, kind, _ = await call
    assert (status, kind) == (200, "application/json")
    assert [seen["body"] for seen in alice.requests] == [body.decode()]


# Demand


async def test_demand_is_written_for_whoever_waits_and_for_whoever_works(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.applied()
    call = asyncio.create_task(rig.mcp(key, "alice"))
    await held(rig, 1)
    await rig.flush_demand()
    demand = await rig.read(lambda tx: tx.get(Demand, "alice"))
    assert demand is not None
    assert demand.spec.waiting_since is not None
    await rig.route("alice", alice)
    await call
    await rig.flush_demand()
    demand = await rig.read(lambda tx: tx.get(Demand, "alice"))
    assert demand is not None
    assert (demand.spec.waiting_since, demand.spec.in_flight) == (None, 0)
    last = demand.spec.last_activity_at
    await rig.flush_demand()
    demand = await rig.read(lambda tx: tx.get(Demand, "alice"))
    assert demand is not None
    assert demand.spec.last_activity_at == last, "who does nothing is not written again"


async def test_an_open_mcp_get_stream_is_no_demand_and_an_open_call_is(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.route("alice", alice, ALICE_HOME)
    await rig.applied()
    async with rig.request("GET", "/mcp/stream", headers=bearer(key, "alice")) as answer:
        await answer.content.readline()
        await rig.flush_demand()
        assert await rig.read(lambda tx: tx.get(Demand, "alice")) is None
    async with rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as answer:
        await answer.content.readline()
        await rig.flush_demand()
        demand = await rig.read(lambda tx: tx.get(Demand, "alice"))
        assert demand is not None
        assert demand.spec.in_flight == 1


async def test_a_clients_disconnect_reaches_the_container(rig: Rig, alice: Container) -> None:
    key = await start(rig)
    await rig.add_user("alice", "app:shop.alice")
    await rig.route("alice", alice)
    await rig.applied()
    async with rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as answer:
        await answer.content.readline()
    await until(alice.disconnects.is_set, "the container's own disconnect")


async def _status(rig: Rig, key: str, user: str = "alice") -> int:
    async with rig.request("POST", "/mcp", headers=bearer(key, user)) as answer:
        return int(answer.status)


async def _reason(rig: Rig, key: str) -> str:
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        return str((await answer.json())["reason"])


async def _answer(rig: Rig, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
    async with rig.request("POST", "/mcp", headers=headers, data=body) as answer:
        return answer.status, answer.content_type, await answer.read()


async def _connect(rig: Rig, url: str, headers: dict[str, str]) -> aiohttp.ClientWebSocketResponse:
    return await rig.client.ws_connect(url, headers=headers)


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b'{"container": "late"}'
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()
