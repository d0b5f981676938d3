"""What an ordinary request and its answer look like on the other side."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy import Failure
from tests.proxy.rig import OK, Peer, always, gateway, get, header, post, status, upstream

pytestmark = pytest.mark.usefixtures("way")


async def test_a_request_arrives_with_path_query_host_and_body() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        answer = await front.ask(post(b'{"a": 1}', path="/mcp/x%2Fy?q=%20&r"))
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\nok")
        assert seen[0].startswith(b"POST /mcp/x%2Fy?q=%20&r HTTP/1.1\r\nhost: workload\r\n")
        assert seen[0].endswith(b'\r\n\r\n{"a": 1}')
        outcome = await front.outcome()
        assert (outcome.status, outcome.failure, outcome.answer_began) == (200, Failure.NONE, True)
        assert (outcome.bytes_up, outcome.bytes_down) == (8, 2)
        assert vars(front.activity) == {"began": 1, "ended": 1, "up": 8, "down": 2, "frames": 0}


async def test_a_connection_is_used_again() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        for _ in range(5):
            await client.send(post(b"x", close=False))
            assert status(await client.answer()) == 200
        await client.close()
        assert up.connection_count == 1


async def test_own_headers_replace_the_clients() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    extra = ((b"x-gateway-assertion", b"signed"),)
    forged = (
        "X-Forwarded-For: 1.1.1.1",
        "x_forwarded_for: 1.1.1.1",
        "X-Forwarded-Prefix: /admin",
        "Forwarded: for=1.1.1.1",
        "X-Real-IP: 1.1.1.1",
        "X-App-User: root",
        "X_App_User: root",
        "X-Auth-Email: root@example.com",
        "X-Forwarded: for=1.1.1.1",
        "X-Original-Forwarded-For: 1.1.1.1",
        "Remote-User: root",
        "Remote-Groups: root",
        "Tailscale-User-Login: root",
        "Cf-Access-Authenticated-User-Email: root",
        "X-Goog-Authenticated-User-Email: root",
        "X-Amzn-Oidc-Identity: root",
        "X-Ms-Client-Principal-Name: root",
        "X-Webauth-User: root",
        "Authorization: Bearer secret",
        "X-Gateway-Assertion: forged",
        "X_Gateway_Assertion: forged",
        "Proxy: http://evil",
        "Cookie: mcpgw_csrf=1; theme=dark; __Host-mcpgw_session=2; lang=en",
        "Cookie: __Host-mcpgw=3",
        "Mcp-Session-Id: abc",
        "Mcp-Param-Unknown: kept",
    )
    async with upstream(handler) as up, gateway(up.endpoint, extra_headers=extra) as front:
        await front.ask(get("/", *forged))
    request = seen[0]
    assert header(request, "x-forwarded-for") == [b"203.0.113.9"]
    assert header(request, "x-forwarded-host") == [b"home.example"]
    assert header(request, "x-gateway-assertion") == [b"signed"]
    assert header(request, "cookie") == [b"theme=dark; lang=en"]
    assert header(request, "mcp-session-id") == [b"abc"]
    assert header(request, "mcp-param-unknown") == [b"kept"]
    for word in (b"1.1.1.1", b"root", b"secret", b"forged", b"evil", b"mcpgw", b"/admin"):
        assert word not in request


async def test_a_workload_cannot_steer_the_proxy_in_front_or_clear_its_siblings_cookies() -> None:
    steering = (
        b"x-accel-redirect: /internal\r\nx-sendfile: /etc/passwd\r\n"
        b'clear-site-data: "cookies"\r\nx-accel-buffering: no\r\n'
    )
    answer_bytes = b"HTTP/1.1 200 OK\r\n" + steering + b"content-length: 0\r\n\r\n"
    async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    for name in ("x-accel-redirect", "x-sendfile", "clear-site-data"):
        assert header(answer, name) == []
    assert header(answer, "x-accel-buffering") == [b"no"]


async def test_a_workload_says_nothing_that_lasts_for_an_origin() -> None:
    names = (
        "nel",
        "report-to",
        "reporting-endpoints",
        "alt-svc",
        "strict-transport-security",
        "public-key-pins",
        "public-key-pins-report-only",
    )
    lasting = "".join(f"{name.title()}: x\r\n" for name in names).encode()
    answer_bytes = b"HTTP/1.1 200 OK\r\nx-own: kept\r\n" + lasting + b"content-length: 0\r\n\r\n"
    async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    for name in names:
        assert header(answer, name) == []
    assert header(answer, "x-own") == [b"kept"]


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b"a=1; Path=/; Domain=example.com; Secure", b"a=1; Path=/; Secure"),
        (b"a=1;DOMAIN=.example.com", b"a=1"),
        (b"a=1; \tdOmAiN \t= x;Domain;  HttpOnly ;Domain=y", b"a=1;  HttpOnly "),
        (b'domain=1; Path="/domain"; X-Domain=2', b'domain=1; Path="/domain"; X-Domain=2'),
        (b"a=domain=x;  Max-Age=5", b"a=domain=x;  Max-Age=5"),
    ],
)
async def test_a_workload_sets_cookies_for_its_own_host_alone(said: bytes, passed: bytes) -> None:
    answer_bytes = b"HTTP/1.1 200 OK\r\nSet-Cookie: " + said + b"\r\ncontent-length: 0\r\n\r\n"
    async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    assert header(answer, "set-cookie") == [passed]


async def test_gateway_cookies_cannot_be_set_by_a_workload() -> None:
    cookies = (
        b"set-cookie: mine=1\r\nset-cookie: __Host-mcpgw_session=x; Path=/\r\n"
        b"set-cookie: =mcpgw=x\r\nset-cookie: = __host-MCPGW=x\r\nset-cookie: yours=2\r\n"
    )
    answer_bytes = b"HTTP/1.1 200 OK\r\n" + cookies + b"content-length: 0\r\n\r\n"
    async with upstream(always(answer_bytes)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    assert header(answer, "set-cookie") == [b"mine=1", b"yours=2"]


async def test_events_are_not_buffered_by_proxies_before_us() -> None:
    events = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncontent-length: 0\r\n\r\n"
    async with upstream(always(events)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
    assert header(answer, "x-accel-buffering") == [b"no"]


async def test_each_event_arrives_as_it_is_sent() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        while await peer.exactly(0) == b"":
            word = await turns.get()
            await peer.send(b"%x\r\n%b\r\n" % (len(word), word))

    turns: asyncio.Queue[bytes] = asyncio.Queue()
    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get())
        await client.head()
        for number in range(5):
            event = b"data: %d\n\n" % number
            turns.put_nowait(event)
            assert await client.until(b"\n\n\r\n") == b"%x\r\n%b\r\n" % (len(event), event)
        await client.close()


async def test_a_slow_client_slows_the_upstream_down_and_gets_everything() -> None:
    sent = 0
    total = 64 << 20

    async def handler(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            await peer.send(b"x" * 65536)
            sent += 65536

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(get())
        last = -1
        while sent != last or not sent:
            last = sent
            await asyncio.sleep(0.2)
        assert sent < total / 2
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.rest()
        assert len(answer.split(b"\r\n\r\n", 1)[1]) == total
        await client.close()
        assert (await front.outcome()).bytes_down == total


async def test_a_slow_upstream_slows_the_client_down_and_gets_everything() -> None:
    go = asyncio.Event()
    total = 64 << 20
    got = 0

    async def handler(peer: Peer) -> None:
        nonlocal got
        await peer.head()
        await go.wait()
        while got < total:
            got += len(await peer.reader.read(1 << 20))
        await peer.send(OK)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"", "X: y").replace(b"Length: 0", b"Length: %d" % total))
        written = 0
        while True:
            client.writer.write(b"x" * 65536)
            written += 65536
            try:
                await asyncio.wait_for(client.writer.drain(), 0.3)
            except TimeoutError:
                break
        assert written < total / 2
        go.set()
        while written < total:
            await client.send(b"x" * 65536)
            written += 65536
        assert status(await client.answer()) == 200
        await client.close()
        assert got == total


async def test_the_clients_accept_encoding_passes_and_bytes_come_back_raw() -> None:
    seen: list[bytes] = []

    async def handler(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x00")

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get("/", "Accept-Encoding: gzip, br"))
    assert header(seen[0], "accept-encoding") == [b"gzip, br"]
    assert header(answer, "content-encoding") == [b"gzip"]
    assert answer.endswith(b"\x1f\x8b\x00")


async def test_a_redirect_is_passed_on_and_not_followed() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    async with upstream(always(redirect)) as up, gateway(up.endpoint) as front:
        answer = await front.ask(get())
        assert status(answer) == 302
        assert up.connection_count == 1


async def test_the_same_request_again_gets_each_answers_own_head() -> None:
    """What is kept of an answer's head while a client repeats itself is never another answer's."""
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-n: 1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-n: 1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-n: 2\r\n\r\nno",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nx-n: 2\r\n\r\nno",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\nx-n: 2\r\n\r\nnot",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-n: 1\r\nset-cookie: a=b\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-n: 1\r\n\r\nok",
    ]

    async def handler(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        for expected in answers:
            await client.send(post(b"{}", close=False))
            got = await client.answer()
            assert got.split(b" ")[1] == expected.split(b" ")[1]
            assert got.rpartition(b"\r\n\r\n")[2] == expected.rpartition(b"\r\n\r\n")[2]
            for name in ("x-n", "set-cookie"):
                assert header(got, name) == header(expected, name)
        await client.close()
