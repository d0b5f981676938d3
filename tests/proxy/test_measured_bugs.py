"""The fourteen bugs that trials of streaming proxies turned up, each by its number."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy import Failure, Limits
from gateway.server import ServerLimits
from tests.proxy import rig
from tests.proxy.rig import OK, PATIENCE_S, Peer, always, gateway, get, header, post, status, upstream

pytestmark = pytest.mark.usefixtures("way")

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def read_request_then_wait(peer: Peer) -> None:
    """An upstream that never answers; it sees its client leave as the end of the stream."""
    await peer.request()
    await peer.exactly(1)


async def test_01_a_disconnect_before_the_upstreams_headers_reaches_it() -> None:
    async with upstream(read_request_then_wait) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"{}"))
        while not up.peers:
            await asyncio.sleep(0.001)
        await client.close()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert (await front.outcome()).failure is Failure.CLIENT_GONE


async def test_01_a_disconnect_in_an_open_stream_reaches_the_upstream() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(EVENTS, b"3\r\na\n\n\r\n")
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get())
        await client.until(b"a\n\n\r\n")
        client.reset()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert (await front.outcome()).failure is Failure.CLIENT_GONE


async def test_01_a_disconnect_in_the_middle_of_an_upload_reaches_the_upstream() -> None:
    async with upstream(read_request_then_wait) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"x" * 1000)[:-500])
        while not up.peers:
            await asyncio.sleep(0.001)
        await client.close()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert (await front.outcome()).failure is Failure.CLIENT_GONE


async def test_01_a_disconnect_reaches_the_first_of_several_pipelined_requests() -> None:
    async with upstream(read_request_then_wait) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get(close=False) + get("/second", close=False))
        while not up.peers:
            await asyncio.sleep(0.001)
        await client.close()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert up.connection_count == 1


async def test_02_white_space_around_header_values_is_stripped_both_ways() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(b"HTTP/1.1 200 OK\r\nx-back: \t there \t \r\ncontent-length: 0\r\n\r\n")

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get("/", "X-Forth: \t here \t "))
    assert header(seen[0], "x-forth") == [b"here"]
    assert header(answer, "x-back") == [b"there"]


async def test_03_headers_that_differ_by_case_alone_are_one_header() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(b"HTTP/1.1 200 OK\r\nSet-COOKIE: mcpgw=1\r\nCONTENT-length: 0\r\n\r\n")

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get("/", "AUTHORIZATION: Bearer s", "aUtHoRiZaTiOn: Bearer t"))
    assert b"uthorization" not in seen[0].lower()
    assert header(answer, "set-cookie") == []
    assert header(answer, "content-length") == [b"0"]


async def test_04_an_event_in_pieces_passes_in_pieces_and_nothing_comes_between() -> None:
    pieces = [b"data: ", b"half", b" and half", b"\n", b"\n"]

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(EVENTS)
        for piece in pieces:
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0.06)  # longer than the sweep's period
        await peer.send(b"0\r\n\r\n")

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    body = answer.split(b"\r\n\r\n", 1)[1]
    assert body == b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


async def test_05_no_total_timeout_but_one_for_the_head() -> None:
    async with upstream(read_request_then_wait) as up:
        async with gateway(up.endpoint, Limits(head_s=0.2, sweep_s=0.05)) as front:
            answer = await front.ask(get())
            assert status(answer) == 504
            assert b'"reason": "header_timeout"' in answer
            assert (await front.outcome()).failure is Failure.HEADER_TIMEOUT
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)


async def test_05_an_answer_that_goes_on_outlives_every_single_timeout() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0.05)
            await peer.send(b"x")

    limits = Limits(head_s=0.4, idle_s=0.4, sweep_s=0.05)
    async with upstream(handler) as up, gateway(up.endpoint, limits) as front:
        assert (await front.ask(get())).endswith(b"x" * 20)


async def test_05_a_silence_inside_the_answer_cuts_it() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf")
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint, Limits(idle_s=0.2, sweep_s=0.05)) as front:
        assert (await front.ask(get())).endswith(b"half")
        outcome = await front.outcome()
        assert (outcome.status, outcome.failure) == (200, Failure.IDLE_TIMEOUT)


async def test_05_an_event_stream_may_be_silent_for_longer() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(EVENTS)
        await asyncio.sleep(0.6)
        await peer.send(b"0\r\n\r\n")

    async with upstream(handler) as up, gateway(up.endpoint, Limits(idle_s=0.1, sweep_s=0.05)) as front:
        assert (await front.ask(get())).endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("is_listening", [True, False], ids=["of a listener", "of a call"])
async def test_05_an_open_stream_does_not_hold_up_the_shutdown(is_listening: bool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(EVENTS)
        await peer.exactly(1)

    async with upstream(handler) as up:
        async with gateway(up.endpoint, server_limits=ServerLimits(graceful_shutdown_s=1)) as front:
            client = await front.connect()
            await client.send(get() if is_listening else post(b"{}"))
            await client.head()
        # The gateway is down: the rig waits for it, and no longer than its patience.
        rest = await client.rest()
        await client.close()
        # Who only listens comes again; a call's answer must not look whole.
        assert rest.endswith(b"0\r\n\r\n") is is_listening
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)


async def test_06_connection_content_length_does_not_unframe_the_body() -> None:
    smuggled = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        named = "Connection: close, content-length, Transfer-Encoding, host, x-drop"
        request = post(smuggled, named, "X-Drop: 1", "X-Keep: 2", close=False)
        assert status(await front.ask(request)) == 200
        await asyncio.sleep(0.1)
    assert len(seen) == 1
    assert header(seen[0], "content-length") == [b"%d" % len(smuggled)]
    assert header(seen[0], "host") == [b"workload"]
    assert header(seen[0], "x-drop") == []
    assert header(seen[0], "x-keep") == [b"2"]


async def test_06_an_upstreams_connection_header_does_not_unframe_its_answer() -> None:
    answer_bytes = (
        b"HTTP/1.1 200 OK\r\nconnection: content-length, x-hop\r\nx-hop: 1\r\ncontent-length: 2\r\n\r\nok"
    )
    async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    assert header(answer, "content-length") == [b"2"]
    assert header(answer, "x-hop") == []


async def test_07_a_request_in_another_transfer_coding_is_refused() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        for coding in ("gzip, chunked", "chunked, gzip", "gzip", "identity"):
            head = f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n"
            answer = await front.ask(head.encode() + b"0\r\n\r\n")
            assert status(answer) in (400, 501), coding
        assert front.scopes == []


async def test_07_an_answer_in_another_transfer_coding_is_not_relabelled() -> None:
    coded = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    async with upstream(always(coded)) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get())) == 502
        assert (await front.outcome()).failure is Failure.BAD_RESPONSE


async def test_08_an_unsolicited_101_is_an_error() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw bytes"
    async with upstream(always(switch)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
        assert status(answer) == 502
        assert b"raw bytes" not in answer


async def test_08_an_upgrade_to_anything_else_is_ignored_and_what_follows_is_the_next_request() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        upgrade = get("/first", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", close=False)
        answer = await front.ask(upgrade + get("/second"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [request.split(b" ")[1] for request in seen] == [b"/first", b"/second"]
    assert header(seen[0], "upgrade") == []


@pytest.mark.parametrize("framing", ["length", "chunks", "chunks that come late"])
async def test_08_the_body_of_a_request_that_asks_for_another_protocol_is_its_body(framing: str) -> None:
    """Java's client asks for h2c with every call; read as a request, the body would be anybody's words."""
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK)

    body = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    asks = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    head = b"POST /mcp HTTP/1.1\r\nHost: x\r\n" + asks
    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        if framing == "length":
            await client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        else:
            await client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            if framing == "chunks that come late":
                await asyncio.sleep(0.05)
            await client.send(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert status(await client.answer()) == 200
        await client.send(get("/next"))
        assert status(await client.answer()) == 200
        await client.close()
    assert [one.split(b" ")[1] for one in seen] == [b"/mcp", b"/next"]
    assert body in seen[0]
    assert header(seen[0], "upgrade") == []


async def test_08_a_client_of_http_1_0_that_asks_for_another_protocol_is_sent_no_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    asks = post(b"{}", "Connection: Upgrade", "Upgrade: h2c", close=False)
    async with upstream(always(chunked)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(asks.replace(b" HTTP/1.1", b" HTTP/1.0"))
    assert status(answer) == 200
    assert header(answer, "transfer-encoding") == []
    assert answer.endswith(b"\r\n\r\nok"), "the end of the connection is the body's"


async def test_09_pipelined_requests_are_answered_in_order_each_at_once() -> None:
    release = asyncio.Event()

    async def handler(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if b"/slow" in request:
                await release.wait()
            path = request.split(b" ")[1]
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get("/a", close=False) + get("/b", close=False) + get("/slow", close=False))
        assert (await client.answer()).endswith(b"/a")
        assert (await client.answer()).endswith(b"/b")
        release.set()
        assert (await client.answer()).endswith(b"/slow")
        await client.close()


async def test_10_http_1_0_clients_never_get_chunks() -> None:
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with upstream(always(chunks)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    assert header(answer, "transfer-encoding") == []
    assert header(answer, "connection") == [b"close"]
    assert answer.endswith(b"\r\n\r\nabcde")


@pytest.mark.parametrize("code", [299, 418, 451, 599, 777, 999])
async def test_10_odd_statuses_pass(code: int) -> None:
    odd = b"HTTP/1.1 %d Odd\r\ncontent-length: 2\r\n\r\nok" % code
    async with upstream(always(odd)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
        assert status(answer) == code
        assert answer.endswith(b"\r\n\r\nok")


async def test_10_a_304_and_a_head_keep_their_length_without_a_body() -> None:
    for request, answer_bytes in (
        (get(), b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: x\r\n\r\n"),
        (get().replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"),
    ):
        async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
            answer = await front.ask(request)
            assert header(answer, "content-length") == [b"99"]
            assert answer.endswith(b"\r\n\r\n")
            assert (await front.outcome()).failure is Failure.NONE


async def test_11_an_oversized_head_is_refused() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get("/", "X: " + "y" * 70_000))) == 431
        assert status(await front.ask(get("/", *(f"X-{n}: y" for n in range(9000))))) == 431
        assert status(await front.ask(get("/" + "y" * 70_000))) == 431
        assert status(await front.ask(get("/", "X: " + "y" * 60_000))) == 200
        assert up.connection_count == 1


async def test_11_a_missing_or_doubled_host_is_refused() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        for head in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
        ):
            assert status(await front.ask(head)) == 400, head
        assert front.scopes == []


async def test_12_a_pooled_connection_that_was_closed_is_not_used() -> None:
    async with upstream(always(OK, close=True)) as up, gateway(up.endpoint) as front:
        for _ in range(3):
            assert status(await front.ask(post(b"x"))) == 200
            await asyncio.sleep(0.02)
        assert up.connection_count == 3


async def test_12_a_get_on_a_connection_closed_just_then_is_repeated_once() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if up.connection_count == 1:
            await peer.head()  # reads the second request and drops the connection
            return
        await always(OK)(peer)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get("/1"))) == 200
        assert status(await front.ask(get("/2"))) == 200
        assert up.connection_count == 2


async def test_12_a_post_that_reached_the_upstream_is_never_repeated() -> None:
    bodies: list[bytes] = []

    async def handler(peer: Peer) -> None:
        bodies.append(await peer.request())
        await peer.send(OK)
        bodies.append(await peer.request())

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(post(b"first"))) == 200
        answer = await front.ask(post(b"second"))
        assert status(answer) == 502
        assert [b.rsplit(b"\r\n", 1)[1] for b in bodies] == [b"first", b"second"]
        await front.outcome()
        assert (await front.outcome()).failure is Failure.UPSTREAM_RESET


async def test_12_a_get_on_a_new_connection_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "DIRECT", False)  # so that there is no pooled connection

    async def handler(peer: Peer) -> None:
        await peer.head()

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get())) == 502
        assert up.connection_count == 1


async def test_12_idle_connections_are_closed_and_a_target_has_a_cap() -> None:
    limits = Limits(pool_idle_s=0.1, sweep_s=0.05, connections_max=2)

    async def handler(peer: Peer) -> None:
        while b"/wait" not in await peer.request():
            await peer.send(OK)
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint, limits) as front:
        assert status(await front.ask(get())) == 200
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        waiting = [await front.connect() for _ in range(2)]
        for client in waiting:
            await client.send(get("/wait"))
        while up.connection_count < 3:
            await asyncio.sleep(0.001)
        assert status(await front.ask(get())) == 503
        assert (await front.refused.get()).failure is Failure.SATURATED
        for client in waiting:
            await client.close()


async def test_13_forged_forwarding_headers_from_loopback_are_not_believed() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        await front.ask(get("/", "X-Forwarded-For: 8.8.8.8", "X-Forwarded-Proto: https"))
        assert front.scopes[0]["client"][0] == "127.0.0.1"
        assert front.scopes[0]["scheme"] == "http"
    assert b"8.8.8.8" not in seen[0]


async def test_14_the_parsers_strictness_is_held_by_a_battery() -> None:
    """The batteries themselves: test_malformed_requests.py and test_hostile_answers.py."""
    from tests.proxy import test_hostile_answers, test_malformed_requests

    assert len(test_malformed_requests.REFUSED) >= 40
    assert len(test_hostile_answers.BAD) >= 20
