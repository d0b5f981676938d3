"""The shipped configuration of each reverse proxy, run by the real program in front of a real gateway.

Those of somebody's own proxy, and the edge's of compose, with a certificate of the operator's.

Only what a person has to replace is replaced: names, certificate, ports. Behind the gateway is a workload of
the test's own, which says what reached it and waits where it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mcpgw.bootstrap.testing import ensure_reverse_proxies
from mcpgw.testing.ports import free_port
from mcpgw.testing.programs import Program
from mcpgw.testing.waiting import seen
from state.kinds.template import Access, Route
from state.store import open_store
from tests.gateway.conftest import ALICE_HOME
from tests.gateway.rig import Container, QuietServer, Rig, bearer, loopback, until
from tests.tls import write_self_signed

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIGURATIONS = DEPLOY / "reverse-proxy"
GATEWAY_NAME, HOMES_NAME = "mcp.test", "homes.test"
CLIENT_ADDRESS = "127.0.0.2"  # another one of this machine's than the proxies use, to tell them apart
STOP_S = 20.0
PROXIES = ("nginx", "caddy", "edge")
PATIENCE_S = 600.0
BLOCK = bytes(range(256)) * 256
ROUTES = (
    Route(path="/mcp", match="prefix", protocol="mcp"),
    Route(path="/open", access=Access.ANY),
)
NGINX_AROUND = """
user root; daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/site.conf;
}}
"""
CADDY_AROUND = """{{
	admin off
	http_port {plain}
	https_port {secure}
	skip_install_trust
"""


@dataclass
class Workload:
    """A user's container: `/open/…` for anyone, `/mcp` for a tool that computes in silence."""

    seen: list[dict[str, str]] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    was_left: asyncio.Event = field(default_factory=asyncio.Event)
    silence_s: float = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["type"] == "websocket":
            await _echo(receive, send)
            return
        self.seen.append(headers)
        match scope["path"].split("/")[1:]:
            case ["mcp"]:
                await _body(receive)
                await asyncio.sleep(self.silence_s)
                await _answer(send, json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode())
            case ["open", "status", status]:
                await _answer(send, f"the workload says {status}".encode(), int(status))
            case ["open", "upload"]:
                await _answer(send, json.dumps(await _body(receive)).encode())
            case ["open", "download", count]:
                await _download(send, int(count))
            case ["open", "events"]:
                await self._events(send)
            case ["open", "waits", *streaming]:
                await _body(receive)
                if streaming:
                    await send(_start(200, b"text/event-stream"))
                    await send({"type": "http.response.body", "body": b": waits\n\n", "more_body": True})
                self.waits.set()
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.was_left.set()
            case _:
                await _answer(send, json.dumps(headers).encode())

    async def _events(self, send: Any) -> None:
        await send(_start(200, b"text/event-stream"))
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"data: second\n\n"})


async def _body(receive: Any) -> list[int]:
    """Its size and its checksum."""
    size_bytes = checksum = 0
    while True:
        message = await receive()
        size_bytes += len(message.get("body", b""))
        checksum = zlib.crc32(message.get("body", b""), checksum)
        if not message.get("more_body"):
            return [size_bytes, checksum]


async def _download(send: Any, blocks: int) -> None:
    await send(_start(200, b"application/octet-stream"))
    for _ in range(blocks):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Any, body: bytes, status: int = 200) -> None:
    await send(_start(status, b"application/json"))
    await send({"type": "http.response.body", "body": body})


def _start(status: int, kind: bytes) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}


async def _echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@dataclass
class Proxied:
    """A gateway behind one proxy, as a client on the other side of it sees it."""

    name: str
    port: int
    plain_port: int
    client: aiohttp.ClientSession
    workload: Workload
    key: str
    pids: list[int]
    trusting: ssl.SSLContext

    @property
    def origin(self) -> str:
        return f"https://{GATEWAY_NAME}:{self.port}"

    @property
    def home(self) -> str:
        return f"https://{ALICE_HOME}.{HOMES_NAME}:{self.port}"

    def call(self) -> Any:
        return self.client.post(f"{self.origin}/mcp", headers=bearer(self.key, "alice"), data=b"{}")

    async def connect(self) -> asyncio.StreamWriter:
        """A connection to Alice's Home by hand: what a client does in the end is the test's to say."""
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trusting, server_hostname=URL(self.home).host
        )
        return writer

    def reset_peaks(self) -> None:
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # Source: proc(5): 5 resets the peak

    def peak_mib(self) -> dict[int, float]:
        """The most memory that each process had, the proxy's and the gateway's."""
        return {pid: _status_kib(pid, "VmHWM") / 1024 for pid in self.pids}

    def now_mib(self) -> dict[int, float]:
        return {pid: _status_kib(pid, "VmRSS") / 1024 for pid in self.pids}


class _Names(AbstractResolver):
    """Every name of the test's is this machine's."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        assert host.endswith(".test"), host
        found = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        return


def open_client(trusting: ssl.SSLContext) -> aiohttp.ClientSession:
    """Which is at CLIENT_ADDRESS, and takes every name of the test's for this machine's."""
    connector = aiohttp.TCPConnector(
        resolver=_Names(), ssl=trusting, local_addr=(CLIENT_ADDRESS, 0), force_close=True
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(PATIENCE_S)
    )


@contextlib.asynccontextmanager
async def behind(name: str, folder: Path) -> AsyncIterator[Proxied]:
    """A gateway behind one of PROXIES, and a client that reaches it through it."""
    program = ensure_reverse_proxies()[name]
    plain, secure, gateway_port, private = (free_port() for _ in range(4))
    certificate, _ = write_self_signed(folder, GATEWAY_NAME, f"*.{HOMES_NAME}")
    async with contextlib.AsyncExitStack() as stack:
        workload = Workload()
        container = Container("alice", port=await stack.enter_async_context(_serving(workload)))
        key = await _settle(folder, container)
        gateway = stack.enter_context(_gateway(folder, gateway_port, private, secure))
        ports = Ports(plain, secure, gateway_port, private)
        proxy = stack.enter_context(running(program, folder, WORDS[name](folder, ports), secure))
        trusting = ssl.create_default_context(cafile=str(certificate))
        client = await stack.enter_async_context(open_client(trusting))
        async with aiohttp.ClientSession() as direct:
            await seen(lambda: _is_ready(direct, private), bool, "the gateway is ready")
        await until(lambda: _listens(secure), f"{name} listens")
        pids = [gateway, *_family(proxy)]
        yield Proxied(name, secure, plain, client, workload, key, pids, trusting)


@contextlib.asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[int]:
    listener = loopback()
    config = uvicorn.Config(app, lifespan="off", ws="websockets-sansio", http="httptools", log_config=None)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started)
        yield int(listener.getsockname()[1])
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
        for listening in server.servers:
            listening.close()
        listener.close()


@contextlib.contextmanager
def _gateway(folder: Path, port: int, private: int, public: int) -> Any:
    settings = {
        "STATE_DIR": str(folder),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{private}",
        "GATEWAY_ORIGIN": f"https://{GATEWAY_NAME}:{public}",
        "WORKLOAD_DOMAIN": HOMES_NAME,
        "TRUSTED_PROXIES": "127.0.0.1",
        "OAUTH_GITHUB_CLIENT_ID": "an-id",
        "OAUTH_GITHUB_CLIENT_SECRET": "a-secret",
    }
    root = Path(__file__).resolve().parents[2]
    with (folder / "gateway.log").open("ab") as log:
        program = Program("gateway", {**os.environ, **settings, "PYTHONPATH": str(root)}, folder, log)
        program.start()
        try:
            yield program.pid
        finally:
            program.stop()


@contextlib.contextmanager
def running(program: Path, folder: Path, words: tuple[str, ...], secure: int) -> Iterator[int]:
    """The proxy by one of WORDS; its process."""
    files = f"{folder}/fullchain.pem {folder}/key.pem"
    settings = {
        "GATEWAY_ORIGIN": f"https://{GATEWAY_NAME}:{secure}",
        "WORKLOAD_DOMAIN": HOMES_NAME,
        "EDGE_TLS": files,
        "EDGE_WORKLOAD_TLS": files,
    }
    environment = {**os.environ, **settings, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "proxy.log").open("ab") as log:
        proxy = subprocess.Popen((program, *words), env=environment, stdout=log, stderr=log)
        try:
            yield proxy.pid
        finally:
            proxy.send_signal(signal.SIGTERM)
            proxy.wait(STOP_S)


@dataclass(frozen=True)
class Ports:
    """The proxy's two, and the gateway's two."""

    plain: int
    secure: int
    gateway: int
    private: int


def _nginx_words(folder: Path, ports: Ports) -> tuple[str, ...]:
    site = _adapted("nginx.conf", folder, ports.gateway)
    site = _replaced(site, "listen 80;", f"listen 127.0.0.1:{ports.plain};")
    site = _replaced(site, "listen 443 ssl", f"listen 127.0.0.1:{ports.secure} ssl")
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(NGINX_AROUND.format(folder=folder))
    return ("-c", str(folder / "nginx.conf"))


def _caddy_words(folder: Path, ports: Ports) -> tuple[str, ...]:
    around = CADDY_AROUND.format(plain=ports.plain, secure=ports.secure)
    return _caddy(folder, around + "}\n" + _adapted("Caddyfile", folder, ports.gateway))


def _edge_words(folder: Path, ports: Ports) -> tuple[str, ...]:
    text = (DEPLOY / "Caddyfile").read_text()
    text = _replaced(text, "gateway:9000", f"127.0.0.1:{ports.gateway}")
    text = _replaced(text, "gateway:9001", f"127.0.0.1:{ports.private}")
    around = CADDY_AROUND.format(plain=ports.plain, secure=ports.secure)
    return _caddy(folder, _replaced(text, "\n{\n\t# A cert", f"\n{around}\t# A cert"))


def _caddy(folder: Path, text: str) -> tuple[str, ...]:
    (folder / "Caddyfile").write_text(text)
    return ("run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"))


WORDS = {"nginx": _nginx_words, "caddy": _caddy_words, "edge": _edge_words}


def _adapted(file: str, folder: Path, gateway: int) -> str:
    """What the file tells people to replace, replaced, and nothing else."""
    text = (CONFIGURATIONS / file).read_text()
    text = _replaced(text, "mcp.example.com", GATEWAY_NAME)
    text = _replaced(text, "homes.example.net", HOMES_NAME)
    text = _replaced(text, "/etc/ssl/mcpgw", str(folder))
    return _replaced(text, "127.0.0.1:9000", f"127.0.0.1:{gateway}")


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the configuration does not say {old!r} any more: adapt the test"
    return text.replace(old, new)


async def _settle(folder: Path, container: Container) -> str:
    """Alice is routed to the workload; the key of her App."""
    store = await open_store(f"sqlite:///{folder}/state.db")
    try:
        rig = Rig(store, None, None, (), 0, 0, None, folder)  # type: ignore[arg-type]
        await rig.add_template(routes=ROUTES)
        key = await rig.add_app("shop")
        await rig.add_user("alice", "app:shop.alice")
        await rig.give_home("alice", ALICE_HOME)
        await rig.route("alice", container, ALICE_HOME)
        return key
    finally:
        await store.close()


async def _is_ready(direct: aiohttp.ClientSession, private: int) -> bool:
    try:
        async with direct.get(f"http://127.0.0.1:{private}/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _status_kib(pid: int, name: str) -> int:
    """Source: proc(5), /proc/pid/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
