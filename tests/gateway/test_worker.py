"""What a worker knows and when it may be believed: news, the barrier, the lease, the private port."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from gateway import doors
from gateway.demand import DemandWriter
from gateway.lease import TTL_S
from state.kinds.demand import Demand
from state.kinds.template import Access, ContainerTemplate, Route
from state.kinds.user_container import UserContainer
from state.store.errors import BarrierTimeout, Unavailable
from state.store.memory import MemoryBackend
from state.store.rows import Rows
from state.store.rowstore import RowStore
from tests.gateway.conftest import ALICE_HOME, one_worker
from tests.gateway.rig import PATIENCE_S, Container, Rig, bearer, container, gateway, until, until_true

T = TypeVar("T")
BARRIER_S = 20.0


@pytest.fixture
async def alice() -> AsyncIterator[Container]:
    async with container("alice") as stand_in:
        yield stand_in


async def start(rig: Rig, *users: str) -> str:
    await rig.add_template()
    key = await rig.add_app("shop")
    for user in users:
        await rig.add_user(user, f"app:shop.{user}")
    await rig.applied()
    return key


async def test_what_changes_is_routed_at_once(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    async with container("second") as second:
        for number, stand_in in enumerate((alice, second, alice)):
            await rig.route("alice", stand_in, incarnation=f"i{number}")
            await rig.applied()
            assert (await rig.mcp(key, "alice"))["container"] == stand_in.name


async def test_a_templates_new_rules_count_at_once(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.route("alice", alice)
    await rig.applied()
    async with rig.request("POST", "/tools", headers=bearer(key, "alice")) as answer:
        assert answer.status == 404

    def change(tx: Any) -> None:
        template = tx.get(ContainerTemplate, "demo")
        routes = (Route(path="/tools", protocol="mcp"), Route(path="/x", access=Access.ANY))
        tx.update_spec(template.replaced(spec=template.spec.model_copy(update={"routes": routes})))

    await rig.write(change)
    await rig.applied()
    assert (await rig.mcp(key, "alice", "/tools"))["path"] == "/tools"
    async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
        assert answer.status == 404


@pytest.mark.fault(37)
async def test_after_the_barrier_no_byte_reaches_the_next_holder_of_an_address(rig: Rig) -> None:
    key = await start(rig, "alice", "bob")
    async with container("alice") as alice:
        port = alice.port
        await rig.route("alice", alice)
        await rig.applied()
        await rig.mcp(key, "alice")
    await rig.store.barrier(await rig.unroute("alice"), BARRIER_S)
    bob = Container("bob")
    import uvicorn

    from tests.gateway.rig import QuietServer

    config = uvicorn.Config(bob, host="127.0.0.1", port=port, lifespan="off", ws="none", log_config=None)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        bob.port = port
        await rig.route("bob", bob)
        late = asyncio.create_task(rig.mcp(key, "alice"))
        seen = await asyncio.gather(*(rig.mcp(key, "bob") for _ in range(20)))
        assert {answer["container"] for answer in seen} == {"bob"}
        assert len(bob.requests) == 20, "what alice asked waits for a container of her own"
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    finally:
        server.should_exit = True
        await serving


@one_worker
async def test_the_barrier_waits_for_a_worker_that_has_not_applied_it(rig: Rig, alice: Container) -> None:
    await start(rig, "alice")
    reached, go_on = asyncio.Event(), asyncio.Event()
    retire = rig.worker.proxy.retire

    async def slow_retire(incarnation: str, *, cut: bool = False) -> None:
        reached.set()
        await go_on.wait()
        await retire(incarnation, cut=cut)

    rig.worker.proxy.retire = slow_retire  # type: ignore[method-assign]
    await rig.route("alice", alice)
    await rig.applied()
    revision = await rig.unroute("alice")
    await reached.wait()
    with pytest.raises(BarrierTimeout):
        await rig.store.barrier(revision, 0.2)
    go_on.set()
    await rig.store.barrier(revision, BARRIER_S)


@pytest.mark.fault(26)
async def test_a_stream_drains_when_its_container_is_unrouted(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.route("alice", alice)
    await rig.applied()
    async with rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as answer:
        assert await answer.content.readline() == b"data: begun\n"
        await rig.store.barrier(await rig.unroute("alice"), BARRIER_S)
        alice.release.set()
        assert (await answer.read()).endswith(b"data: ended\n\n")


@pytest.mark.fault(28)
async def test_a_user_deleted_mid_request_gets_no_bytes_afterwards(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.route("alice", alice)
    await rig.applied()
    async with rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as answer:
        assert await answer.content.readline() == b"data: begun\n"

        def delete(tx: Any) -> int:
            tx.delete(tx.get(UserContainer, "alice"))
            return int(tx.revision)

        await rig.store.barrier(await rig.write(delete), BARRIER_S)
        await until(alice.disconnects.is_set, "the cut")
        alice.release.set()
        import aiohttp

        with pytest.raises(aiohttp.ClientError):
            await answer.read()


@pytest.mark.fault(29)
@one_worker
async def test_the_same_name_again_is_another_seat(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.give_home("alice", "abcdefghijklmnopqrstuvwx23")
    await rig.route("alice", alice, "abcdefghijklmnopqrstuvwx23")
    await rig.applied()
    first = rig.worker.table.seat_named("alice")
    assert first is not None

    def replace(tx: Any) -> None:
        old = tx.get(UserContainer, "alice")
        tx.delete(old)
        old = tx.get(UserContainer, "alice")
        tx.drop_finalizer(old, "data")
        tx.create(
            old.replaced(
                metadata=old.metadata.model_copy(update={"uid": "", "deleted_at": None}),
                status=type(old.status)(),
            )
        )

    await rig.write(replace)
    await rig.applied()
    second = rig.worker.table.seat_named("alice")
    assert second is not None
    assert second is not first
    assert second.endpoint is None
    assert rig.worker.table.seat_at_home("abcdefghijklmnopqrstuvwx23") is None
    assert first.is_deleted
    del key


# The lease


class Clock:
    """The kernel's clock, with jumps."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class SilentBackend(MemoryBackend):
    """A store that can fall silent: it refuses, or does not answer at all."""

    refuses = False
    hangs = False

    async def write(self, fn: Callable[[Rows], T], *, ring: bool = True) -> T:
        await self._maybe()
        return await super().write(fn, ring=ring)

    async def read(self, fn: Callable[[Rows], T]) -> T:
        await self._maybe()
        return await super().read(fn)

    async def _maybe(self) -> None:
        while self.hangs:
            await asyncio.sleep(0.01)
        if self.refuses:
            raise Unavailable("the test says so")


def connected(backend: MemoryBackend) -> MemoryBackend:
    """Another process' way to the same store, whose bell the worker does not hear."""
    other = MemoryBackend(backend.clock_s)
    other._rows = backend._rows
    return other


def unroute(tx: Any) -> int:
    obj = tx.get(UserContainer, "alice")
    tx.update_status(obj.replaced(status=obj.status.model_copy(update={"endpoint": None})))
    return int(tx.revision)


@pytest.mark.fault(20)
async def test_a_worker_that_slept_uses_nothing_it_knew_before_it_has_asked_again(alice: Container) -> None:
    clock = Clock()
    backend = MemoryBackend(clock)
    async with gateway(backend=backend) as rig:
        key = await start(rig, "alice")
        await rig.route("alice", alice)
        await rig.applied()
        clock.ahead_s += 10 * TTL_S  # everybody slept; the reconciler wakes up first
        reconciler = RowStore(connected(backend))
        async with container("moved") as moved:

            def move(tx: Any) -> int:
                obj = tx.get(UserContainer, "alice")
                to = obj.status.endpoint.model_copy(update={"port": moved.port, "incarnation": "moved-1"})
                tx.update_status(obj.replaced(status=obj.status.model_copy(update={"endpoint": to})))
                return int(tx.revision)

            revision = await reconciler.transact(move, actor="reconciler")
            await reconciler.barrier(revision, 1.0)  # it passes the sleeper by
            seat = rig.worker.table.seat_named("alice")
            assert seat is not None
            assert seat.endpoint is not None
            assert seat.endpoint.port == alice.port, "the worker has not heard of it"
            assert (await rig.mcp(key, "alice"))["container"] == "moved"
            assert not alice.requests


async def start_silent(rig: Rig, to: Container) -> str:
    """Alice is routed; returns the key."""
    key = await start(rig, "alice")
    await rig.give_home("alice", ALICE_HOME)
    await rig.route("alice", to, ALICE_HOME)
    await rig.applied()
    assert await rig.worker.lease.confirm(PATIENCE_S)
    return key


@pytest.mark.fault(15)
@pytest.mark.parametrize("silence", ["refuses", "hangs"])
async def test_known_routes_work_through_a_silence_shorter_than_the_lease(
    alice: Container, silence: str
) -> None:
    backend = SilentBackend(clock := Clock())
    async with gateway(backend=backend) as rig:
        key = await start_silent(rig, alice)
        setattr(backend, silence, True)
        assert await rig.worker.lease.confirm(0.1), "what was promised before stands still"
        clock.ahead_s += TTL_S / 2
        for _ in range(3):
            assert (await rig.mcp(key, "alice"))["container"] == "alice"
        if silence == "refuses":
            async with rig.request("POST", "/mcp", headers=bearer(key, "carol")) as answer:
                assert (answer.status, (await answer.json())["reason"]) == (503, "StoreUnavailable")
        before_s = rig.worker.lease._expires_s
        setattr(backend, silence, False)
        await until(lambda: rig.worker.lease._expires_s > before_s, "the lease's renewal")
        assert (await rig.mcp(key, "alice"))["container"] == "alice"


@pytest.mark.fault(37)
@pytest.mark.parametrize("silence", ["refuses", "hangs"])
async def test_a_worker_cut_off_from_the_store_begins_nothing_past_its_lease(
    alice: Container, silence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "TABLE_WAIT_S", 0.5)
    backend = SilentBackend(clock := Clock())
    async with gateway(backend=backend) as rig:
        key = await start_silent(rig, alice)
        async with rig.request("POST", "/mcp/stream", headers=bearer(key, "alice")) as begun:
            assert await begun.content.readline() == b"data: begun\n"
            setattr(backend, silence, True)
            await rig.worker.lease.confirm(0.1)
            clock.ahead_s += 2 * TTL_S
            reconciler = RowStore(connected(backend))
            await reconciler.barrier(await reconciler.transact(unroute, actor="reconciler"), 1.0)
            for _ in range(2):
                async with rig.request("POST", "/mcp", headers=bearer(key, "alice")) as answer:
                    assert (answer.status, (await answer.json())["reason"]) == (503, "NotCurrent")
                    assert "Retry-After" in answer.headers
            assert len(alice.requests) == 1
            alice.release.set()
            assert (await begun.read()).endswith(b"data: ended\n\n"), "what was in flight ends as it should"
        setattr(backend, silence, False)
        await until(lambda: rig.worker.table.is_believed, "the fresh reading")
        seat = rig.worker.table.seat_named("alice")
        assert seat is not None
        assert seat.endpoint is None


@pytest.mark.fault(20)
async def test_a_request_in_flight_across_a_sleep_is_not_repeated_to_the_next_holder_of_the_address() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def first_holder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await go_on.wait()
        writer.transport.abort()

    crossed: list[bytes] = []

    async def next_holder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        crossed.append(await reader.read(65536))
        writer.close()

    backend = SilentBackend(clock := Clock())
    first = await asyncio.start_server(first_holder, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    async with gateway(backend=backend) as rig:
        await start_silent(rig, Container("alice", port))

        async def ask() -> tuple[int, Any]:
            host = f"{ALICE_HOME}.localhost:{rig.port}"
            async with rig.request("GET", "/static/x", host=host) as answer:
                return answer.status, await answer.read()

        assert await ask() == (200, b"ok")
        repeated = asyncio.create_task(ask())
        await until(arrived.is_set, "the second request, over the same connection")
        first.close()
        second = await asyncio.start_server(next_holder, "127.0.0.1", port)
        async with second:
            backend.hangs = True
            clock.ahead_s += 10 * TTL_S  # asleep; the address changed hands meanwhile
            go_on.set()
            status, body = await repeated
            assert (status, json.loads(body)["reason"]) == (503, "dial_unsure")
        assert crossed == []
        backend.hangs = False


@one_worker
async def test_a_lost_lease_is_followed_by_a_fresh_reading(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.route("alice", alice)
    await rig.applied()
    lost, suspend = asyncio.Event(), rig.worker.table.suspend

    def note_loss() -> None:
        suspend()
        lost.set()

    rig.worker.table.suspend = note_loss  # type: ignore[method-assign]
    await rig.backend.write(lambda rows: rows.drop_lease(rig.worker.name))
    rig.worker.lease._kicked.set()
    await until(lost.is_set, "the loss")
    await until(lambda: rig.worker.table.is_believed, "the fresh reading")
    assert (await rig.mcp(key, "alice"))["container"] == "alice"
    await rig.store.barrier(await rig.unroute("alice"), BARRIER_S)


@one_worker
async def test_what_went_away_while_the_lease_was_lost_is_gone_afterwards(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice", "bob")
    await rig.route("alice", alice)
    await rig.applied()
    rig.worker.table.suspend()
    held = asyncio.create_task(_status(rig, key, "alice"))

    def remove(tx: Any) -> None:
        tx.delete(tx.get(UserContainer, "bob"))
        tx.drop_finalizer(tx.get(UserContainer, "bob"), "data")

    await rig.write(remove)
    await rig.backend.write(lambda rows: rows.drop_lease(rig.worker.name))
    rig.worker.lease._kicked.set()
    await until(lambda: rig.worker.table.is_believed)
    assert rig.worker.table.seat_named("bob") is None
    assert await held == 200


async def test_before_the_first_reading_requests_wait_and_then_get_503() -> None:
    backend = SilentBackend()
    backend.refuses = True
    async with gateway(backend=backend) as rig:
        async with rig.client.get(f"http://127.0.0.1:{rig.private_port}/ready") as answer:
            assert answer.status == 503
        async with rig.request("POST", "/mcp", headers=bearer("x", "alice")) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "NotCurrent")
        async with rig.request("GET", "/-/api/v1/containers", headers=bearer("x", "alice")) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "NotCurrent")
        async with rig.request("GET", "/health") as answer:
            assert answer.status == 200
        backend.refuses = False
        await until(lambda: rig.worker.table.is_believed)


async def test_a_worker_that_leaves_holds_up_no_barrier(alice: Container) -> None:
    backend = MemoryBackend()
    async with gateway(backend=backend) as rig:
        await start(rig, "alice")
    store = RowStore(backend)
    await store.barrier(await store.revision(), 0.5)


async def test_a_worker_without_its_background_stops_instead_of_seeming_to_work() -> None:
    with pytest.raises(ZeroDivisionError):
        async with gateway() as rig:
            broken = asyncio.create_task(_break())
            broken.add_done_callback(rig.worker._background_ended)
            await until(lambda: rig.worker._server.should_exit, "the stop")


# Demand, metrics, the log


async def test_demand_that_could_not_be_written_is_written_later(alice: Container) -> None:
    backend = SilentBackend()
    async with gateway(backend=backend) as rig:
        key = await start(rig, "alice")
        await rig.route("alice", alice)
        await rig.applied()
        await rig.mcp(key, "alice")
        writer: DemandWriter = rig.worker._demand
        backend.refuses = True
        await writer.flush()
        backend.refuses = False
        assert await rig.read(lambda tx: tx.list(Demand)) == []
        await writer.flush()
        assert [demand.name for demand in await rig.read(lambda tx: tx.list(Demand))] == ["alice"]


@one_worker
async def test_everybodys_demand_is_written_however_many_they_are(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In transactions of so many: whoever is in use all the time keeps nobody else from being seen."""
    monkeypatch.setattr("gateway.demand.TRANSACTION_COUNT_MAX", 2)
    names = ["ann", "ben", "cas", "dan", "eve"]
    await rig.add_template()
    for name in names:
        await rig.add_user(name, f"app:shop.{name}")
    await rig.applied()
    for name in names:
        seat = rig.worker.table.seat_named(name)
        assert seat is not None
        seat.use.request_began()
    await rig.worker._demand.flush()
    assert [demand.name for demand in await rig.read(lambda tx: tx.list(Demand))] == names


@one_worker
async def test_metrics_and_readiness_are_on_the_private_port_alone(rig: Rig, alice: Container) -> None:
    key = await start(rig, "alice")
    await rig.route("alice", alice)
    await rig.applied()
    await rig.mcp(key, "alice")
    async with rig.request("POST", "/mcp", headers=bearer("wrong", "alice")) as answer:
        assert answer.status == 401
    private = f"http://127.0.0.1:{rig.private_port}"

    async def counted() -> bool:
        async with rig.client.get(f"{private}/metrics") as answer:
            text = await answer.text()
        return all(
            line in text
            for line in (
                'mcpgw_requests_total{by="container",status="2xx"} 1.0',
                'mcpgw_requests_total{by="gateway",status="4xx"} 1.0',
                "mcpgw_seats 1.0",
                "mcpgw_seats_routed 1.0",
            )
        )

    await until_true(counted, "the metrics")
    async with rig.client.get(f"{private}/ready") as answer:
        assert (answer.status, await answer.text()) == (200, "OK\n")
    for path in ("/metrics", "/ready"):
        async with rig.request("GET", path) as answer:
            assert answer.status == 404


async def test_the_access_log_says_what_was_asked_and_no_secret(
    alice: Container, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async with gateway() as rig:
        key = await start(rig, "alice")
        await rig.add_user("mail", "app:shop.someone@example.com")
        await rig.route("alice", alice)
        await rig.applied()
        await rig.mcp(key, "alice", "/mcp/x?secret=hidden")
        async with rig.request("POST", "/u/app:shop.someone@example.org/live", headers=bearer(key)) as answer:
            assert answer.status == 404
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines() if line.startswith(b"{")]
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert [line["status"] for line in answered] == [200, 404]
    assert (answered[0]["route"], answered[0]["user_container"]) == ("/mcp", "alice")
    text = json.dumps(lines)
    assert key not in text
    assert "hidden" not in text
    assert "example.org" not in text


async def _break() -> None:
    raise ZeroDivisionError


async def _status(rig: Rig, key: str, user: str) -> int:
    async with rig.request("POST", "/mcp", headers=bearer(key, user), data=b"{}") as answer:
        return int(answer.status)


async def test_a_log_that_nobody_reads_is_dropped_and_holds_nobody_up() -> None:
    import os
    from time import perf_counter

    from gateway import accesslog
    from gateway.asked import Asked
    from gateway.head import read_head
    from gateway.sites import Site

    reader, writer = os.pipe()
    try:
        log = accesslog.AccessLog("w", writer)
        asked = Asked({"type": "http", "method": "GET"}, None, None, read_head([]), Site("", b""), "/")  # type: ignore[arg-type]
        for _ in range(accesslog.LINES_QUEUED_MAX + 5):
            log.note(asked, perf_counter())
        assert log.dropped_count == 5
        log.flush()
        assert log.dropped_count == 5 + accesslog.LINES_QUEUED_MAX
    finally:
        os.close(reader)
        os.close(writer)
