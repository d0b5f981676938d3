"""Malformed and hostile requests: each is refused, no upstream sees a byte, and the server lives on."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy import Limits
from gateway.server import ServerLimits
from gateway.server.limits import CONNECTIONS_MIN, FILES_RESERVED
from tests.proxy.rig import OK, PATIENCE_S, Peer, always, gateway, get, header, post, status, upstream

H = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\n" + H
POST = b"POST / HTTP/1.1\r\n" + H
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

# Refused before an application hears of them.
REFUSED = {
    "both lengths": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an underscored length": POST + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "an enormous length": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 3\r\n\r\nabc",
    "a first header with a space": b"GET / HTTP/1.1\r\n X: a\r\n" + H + b"\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a bare line feed after a header": b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "a NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "a NUL in a name": GET + b"X\x00: a\r\n\r\n",
    "a NUL in the target": b"GET /\x00 HTTP/1.1\r\n" + H + b"\r\n",
    "a control character in a value": GET + b"X: a\x01\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a header without a colon": GET + b"nonsense\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + H + b"\r\n",
    "a byte beyond ASCII in the target": b"GET /\xc3\xa9 HTTP/1.1\r\n" + H + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n",
    "a relative target": b"GET a HTTP/1.1\r\n" + H + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n",
    "another scheme": b"GET ftp://x/ HTTP/1.1\r\n" + H + b"\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\n" + H + b"\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\n" + H + b"\r\n",
    "an unknown method": b"HACK / HTTP/1.1\r\n" + H + b"\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\n" + H + b"\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n" + H + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + H + b"\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /\r\n" + H + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "gzip alone": POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a WebSocket handshake with a body": GET + WEBSOCKET + b"Content-Length: 3\r\n\r\nabc",
}

# Refused when their body turns out to be broken; the upstream must never see the body's end.
BROKEN_BODIES = {
    "a chunk size that is no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a prefixed chunk size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size too large": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a space after the chunk size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a bare line feed after the chunk size": b"3\nabc\r\n0\r\n\r\n",
    "no line end after a chunk": b"3\r\nabcd\r\n0\r\n\r\n",
    "a bare line feed after a chunk": b"3\r\nabc\n0\r\n\r\n",
    "a NUL in a trailer": b"3\r\nabc\r\n0\r\nX: \x00\r\n\r\n",
    "an endless chunk extension": b"3;" + b"x" * 600_000 + b"\r\nabc\r\n0\r\n\r\n",
    "an endless trailer": b"3\r\nabc\r\n0\r\nX: " + b"y" * 600_000,
    "trailers without end": b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 100_000,
}


@pytest.mark.parametrize("name", REFUSED)
async def test_is_refused_and_no_upstream_hears_of_it(name: str) -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(REFUSED[name])
        assert 400 <= status(answer) < 600
        assert header(answer, "connection") == [b"close"]
        assert up.connection_count == 0
        assert status(await front.ask(get())) == 200


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_broken_body_never_ends_upstream(name: str) -> None:
    received = bytearray()
    ended = asyncio.Event()

    async def handler(peer: Peer) -> None:
        received.extend(await peer.rest())
        ended.set()

    limits = Limits(pool_idle_s=0.05, sweep_s=0.05)
    async with upstream(handler) as up, gateway(up.endpoint, limits) as front:
        answer = await front.ask(CHUNKED + BROKEN_BODIES[name])
        assert status(answer) in (400, 431)
        await asyncio.sleep(0)
        if up.connection_count:
            await asyncio.wait_for(ended.wait(), PATIENCE_S)
        assert not received.endswith(b"0\r\n\r\n")


async def test_trailers_do_not_become_headers() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(CHUNKED + b"3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        await client.send(b"0\r\nX-App-User: root\r\nHost: evil\r\n\r\n")
        assert status(await client.answer()) == 200
        await client.close()
    assert b"root" not in seen[0]
    assert b"evil" not in seen[0]


async def test_a_second_request_that_is_garbage_does_not_enter_the_first_answer() -> None:
    release = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
        await release.wait()
        await peer.send(b"lf")

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get(close=False))
        await client.until(b"ha")
        await client.send(b"garbage\r\n\r\n")
        assert await client.rest() == b""
        release.set()
        await client.close()


async def test_requests_sent_ahead_are_bounded() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get(close=False) * 1000)
        assert await client.rest() == b""
        assert up.connection_count <= 1
        await client.close()


async def test_what_follows_a_last_request_is_ignored() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get() + get("/smuggled"))
        assert answer.count(b"HTTP/1.1") == 1
        assert header(answer, "connection") == [b"close"]


async def test_expect_is_answered_by_the_gateway_and_not_passed_on() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        whole = post(b"abc", "Expect: 100-continue")
        await client.send(whole[:-3])
        assert (await client.head()).startswith(b"HTTP/1.1 100 Continue")
        await client.send(b"abc")
        assert status(await client.answer()) == 200
        await client.close()
    assert header(seen[0], "expect") == []
    assert seen[0].endswith(b"abc")


async def test_expect_is_not_answered_when_nobody_can_be_reached() -> None:
    async with upstream(always(OK)) as up:
        endpoint = up.endpoint
    async with gateway(endpoint) as front:
        client = await front.connect()
        await client.send(post(b"abc", "Expect: 100-continue")[:-3])
        assert status(await client.head()) == 503
        await client.close()


async def test_a_chunked_body_arrives_chunked_or_with_its_length() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        await client.answer()
        await client.send(CHUNKED + b"3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        await client.send(b"2;ext=1\r\nde\r\n0\r\n\r\n")
        await client.answer()
        await client.close()
    assert header(seen[0], "content-length") == [b"3"]
    assert seen[0].endswith(b"\r\n\r\nabc")
    assert header(seen[1], "transfer-encoding") == [b"chunked"]
    assert seen[1].endswith(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


async def test_an_absolute_target_is_taken_when_it_agrees_with_host() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        raw = b"GET http://x:9000/a?b HTTP/1.1\r\nHost: X:9000\r\nConnection: close\r\n\r\n"
        assert status(await front.ask(raw)) == 200
    assert seen[0].startswith(b"GET /a?b HTTP/1.1\r\n")


HASTY = ServerLimits(head_s=0.2, body_idle_s=0.2, keep_alive_s=0.2, linger_s=0.2, stall_s=0.3, sweep_s=0.05)


async def test_a_slow_head_is_given_up() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint, server_limits=HASTY) as front:
        client = await front.connect()
        for byte in get()[:-10]:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.01)
            if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
                break
        assert status(await client.rest()) == 408
        await client.close()


async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint, server_limits=HASTY) as front:
        client = await front.connect()
        assert await client.rest() == b""
        await client.close()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint, server_limits=HASTY) as front:
        client = await front.connect()
        await client.send(get(close=False))
        assert status(await client.answer()) == 200
        assert await client.rest() == b""
        await client.close()


async def test_a_body_that_stops_is_given_up_and_the_upstream_told() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()

    async with upstream(handler) as up, gateway(up.endpoint, server_limits=HASTY) as front:
        client = await front.connect()
        await client.send(post(b"x" * 100)[:-50])
        assert status(await client.rest()) == 408
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        await client.close()


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with upstream(handler) as up, gateway(up.endpoint, server_limits=HASTY) as front:
        client = await front.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(get())
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        client.reset()


async def test_too_many_connections_are_turned_away_while_all_of_them_are_answered() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.exactly(1)

    limits = ServerLimits(connections_max=2, sweep_s=0.05, graceful_shutdown_s=1)
    async with upstream(handler) as up, gateway(up.endpoint, server_limits=limits) as front:
        kept = [await front.connect() for _ in range(2)]
        for client in kept:
            await client.send(get(close=False))
        while up.connection_count < 2:
            await asyncio.sleep(0.005)
        assert await front.ask(get()) == b""
        for client in kept:
            await client.close()


async def test_an_upload_that_was_let_in_is_not_pushed_out_by_newcomers() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    limits = ServerLimits(connections_max=2, sweep_s=0.05)
    async with upstream(handler) as up, gateway(up.endpoint, server_limits=limits) as front:
        uploading = await front.connect()
        await uploading.send(post(b"x" * 100)[:-50])
        while up.connection_count < 1:
            await asyncio.sleep(0.005)
        silent = [await front.connect() for _ in range(5)]
        assert [await client.rest() for client in silent[:-1]] == [b""] * 4
        await uploading.send(b"x" * 50)
        assert status(await uploading.rest()) == 200
        for client in (uploading, *silent):
            await client.close()


async def test_an_upload_that_was_refused_early_is_not_read_for_long() -> None:
    """Though nobody took what it sent, so that it was not read for a while."""
    refused = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await refused.wait()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    limits = ServerLimits(linger_s=0.2, sweep_s=0.05)
    async with upstream(handler) as up, gateway(up.endpoint, server_limits=limits) as front:
        client = await front.connect()
        client.writer.write(post(b"x" * (64 << 20))[:-1])
        await asyncio.sleep(0.5)
        refused.set()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await client.send(b"x")
                    await asyncio.sleep(0.05)
        await client.close()


async def test_silent_connections_make_room_before_those_that_have_asked_for_something() -> None:
    limits = ServerLimits(connections_max=4, sweep_s=0.05)
    async with upstream(always(OK)) as up, gateway(up.endpoint, server_limits=limits) as front:
        known = await front.connect()
        await known.send(get(close=False))
        assert status(await known.answer()) == 200
        silent = [await front.connect() for _ in range(3)]
        half = [await front.connect() for _ in range(3)]
        for client in half:
            await client.send(b"GET / HT")
        assert [await client.rest() for client in silent] == [b"", b"", b""]
        for _ in range(3):
            assert status(await front.ask(get())) == 200
        await known.send(get())
        assert status(await known.rest()) == 200, "whoever is served is not pushed out"
        for client in (known, *silent, *half):
            await client.close()


async def test_refused_clients_that_linger_do_not_fill_the_room() -> None:
    limits = ServerLimits(connections_max=3, sweep_s=0.05)
    async with upstream(always(OK)) as up, gateway(up.endpoint, server_limits=limits) as front:
        refused = [await front.connect() for _ in range(3)]
        for client in refused:
            await client.send(b"nonsense\r\n\r\n")
            await client.head()
        assert status(await front.ask(get())) == 200
        for client in refused:
            client.reset()


def test_a_process_that_may_have_few_files_has_fewer_connections() -> None:
    limits = ServerLimits()
    assert limits.within(1 << 30).connections_max == limits.connections_max
    assert limits.within(1024).connections_max == (1024 - FILES_RESERVED) // 2
    assert limits.within(0).connections_max == CONNECTIONS_MIN
