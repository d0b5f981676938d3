"""WebSockets through the proxy: real clients of the `websockets` library, real and hostile upstreams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.proxy import Endpoint, Failure, Limits
from gateway.server import ServerLimits
from tests.proxy.rig import PATIENCE_S, Gateway, Peer, always, gateway, get, header, status, upstream

Handler = Callable[[ServerConnection], Awaitable[None]]

HANDSHAKE = (
    b"GET /ws?x=%20y HTTP/1.1\r\nHost: gateway.example\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TEXT_HI = b"\x81\x82\x00\x00\x00\x00hi"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def workload(handler: Handler, **options: object) -> AsyncIterator[Endpoint]:
    async with serve(handler, "127.0.0.1", 0, compression=None, **options) as server:  # type: ignore[arg-type]
        yield Endpoint("127.0.0.1", next(iter(server.sockets)).getsockname()[1], "one")


@contextlib.asynccontextmanager
async def client(front: Gateway, **options: object) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{front.port}/ws", proxy=None, **options) as connection:  # type: ignore[arg-type]
        yield connection


async def closed(connection: ClientConnection) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
    return caught.value


async def test_text_and_binary_pass_both_ways_and_are_counted() -> None:
    async with workload(echo) as endpoint, gateway(endpoint) as front:
        async with client(front) as connection:
            for message in ("grüß dich", b"\x00\xff", "", b"", "x" * 100_000, b"y" * 1_000_000):
                await connection.send(message)
                assert await asyncio.wait_for(connection.recv(), PATIENCE_S) == message
        outcome = await front.outcome()
        assert (outcome.status, outcome.failure, outcome.frames) == (101, Failure.NONE, 12)
        assert (front.activity.began, front.activity.ended, front.activity.frames) == (1, 1, 12)


async def test_a_message_in_fragments_arrives_as_one_message() -> None:
    async with workload(echo) as endpoint, gateway(endpoint) as front, client(front) as connection:
        await connection.send(["a", "b", "c"])
        assert await connection.recv() == "abc"


async def test_pings_are_answered_on_either_side() -> None:
    async def handler(connection: ServerConnection) -> None:
        await asyncio.wait_for(await connection.ping(), PATIENCE_S)
        await connection.send("ponged")
        await connection.wait_closed()

    async with workload(handler) as endpoint, gateway(endpoint) as front, client(front) as connection:
        await asyncio.wait_for(await connection.ping(), PATIENCE_S)
        assert await asyncio.wait_for(connection.recv(), PATIENCE_S) == "ponged"


async def test_the_upstream_chooses_among_the_clients_subprotocols() -> None:
    options = {"subprotocols": ["binary", "base64"]}
    async with (
        workload(echo, **options) as endpoint,
        gateway(endpoint) as front,
        client(front, subprotocols=["mqtt", "base64"]) as connection,
    ):
        assert connection.subprotocol == "base64"


async def test_the_handshake_carries_what_the_router_decided_and_no_secret() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.head())

    secrets = (
        b"Authorization: Bearer s\r\nCookie: mcpgw=1; a=b\r\nX-App-User: root\r\nX-Forwarded-For: 1.1.1.1\r\n"
    )
    extra = b"Origin: http://home.example\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    async with upstream(handler) as up, gateway(up.endpoint) as front:
        await front.ask(HANDSHAKE + secrets + extra)
    request = seen[0]
    assert request.startswith(b"GET /ws?x=%20y HTTP/1.1\r\n")
    assert header(request, "host") == [b"workload"]
    assert header(request, "origin") == [b"http://home.example"]
    assert header(request, "cookie") == [b"a=b"]
    assert header(request, "x-forwarded-for") == [b"203.0.113.9"]
    assert header(request, "sec-websocket-extensions") == []
    assert header(request, "sec-websocket-key") != [b"dGhlIHNhbXBsZSBub25jZQ=="]
    assert b"root" not in request
    assert b"Bearer" not in request


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (4321, "mine"), (3000, "")])
async def test_a_close_code_passes_up(code: int, reason: str) -> None:
    got: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        got.set_result((connection.close_code or 0, connection.close_reason or ""))

    async with workload(handler) as endpoint, gateway(endpoint) as front:
        async with client(front) as connection:
            await connection.close(code, reason)
        assert await asyncio.wait_for(got, PATIENCE_S) == (code, reason)
        assert (await front.outcome()).failure is Failure.NONE


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1011, "sorry"), (1012, ""), (4321, "mine")])
async def test_a_close_code_passes_down(code: int, reason: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async with workload(handler) as endpoint, gateway(endpoint) as front, client(front) as connection:
        error = await closed(connection)
        assert error.rcvd is not None
        assert (error.rcvd.code, error.rcvd.reason) == (code, reason)
        assert (await front.outcome()).failure is Failure.NONE


async def test_a_close_without_a_code_passes_as_one() -> None:
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        got.set_result(connection.close_code or 0)

    async with workload(handler) as endpoint, gateway(endpoint) as front, client(front) as connection:
        async with connection.send_context():
            connection.protocol.send_close()
        assert await asyncio.wait_for(got, PATIENCE_S) == 1005


async def test_a_client_that_vanishes_is_gone_for_the_upstream_too() -> None:
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        got.set_result(connection.close_code or 0)

    async with workload(handler) as endpoint, gateway(endpoint) as front:
        async with client(front) as connection:
            connection.transport.abort()
            assert await asyncio.wait_for(got, PATIENCE_S) == 1006
        assert (await front.outcome()).failure is Failure.CLIENT_GONE


async def test_an_upstream_that_vanishes_is_told_as_a_bad_gateway() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with workload(handler) as endpoint, gateway(endpoint) as front, client(front) as connection:
        error = await closed(connection)
        assert error.rcvd is not None
        assert error.rcvd.code == 1014
        assert (await front.outcome()).failure is Failure.UPSTREAM_RESET


async def test_a_message_too_large_is_refused_either_way() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"x" * 5000)
        await connection.wait_closed()

    limits = Limits(message_bytes_max=4000)
    async with workload(handler) as endpoint, gateway(endpoint, limits) as front, client(front) as connection:
        error = await closed(connection)
        assert error.rcvd is not None
        assert error.rcvd.code == 1009
    server_limits = ServerLimits(message_bytes_max=4000, graceful_shutdown_s=1)
    async with (
        workload(echo) as endpoint,
        gateway(endpoint, server_limits=server_limits) as front,
        client(front) as connection,
    ):
        await connection.send(b"x" * 5000)
        error = await closed(connection)
        assert error.rcvd is not None
        assert error.rcvd.code == 1009


async def test_the_upstreams_refusal_is_passed_on() -> None:
    refusal = (
        b"HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\nset-cookie: mcpgw=1\r\ncontent-length: 4\r\n\r\nnope"
    )
    async with upstream(always(refusal)) as up, gateway(up.endpoint) as front:
        with pytest.raises(InvalidStatus) as caught:
            async with client(front):
                pass
        response = caught.value.response
        assert (response.status_code, bytes(response.body or b"")) == (401, b"nope")
        assert response.headers["www-authenticate"] == "Basic"
        assert "set-cookie" not in response.headers
        assert (await front.outcome()).status == 401


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: no\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 101 Switching\r\nx: " + b"y" * 100_000,
    ],
)
async def test_a_wrong_handshake_upstream_never_opens_the_clients(answer: bytes) -> None:
    async with upstream(always(answer, close=True)) as up, gateway(up.endpoint) as front:
        got = await front.ask(HANDSHAKE + b"\r\n")
        assert status(got) in (200, 302, 502)
        assert up.connection_count == 1
        assert (await front.outcome()).status == status(got)


async def test_a_handshake_without_an_answer_ends_in_504() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint, Limits(upgrade_s=0.1)) as front:
        assert status(await front.ask(HANDSHAKE + b"\r\n")) == 504
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)


async def test_a_client_that_leaves_during_the_handshake_is_noticed() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        raw = await front.connect()
        await raw.send(HANDSHAKE + b"\r\n")
        while not up.peers:
            await asyncio.sleep(0.001)
        await raw.close()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert (await front.outcome()).failure is Failure.CLIENT_GONE


async def test_08_bytes_after_an_upgrade_wait_for_the_101() -> None:
    release = asyncio.Event()
    early: list[bytes] = []

    async def handler(peer: Peer) -> None:
        head = await peer.head()
        with contextlib.suppress(TimeoutError):
            early.append(await asyncio.wait_for(peer.reader.read(1), 0.2))
        await release.wait()
        await peer.send(handshake_answer(head))
        early.append(await peer.exactly(8))
        await peer.send(b"\x81\x02ho")
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        raw = await front.connect()
        await raw.send(HANDSHAKE + b"\r\n" + TEXT_HI)
        await asyncio.sleep(0.3)
        assert early == []
        release.set()
        assert status(await raw.head()) == 101
        assert await raw.exactly(4) == b"\x81\x02ho"
        await raw.close()


def handshake_answer(head: bytes) -> bytes:
    from websockets.utils import accept_key

    accept = accept_key(header(head, "sec-websocket-key")[0].decode()).encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: " + accept + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (b"Sec-WebSocket-Version: 13\r\n", 400),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n", 400),
        (b"Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n", 400),
    ],
)
async def test_a_wrong_handshake_is_refused_before_any_upstream(lines: bytes, code: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    async with upstream(always(b"")) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(head + lines + b"\r\n")) == code
        assert up.connection_count == 0


async def test_a_handshake_with_more_than_the_library_reads_is_refused_in_words() -> None:
    async with upstream(always(b"")) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(HANDSHAKE + b"X: " + b"y" * 20_000 + b"\r\n\r\n")) == 431
        many = b"".join(b"X-%d: y\r\n" % number for number in range(500))
        assert status(await front.ask(HANDSHAKE + many + b"\r\n")) == 431
        assert up.connection_count == 0


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x02hi",
        b"\xf1\x82\x00\x00\x00\x00hi",
        b"\x83\x80\x00\x00\x00\x00",
        b"\x89\xfe\x00\x7e" + b"\x00" * 130,
    ],
    ids=["unmasked", "reserved bits", "reserved opcode", "a ping too long"],
)
async def test_a_broken_frame_ends_both_sides(frame: bytes) -> None:
    async with workload(echo) as endpoint, gateway(endpoint) as front:
        raw = await front.connect()
        await raw.send(HANDSHAKE + b"\r\n")
        assert status(await raw.head()) == 101
        await raw.send(frame)
        assert (await raw.rest())[:1] in (b"\x88", b"")
        await raw.close()
        await front.outcome()


async def test_a_slow_reader_slows_the_upstream_down() -> None:
    sent = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(b"x" * 1_000_000)
                sent += 1

    async with workload(handler) as endpoint, gateway(endpoint) as front:
        raw = await front.connect()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(HANDSHAKE + b"\r\n")
        last = -1
        while sent != last or not sent:
            last = sent
            await asyncio.sleep(0.3)
        assert sent < 100
        raw.reset()


async def test_pings_of_a_client_that_reads_nothing_are_not_read_without_end() -> None:
    ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
    async with workload(echo) as endpoint, gateway(endpoint) as front:
        raw = await front.connect()
        await raw.send(HANDSHAKE + b"\r\n")
        await raw.head()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            for _ in range(200):  # 50 MiB; what the kernel buffers is a tenth of it
                await asyncio.wait_for(raw.send(ping * 2000), 2)
        raw.reset()


async def test_a_websocket_behind_an_answer_that_is_not_taken_slows_the_upstream_down() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000
    frame = b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + b"y" * (1 << 20)
    sent = 0

    async def handler(peer: Peer) -> None:
        nonlocal sent
        while b"upgrade" not in (head := await peer.head()).lower():
            await peer.send(answer)
        await peer.send(handshake_answer(head))
        while sent < 100:
            await peer.send(frame)
            sent += 1

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        raw = await front.connect()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(TimeoutError):  # one answer after another, until one waits for the client
            for _ in range(400):
                await raw.send(get(close=False))
                await asyncio.wait_for(front.outcomes.get(), 0.5)
        await raw.send(HANDSHAKE + b"\r\n")
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.5)
        assert sent < 100
        raw.reset()


async def test_a_retired_incarnation_ends_its_websockets_with_try_again() -> None:
    async with workload(echo) as endpoint, gateway(endpoint) as front, client(front) as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello"
        assert front.proxy.in_flight_count("one") == 1
        await front.proxy.retire("one")
        await connection.send("still here")
        assert await connection.recv() == "still here"
        await front.proxy.retire("one", cut=True)
        error = await closed(connection)
        assert error.rcvd is not None
        assert error.rcvd.code == 1012
        assert (await front.outcome()).failure is Failure.RETIRED
        assert front.proxy.in_flight_count("one") == 0


async def test_a_refused_dial_is_told_before_anything_was_read() -> None:
    async with workload(echo) as endpoint:
        pass
    async with gateway(endpoint) as front:
        assert status(await front.ask(HANDSHAKE + b"\r\n")) == 403
        assert (await front.refused.get()).failure is Failure.DIAL_REFUSED
