"""Real sockets on both sides: our server and proxy in this loop, upstreams and clients written by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.proxy import Endpoint, Limits, Outcome, Proxy, UpstreamHead, forwarded_headers
from gateway.proxy.outcome import DialError
from gateway.server import ServerLimits, build_server, listen

PATIENCE_S = 30.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

# Whether whole requests go the direct way, over a connection dialled ahead; the fixture `way` sets it.
DIRECT = False

Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One end of a raw connection. Every read is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.wait_for(self.writer.drain(), PATIENCE_S)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE_S)

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), PATIENCE_S)

    async def rest(self) -> bytes:
        """Everything up to the end; a reset is an end too."""
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(self.reader.read(65536), PATIENCE_S):
                got += piece
        return got

    async def request(self) -> bytes:
        """One request with its body, framed by length or chunks (raw)."""
        head = await self.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return head + await self.until(b"0\r\n\r\n")
        if b"content-length: " in lower:
            return head + await self.exactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
        return head

    async def answer(self) -> bytes:
        """One answer that is framed by its length."""
        head = await self.head()
        if b"content-length: " not in head:
            return head
        return head + await self.exactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        self.writer.transport.abort()


@dataclass
class Upstream:
    """A raw server: what each connection does is the test's handler."""

    endpoint: Endpoint
    peers: list[Peer] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def connection_count(self) -> int:
        return len(self.peers)


@contextlib.asynccontextmanager
async def upstream(handler: Handler, incarnation: str = "one") -> AsyncIterator[Upstream]:
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        upstream.peers.append(peer)
        try:
            await handler(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            upstream.gone.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], incarnation))
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(answer: bytes, *, close: bool = False) -> Handler:
    """An upstream that reads requests and gives each the same bytes."""

    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)
            if close:
                return

    return handler


class Counter:
    """What demand is made of."""

    def __init__(self) -> None:
        self.began = self.ended = self.up = self.down = self.frames = 0

    def request_began(self) -> None:
        self.began += 1

    def request_ended(self) -> None:
        self.ended += 1

    def bytes_up(self, count: int) -> None:
        self.up += count

    def bytes_down(self, count: int) -> None:
        self.down += count

    def frame(self) -> None:
        self.frames += 1


@dataclass
class Gateway:
    """Our server with the thinnest router: every request goes to `endpoint`."""

    endpoint: Endpoint
    proxy: Proxy
    port: int = 0
    outcomes: asyncio.Queue[Outcome] = field(default_factory=asyncio.Queue)
    refused: asyncio.Queue[DialError] = field(default_factory=asyncio.Queue)
    activity: Counter = field(default_factory=Counter)
    scopes: list[Any] = field(default_factory=list)
    extra_headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        head = self._head(scope)
        forward = self.proxy.http if scope["type"] == "http" else self.proxy.websocket
        try:
            outcome = await forward(scope, receive, send, self.endpoint, head, self.activity)
        except DialError as error:
            self.refused.put_nowait(error)
            await _unavailable(scope, send)
        else:
            self.outcomes.put_nowait(outcome)

    def direct(self, exchange: Any) -> bool:
        if not DIRECT:
            return False
        head = self._head(exchange.scope)
        return self.proxy.direct(exchange, self.endpoint, head, self.activity, self._ended)

    def _ended(self, outcome: Outcome | None) -> None:
        if outcome is not None:  # else it comes again
            self.outcomes.put_nowait(outcome)

    def _head(self, scope: Any) -> UpstreamHead:
        self.scopes.append(scope)
        query = scope["query_string"]
        forwarded = forwarded_headers(client="203.0.113.9", scheme="http", host=b"home.example")
        return UpstreamHead(
            target=scope["raw_path"] + (b"?" + query if query else b""),
            host=b"workload",
            headers=(*forwarded, *self.extra_headers),
        )

    async def connect(self) -> Peer:
        return Peer(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**26))

    async def ask(self, request: bytes) -> bytes:
        """Send raw bytes, close our side's patience at the server's end of the connection."""
        client = await self.connect()
        try:
            await client.send(request)
            return await client.rest()
        finally:
            await client.close()

    async def outcome(self) -> Outcome:
        return await asyncio.wait_for(self.outcomes.get(), PATIENCE_S)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _unavailable(scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    headers = [(b"content-length", b"4"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"held"})


@contextlib.asynccontextmanager
async def serving(
    app: Any, limits: ServerLimits | None = None, direct: Callable[[Any], bool] | None = None
) -> AsyncIterator[int]:
    """Any ASGI application on our server; yields the port."""
    listener = listen("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    limits = limits or ServerLimits(graceful_shutdown_s=1, sweep_s=0.05)
    server = build_server(app, listener, limits, direct=direct)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not running.done(), "the server did not start"
            await asyncio.sleep(0.005)
        yield port
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, PATIENCE_S)


@contextlib.asynccontextmanager
async def gateway(
    endpoint: Endpoint,
    limits: Limits | None = None,
    server_limits: ServerLimits | None = None,
    **fields: Any,
) -> AsyncIterator[Gateway]:
    proxy = Proxy(limits or Limits(sweep_s=0.05))
    front = Gateway(endpoint, proxy, **fields)
    try:
        async with serving(front, server_limits, front.direct) as port:
            front.port = port
            if DIRECT:
                await _warm(front)
            yield front
    finally:
        await proxy.close()
    await asyncio.sleep(0)  # what was cut ends
    # A request that ends twice makes somebody's demand negative, and a negative demand ends the worker.
    assert front.activity.ended == front.activity.began, "each request ends once"


async def _warm(front: Gateway) -> None:
    """The direct way needs a connection that is there already."""
    pool = front.proxy._pools.pool(front.endpoint)
    with contextlib.suppress(DialError):
        connection = await pool.dial()
        connection.reused = True
        pool.give_back(connection)


def get(path: str = "/", *lines: str, close: bool = True) -> bytes:
    """A GET's bytes."""
    extra = "".join(f"{line}\r\n" for line in lines) + ("Connection: close\r\n" if close else "")
    return f"GET {path} HTTP/1.1\r\nHost: gateway.example\r\n{extra}\r\n".encode("latin-1")


def post(body: bytes, *lines: str, path: str = "/mcp", close: bool = True) -> bytes:
    extra = "".join(f"{line}\r\n" for line in lines) + ("Connection: close\r\n" if close else "")
    head = f"POST {path} HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode("latin-1") + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def header(message: bytes, name: str) -> list[bytes]:
    """Every value of a header in a raw message's head."""
    lines = message.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    pairs = [line.partition(b": ") for line in lines]
    return [value for key, _, value in pairs if key.lower() == name.encode().lower()]
