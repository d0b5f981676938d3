"""The server under applications that are not the proxy, and the proxy under a server that is not ours."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from gateway.proxy import Failure, Proxy
from gateway.server import ServerLimits, build_server, listen
from tests.proxy.rig import (
    OK,
    PATIENCE_S,
    Gateway,
    Peer,
    always,
    get,
    header,
    post,
    serving,
    status,
    upstream,
)

START = {"type": "http.response.start", "status": 200}
UNREAD = b"x" * (8 << 20)  # more than the kernel takes for a client that does not read


async def ask(port: int, request: bytes) -> bytes:
    client = Peer(*await asyncio.open_connection("127.0.0.1", port))
    try:
        await client.send(request)
        return await client.rest()
    finally:
        await client.close()


def application(answer: Any) -> Any:
    """An ASGI application: the lifespan, and `answer` for requests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await answer(scope, receive, send)
            return
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    return app


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a secret")


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError("a secret")


async def splits_the_answer(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"x", b"a\r\nset-cookie: evil=1")]})


async def is_too_short(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"half"})


async def is_too_long(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"three"})


@pytest.mark.parametrize("app", [raises, says_nothing, splits_the_answer], ids=lambda app: app.__name__)
async def test_a_failing_application_becomes_a_500_without_its_secrets(app: Any) -> None:
    async with serving(application(app)) as port:
        answer = await ask(port, get())
    assert status(answer) == 500
    assert b"secret" not in answer
    assert b"evil" not in answer


@pytest.mark.parametrize("app", [breaks_off, is_too_short, is_too_long], ids=lambda app: app.__name__)
async def test_an_application_that_fails_midway_is_visibly_cut(app: Any) -> None:
    async with serving(application(app)) as port:
        answer = await ask(port, get())
    assert status(answer) == 200
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"three" not in answer


async def test_answers_have_one_date_and_no_server() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})

    async with serving(application(app)) as port:
        answer = await ask(port, get())
    assert len(header(answer, "date")) == 1
    assert header(answer, "server") == []


async def test_a_body_that_nobody_reads_does_not_pile_up() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1.0)
        await send({**START, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(application(app)) as port:
        client = Peer(*await asyncio.open_connection("127.0.0.1", port))
        await client.send(post(b"").replace(b"Length: 0", b"Length: 1000000000"))
        written = 0
        with pytest.raises((TimeoutError, ConnectionError)):
            while written < 1_000_000_000:
                client.writer.write(b"x" * 65536)
                await asyncio.wait_for(client.writer.drain(), 0.3)
                written += 65536
        assert written < 100_000_000
        client.reset()


async def test_an_error_before_the_body_was_read_reaches_the_client() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "status": 401, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async with serving(application(app), ServerLimits(linger_s=0.3, sweep_s=0.05)) as port:
        client = Peer(*await asyncio.open_connection("127.0.0.1", port))
        await client.send(post(b"x" * 200_000)[:-100_000])
        assert (await client.answer()).endswith(b"no")
        assert await client.rest() == b""
        await client.close()


async def test_what_follows_from_a_head_does_not_outlive_it() -> None:
    """Requests of one connection that differ in one thing each: nothing of the one before may stick."""
    async with upstream(always(OK)) as up:
        front = Gateway(up.endpoint, Proxy())
        async with serving(front, direct=front.direct) as port:
            client = Peer(*await asyncio.open_connection("127.0.0.1", port))
            requests = [
                get("/a", "Authorization: one", close=False),
                get("/a", "Authorization: one", close=False),
                get("/a", "Authorization: two", close=False),
                get("/b", "Authorization: two", close=False),
                post(b"x", "Authorization: two", path="/b", close=False),
                post(b"xyz", "Authorization: two", path="/b", close=False),
                get("/b?q", "Authorization: two", close=False),
                get("/b", close=False),
            ]
            for request in requests:
                await client.send(request)
                assert status(await client.answer()) == 200
            await client.close()
        await front.proxy.close()
    asked = [
        (s["method"], s["raw_path"], s["query_string"], dict(s["headers"]).get(b"authorization"))
        for s in front.scopes
    ]
    # A dialled connection is not there for the first: it is offered, declined, and comes again.
    assert asked[-len(requests) :] == [
        ("GET", b"/a", b"", b"one"),
        ("GET", b"/a", b"", b"one"),
        ("GET", b"/a", b"", b"two"),
        ("GET", b"/b", b"", b"two"),
        ("POST", b"/b", b"", b"two"),
        ("POST", b"/b", b"", b"two"),
        ("GET", b"/b", b"q", b"two"),
        ("GET", b"/b", b"", None),
    ]
    lengths = [dict(s["headers"]).get(b"content-length") for s in front.scopes][-len(requests) :]
    assert lengths == [None, None, None, None, b"1", b"3", None, None]


async def test_the_proxy_works_under_another_server() -> None:
    async def hang(peer: Peer) -> None:
        await peer.request()
        await peer.exactly(1)

    async with upstream(hang) as up:
        front = Gateway(up.endpoint, Proxy())
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        config = uvicorn.Config(front, http="h11", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        client = Peer(*await asyncio.open_connection("127.0.0.1", port))
        await client.send(post(b"{}"))
        while not up.peers:
            await asyncio.sleep(0.001)
        await client.close()
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        assert (await front.outcome()).failure is Failure.CLIENT_GONE
        server.should_exit = True
        await asyncio.wait_for(running, PATIENCE_S)
        await front.proxy.close()


async def test_a_mistake_of_ours_while_parsing_ends_the_connection_and_stands_in_the_log() -> None:
    """Not as a 400: the client did nothing wrong."""

    def breaks(_exchange: Any) -> bool:
        raise ValueError("a secret")

    with capture_logs() as logs:
        async with serving(application(says_nothing), direct=breaks) as port:
            answer = await ask(port, post(b"{}"))
    assert answer == b""
    [told] = [line for line in logs if line["event"] == "request.broke"]
    assert isinstance(told["exc_info"], ValueError)


async def says_much(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "headers": [(b"content-length", str(len(UNREAD)).encode())]})
    await send({"type": "http.response.body", "body": UNREAD})


async def test_clients_that_do_not_read_are_no_more_than_the_limit_once_there_is_no_room() -> None:
    most, count = 20, 100
    limits = ServerLimits(connections_max=most, graceful_shutdown_s=1, sweep_s=0.05)
    async with serving(application(says_much), limits) as port:
        before = _sockets()
        with ExitStack() as clients:
            for _ in range(count):
                clients.enter_context(await _that_does_not_read(port))
            await _until(lambda: _sockets() - before - count <= most)


async def test_a_client_that_does_not_read_is_not_kept_longer_than_an_idle_one() -> None:
    limits = ServerLimits(keep_alive_s=0.2, stall_s=1000.0, graceful_shutdown_s=1, sweep_s=0.05)
    async with serving(application(says_much), limits) as port:
        before = _sockets()
        with await _that_does_not_read(port):
            await _until(lambda: _sockets() - before == 1)


class Listener(socket.socket):
    """A listener of a process in need: at the end, one of its calls fails so."""

    dup_fails_with = accept_fails_with = 0

    def dup(self) -> Listener:
        if self.dup_fails_with:
            raise OSError(self.dup_fails_with, "dup")
        last = super().dup()
        last.accept_fails_with = self.accept_fails_with
        return last

    def accept(self) -> Any:
        raise OSError(self.accept_fails_with, "accept")


@pytest.mark.parametrize(
    ("call", "error"),
    [("dup", errno.EMFILE), ("accept", errno.EMFILE), ("accept", errno.ECONNABORTED)],
)
async def test_a_listener_that_fails_at_the_end_does_not_cut_what_is_under_way(call: str, error: int) -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        await release.wait()
        await send({**START, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    before = _sockets()
    listener = Listener(fileno=listen("127.0.0.1", 0).detach())
    setattr(listener, f"{call}_fails_with", error)
    server = build_server(application(app), listener, ServerLimits(graceful_shutdown_s=10, sweep_s=0.05))
    serves = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        asked = asyncio.create_task(ask(listener.getsockname()[1], get()))
        await asyncio.wait_for(running.wait(), PATIENCE_S)
        server.should_exit = True
        await asyncio.sleep(0.2)
        release.set()
        assert (await asked).endswith(b"ok")
    finally:
        server.should_exit = True
        try:
            await asyncio.wait_for(serves, PATIENCE_S)
        finally:
            for one in server.servers:  # a loop with a listener left does not close
                one.close()
    await _until(lambda: _sockets() == before)


async def _that_does_not_read(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    client.send(get(close=False))
    await asyncio.sleep(0.01)  # for its answer to begin
    return client


def _sockets() -> int:
    """Of this process. Its other files are not counted: libuv keeps one more once it has listened."""
    held = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            held += str(file.readlink()).startswith("socket:")
    return held


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)
