"""A whole gateway worker on loopback sockets, over a store in memory; the tests play the reconciler.

Real sockets, the real server, proxy and store; containers are a small ASGI server of ours that says what
reached it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from yarl import URL

from gateway.auth.identity import Identity
from gateway.hold.limits import HoldLimits
from gateway.main import AUTH_FILE
from gateway.settings import GatewaySettings
from gateway.worker import Worker
from state.kinds.access_policy import AccessPolicy, AccessPolicySpec, Rule
from state.kinds.account import Account, Claims
from state.kinds.app import App, AppSpec, key_sha256, mint_key
from state.kinds.home import Home, HomeSpec, Owner
from state.kinds.resource import Condition, ConditionType, Metadata, Truth
from state.kinds.template import Access, ContainerTemplate, ContainerTemplateSpec, Route
from state.kinds.user_container import (
    DATA_FINALIZER,
    EndpointStatus,
    UserContainer,
    UserContainerSpec,
    UserContainerStatus,
)
from state.store.auth import AuthDatabase, open_auth
from state.store.memory import MemoryBackend
from state.store.port import Store, Tx
from state.store.rowstore import RowStore
from state.store.tickets import Tickets

PATIENCE_S = 20.0
ROUTES = (
    Route(path="/mcp", match="prefix", protocol="mcp"),
    Route(path="/", match="exact"),
    Route(path="/live"),
    Route(path="/ws"),
    Route(path="/dpage", access=Access.LINK),
    Route(path="/api/auth", access=Access.LINK, link_id="last"),
    Route(path="/static", access=Access.ANY),
)
MCP_ACCEPT = "application/json, text/event-stream"


@dataclass
class Container:
    """A stand-in for a user's container: says its name, and what reached it."""

    name: str
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    more_headers: list[tuple[bytes, bytes]] = field(default_factory=list)  # of its answers
    pages: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # by path: content type, and content
    disconnects: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        seen = {
            "container": self.name,
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        }
        self.requests.append(seen)
        if scope["type"] == "websocket":
            await self._echo(receive, send)
        else:
            await self._answer(scope, receive, send, seen)

    async def _answer(self, scope: Any, receive: Any, send: Any, seen: dict[str, Any]) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"].startswith("/mcp/stream"):
            await self._stream(receive, send)
            return
        seen |= {"body": body.decode("latin-1"), "method": scope["method"]}
        content = json.dumps(seen).encode()
        status, kind = 200, b"application/json"
        if body.startswith(b'{"jsonrpc"'):
            call = json.loads(body)
            content = json.dumps({"jsonrpc": "2.0", "id": call.get("id"), "result": seen}).encode()
        kind, content = self.pages.get(scope["path"], (kind, content))
        headers = [
            (b"content-type", kind),
            (b"set-cookie", b"mcpgw=theirs"),
            (b"set-cookie", b"own=1; Path=/"),
            *self.more_headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _stream(self, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: begun\n\n", "more_body": True})
        gone = asyncio.ensure_future(receive())
        released = asyncio.ensure_future(self.release.wait())
        await asyncio.wait({gone, released}, return_when=asyncio.FIRST_COMPLETED)
        released.cancel()
        if gone.done():
            self.disconnects.set()
            return
        gone.cancel()
        await send({"type": "http.response.body", "body": b"data: ended\n\n"})

    async def _echo(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{self.name}: {message['text']}"})


class QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@contextlib.asynccontextmanager
async def container(name: str) -> AsyncIterator[Container]:
    """A running stand-in."""
    stand_in = Container(name)
    listener = loopback()
    stand_in.port = listener.getsockname()[1]
    config = uvicorn.Config(
        stand_in,
        lifespan="off",
        ws="websockets-sansio",
        http="httptools",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started)
        yield stand_in
    finally:
        stand_in.release.set()
        serving.cancel()  # uvicorn's own way out takes a few tenths of a second a test
        await asyncio.gather(serving, return_exceptions=True)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
        for listening in server.servers:
            listening.close()
        listener.close()


@dataclass
class Rig:
    """One worker or several on one port, their store, and the hand of the reconciler."""

    store: Store
    backend: MemoryBackend
    auth: AuthDatabase
    workers: tuple[Worker, ...]
    port: int
    private_port: int  # the first worker's
    client: aiohttp.ClientSession
    folder: Path  # the state's

    @property
    def tickets(self) -> Tickets:
        return self.auth.tickets

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    # What goes on in the workers

    @property
    def worker(self) -> Worker:
        """The only one, in tests of what one does."""
        [worker] = self.workers
        return worker

    @property
    def held_count(self) -> int:
        return sum(worker._delivery.held_count for worker in self.workers)

    @property
    def followers_count(self) -> int:
        return sum(worker._desk.followers_count for worker in self.workers)

    async def signed_in(self, user: str, claims: Claims | None = None) -> Account:
        """Somebody whom a provider (or the link, for an App's user) has just vouched for."""
        provider, _, subject = user.partition(":")
        accounts = self.workers[0]._desk.accounts
        account = await accounts.remember(Identity(provider, subject, claims or Claims()))
        await self.applied()
        return account

    async def session(self, user: str, claims: Claims | None = None) -> str:
        """The cookie of a user who has just signed in, at whichever worker."""
        await self.signed_in(user, claims)
        return (await self.workers[-1]._desk.sessions.open(user)).partition(";")[0]

    def forget_sessions(self) -> None:
        """Some time goes by, and each worker asks the store again."""
        for worker in self.workers:
            worker._desk.sessions._known.clear()
            worker._desk.sessions._over.clear()

    async def flush_demand(self) -> None:
        for worker in self.workers:
            await worker._demand.flush()

    def suspend(self) -> None:
        """No worker believes what it knows of the routes any more."""
        for worker in self.workers:
            worker.table.suspend()

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    # What operators do

    async def add_template(self, name: str = "demo", routes: Sequence[Route] = ROUTES) -> ContainerTemplate:
        spec = ContainerTemplateSpec(image="demo", port=8000, routes=tuple(routes))
        return await self.write(
            lambda tx: tx.create(ContainerTemplate(metadata=Metadata(name=name), spec=spec))
        )

    async def add_app(self, name: str, template: str = "demo") -> str:
        """Returns the key."""
        key = mint_key()
        spec = AppSpec(key_sha256=key_sha256(key), template=template)
        await self.write(lambda tx: tx.create(App(metadata=Metadata(name=name), spec=spec)))
        return key

    async def add_policy(self, *rules: Rule, name: str = "default", **more: Any) -> AccessPolicy:
        spec = AccessPolicySpec(rules=rules, **more)
        policy = await self.write(lambda tx: tx.create(AccessPolicy(metadata=Metadata(name=name), spec=spec)))
        await self.applied()
        return policy

    async def add_user(self, name: str, user: str, template: str = "demo", **spec: Any) -> UserContainer:
        metadata = Metadata(name=name, managed_by="file:users.yaml", finalizers=(DATA_FINALIZER,))
        obj = UserContainer(metadata=metadata, spec=UserContainerSpec(user=user, template=template, **spec))
        return await self.write(lambda tx: tx.create(obj))

    # What the reconciler does

    async def route(self, name: str, to: Container, home: str = "", incarnation: str = "") -> None:
        endpoint = EndpointStatus(host="127.0.0.1", port=to.port, incarnation=incarnation or f"{to.name}-1")
        await self.status(name, endpoint=endpoint, home=home)

    async def unroute(self, name: str) -> int:
        return await self.status(name, endpoint=None)

    async def status(self, name: str, **parts: Any) -> int:
        """Change parts of a UserContainer's status; returns the revision."""

        def write(tx: Tx) -> int:
            obj = tx.get(UserContainer, name)
            assert obj is not None, f"there is no UserContainer {name}"
            status = UserContainerStatus.model_validate({**dict(obj.status), **parts})
            tx.update_status(obj.replaced(status=status))
            return tx.revision

        return await self.write(write)

    async def give_home(self, name: str, hostname: str) -> None:
        """Claim a Home for a UserContainer."""

        def write(tx: Tx) -> None:
            obj = tx.get(UserContainer, name)
            assert obj is not None
            owner = Owner(user_container=name, uid=obj.uid, user=obj.spec.user)
            spec = HomeSpec(template=obj.spec.template, owner=owner)
            tx.create(Home(metadata=Metadata(name=hostname), spec=spec))

        await self.write(write)
        await self.status(name, home=hostname)

    async def condition(
        self, name: str, of: ConditionType, status: Truth, reason: str, message: str = ""
    ) -> None:
        new = Condition(type=of, status=status, reason=reason, message=message, since=datetime.now(UTC))
        await self.status(name, conditions=(new,))

    async def write(self, fn: Callable[[Tx], Any]) -> Any:
        return await self.store.transact(fn, actor="test")

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        return await self.store.read(fn)

    async def applied(self) -> None:
        """Every worker has seen everything written so far."""
        revision = await self.store.revision()
        await until(lambda: all(worker.table.revision >= revision for worker in self.workers))

    # What clients do

    def url(self, path: str) -> URL:
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    def request(self, method: str, path: str, *, host: str = "", **options: Any) -> Any:
        headers = {"Host": host or f"localhost:{self.port}", **options.pop("headers", {})}
        return self.client.request(method, self.url(path), headers=headers, allow_redirects=False, **options)

    async def mcp(self, key: str, user: str, path: str = "/mcp", **options: Any) -> dict[str, Any]:
        """A call that must succeed; what the container saw of it."""
        async with self.request("POST", path, headers=bearer(key, user), data=b"{}", **options) as answer:
            assert answer.status == 200, await answer.text()
            seen = await answer.json()
            assert isinstance(seen, dict)
            return seen

    async def raw(self, head: str) -> bytes:
        """Bytes as they are, and the whole answer until the connection ends or is idle at its end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head.encode("latin-1"))
            return await asyncio.wait_for(reader.read(65536), PATIENCE_S)
        finally:
            writer.close()


def bearer(key: str, user: str | None = None, **more: str) -> dict[str, str]:
    named = {"X-App-User": user} if user is not None else {}
    return {"Authorization": f"Bearer {key}", **named, **more}


@contextlib.asynccontextmanager
async def gateway(
    limits: HoldLimits | None = None,
    backend: MemoryBackend | None = None,
    *,
    workers: int = 1,
    folder: Path | None = None,
    port: int = 0,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """So many workers that serve, on a port of their own among which the kernel deals out connections.

    With the ``backend``, ``folder`` and ``port`` of one that ended, it is that one, started again.
    """
    backend = backend or MemoryBackend()
    async with contextlib.AsyncExitStack() as stack:
        listeners = [stack.enter_context(loopback(port))]
        port = listeners[0].getsockname()[1]
        listeners += [stack.enter_context(loopback(port)) for _ in range(workers - 1)]
        privates = [stack.enter_context(loopback()) for _ in listeners]
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcpgw-rig-")))
        here = {"gateway_origin": f"http://localhost:{port}", "state_dir": folder}
        values = GatewaySettings(**{**here, **settings})
        auth = await open_auth(folder / AUTH_FILE)
        stack.push_async_callback(auth.close)
        made = tuple(  # each with a store of its own, as processes have
            Worker(values, RowStore(backend), auth, listener, private, hold_limits=limits)
            for listener, private in zip(listeners, privates, strict=True)
        )
        connector = aiohttp.TCPConnector(force_close=True)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        client = await stack.enter_async_context(session)
        await stack.enter_async_context(_running(made))
        private_port = privates[0].getsockname()[1]
        yield Rig(RowStore(backend), backend, auth, made, port, private_port, client, folder)


@contextlib.asynccontextmanager
async def _running(workers: tuple[Worker, ...]) -> AsyncIterator[None]:
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        for worker, task in zip(workers, running, strict=True):
            await until(lambda worker=worker, task=task: worker._server.started or task.done())
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.wait_for(asyncio.gather(*running), PATIENCE_S)
        for worker in workers:  # or the loop goes on watching a number that another socket gets
            for listening in worker._private.servers:
                listening.close()


def loopback(port: int = 0) -> socket.socket:
    """Listens on a free port, or on one that others listen on too."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


async def until(is_so: Callable[[], Any], what: str = "it") -> None:
    """Wait for a fact, generously; fail in words."""
    for _ in range(int(PATIENCE_S * 100)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {PATIENCE_S:g} s")


async def until_true(ask: Callable[[], Awaitable[Any]], what: str = "it") -> None:
    for _ in range(int(PATIENCE_S * 50)):
        if await ask():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {PATIENCE_S:g} s")
