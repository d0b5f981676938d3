"""Upstreams that answer wrongly: the client gets a whole answer, an honest 502, or a visibly cut one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy import Failure
from tests.proxy.rig import OK, PATIENCE_S, Peer, always, gateway, get, header, post, status, upstream

pytestmark = pytest.mark.usefixtures("way")

# No answer at all can be made of these: 502.
BAD = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
    "a giant header": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a giant header without an end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n",
    "a flood of 1xx": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 100 + OK,
    "an unsolicited 101": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" + OK,
    "a bare 101": b"HTTP/1.1 101 Switching\r\n\r\n" + OK,
    "a status below 100": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 Odd\r\ncontent-length: 0\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
    "a length that is no number": b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok",
    "a folded header": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nx: \x00\r\ncontent-length: 0\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "gzip as transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
    "gzip under chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity as transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc",
}

# An answer has begun; that it is not whole must show.
CUT = {
    "a short body": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    "a chunk cut off": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
    "chunks without an end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "a bad second chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    "an endless chunk extension": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n4;" + b"x" * 600_000
    ),
    "an endless trailer": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx: " + b"y" * 600_000
    ),
}

# Unusual, and whole.
WHOLE = {
    "a 204 with a length and a body": (b"HTTP/1.1 204 No\r\ncontent-length: 3\r\n\r\nabc", 204, b""),
    "a 304 with a length": (b"HTTP/1.1 304 Not\r\ncontent-length: 3\r\n\r\n", 304, b""),
    "a few 1xx before it": (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
    "an end by closing": (b"HTTP/1.1 200 OK\r\n\r\nto the end", 200, b"to the end"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
    "trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nset-cookie: mcpgw=1\r\n\r\n",
        200,
        b"ok",
    ),
    "two answers": (OK + OK, 200, b"ok"),
    "bytes after the answer": (OK + b"more", 200, b"ok"),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "bytes beyond ASCII in a header": (
        b"HTTP/1.1 200 OK\r\nx: \xe9\r\ncontent-length: 2\r\n\r\nok",
        200,
        b"ok",
    ),
}


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return body
    joined = b""
    while body and not body.startswith(b"0\r\n"):
        size, _, body = body.partition(b"\r\n")
        joined, body = joined + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return joined


@pytest.mark.parametrize("name", BAD)
async def test_becomes_a_502_that_says_why(name: str) -> None:
    async with upstream(always(BAD[name], close=True)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(post(b"x"))
        assert status(answer) == 502
        assert header(answer, "content-type") == [b"application/problem+json"]
        assert b"127.0.0.1" not in answer
        outcome = await front.outcome()
        assert outcome.failure in (Failure.BAD_RESPONSE, Failure.UPSTREAM_RESET)
        assert not outcome.answer_began
        assert outcome.status == 502


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", CUT)
async def test_is_visibly_cut(name: str, version: str) -> None:
    async with upstream(always(CUT[name], close=True)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        if answer:  # to HTTP/1.0 without a length the cut is a reset, which may overtake the answer
            assert status(answer) == 200
            assert not answer.endswith(b"0\r\n\r\n")
        outcome = await front.outcome()
        assert outcome.failure in (Failure.BAD_RESPONSE, Failure.UPSTREAM_RESET)
        assert outcome.answer_began


@pytest.mark.parametrize("name", WHOLE)
async def test_passes_whole(name: str) -> None:
    answer_bytes, code, body = WHOLE[name]
    async with upstream(always(answer_bytes, close=True)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
        assert status(answer) == code
        assert body_of(answer) == body
        assert b"mcpgw" not in answer
        assert (await front.outcome()).failure is Failure.NONE
        assert status(await front.ask(get())) == code


async def test_one_answers_leftovers_never_reach_the_next_request() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        for _ in range(3):
            assert (await front.ask(get())).endswith(b"ok")
        assert up.connection_count == 3


async def test_bytes_on_an_idle_connection_close_it() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await asyncio.sleep(0.05)
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get())) == 200
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert status(await front.ask(get())) == 200


async def test_an_answer_before_the_requests_body_has_ended_is_passed_on() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await peer.exactly(10_000_000)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"x" * 1_000_000)[:-500_000])
        answer = await client.answer()
        assert status(answer) == 413
        assert answer.endswith(b"big")
        assert await client.rest() == b""
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        await client.close()


async def test_request_and_answer_may_stream_at_once() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        for _ in range(5):
            await peer.send(await peer.exactly(1))

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"abcde")[:-5])
        for letter in (b"a", b"b", b"c", b"d", b"e"):
            await client.send(letter)
            assert (await client.until(letter)).endswith(letter)
        await client.close()
        assert (await front.outcome()).failure is Failure.NONE


async def test_an_upstream_that_resets_during_an_upload_is_a_502() -> None:
    async def handler(peer: Peer) -> None:
        await peer.exactly(2000)
        peer.reset()

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"x" * 4000)[:-1000])
        assert status(await client.head()) == 502
        await client.close()
