"""The proxies that are compared, each a real process on a core of its own, in front of the same upstream.

Ours is a whole gateway worker with a store, an App's key to check, access log and metrics on; the others do
nothing but pass bytes. Next: :mod:`bench.proxy`, which measures them.
"""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.load import LOAD_CORE, Load
from mcpgw.bootstrap import debian
from mcpgw.bootstrap.node import ensure_npm_packages, node_program
from mcpgw.testing.ports import free_ports
from state.kinds.app import App, AppSpec, app_user, key_sha256, mint_key
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec, Route
from state.kinds.user_container import EndpointStatus, UserContainer, UserContainerSpec, UserContainerStatus
from state.store import open_store
from state.store.port import Tx

PROXY_CORE = "0"
START_S_MAX = 30.0
STOP_S_MAX = 15.0
APP, USER, TEMPLATE = "bench", "bench", "bench"
ROOT = Path(__file__).parents[1]

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(slots=True)
class Fronts:
    """Where each answers. ``ours`` is the process id of the gateway under test."""

    load: Load
    direct: int
    nginx: int
    chp: int
    gateway: int
    gateway_pid: int
    upstream_says: IO[str]


def prepare() -> Path:
    """Install what is missing, from the network; the folder of the npm packages."""
    debian.install(("wrk", "nginx-light", "util-linux"), why="the proxy benchmark")
    return ensure_npm_packages(ROOT / "bench" / "npm")


@contextmanager
def fronts(folder: Path, modules: Path) -> Iterator[Fronts]:
    """Start everything, and end it: each process is ended by its own handle."""
    first = free_ports(6)
    direct, nginx, chp, chp_api, gateway, private = range(first, first + 6)
    key = mint_key()
    load = Load(host=f"localhost:{gateway}", key=key, user=USER)
    started: list[subprocess.Popen[str]] = []

    def start(core: str, *words: str, **more: str) -> subprocess.Popen[str]:
        started.append(_start(folder, core, words, more))
        return started[-1]

    try:
        upstream = start(LOAD_CORE, sys.executable, "-m", "bench.upstream", str(direct))
        assert upstream.stdout is not None and upstream.stdout.readline() == "listening\n"
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, upstream=direct, port=nginx))
        start(PROXY_CORE, "nginx", "-c", str(config))
        start(PROXY_CORE, *_chp_words(modules, chp, chp_api, direct))
        settings = _settings(folder, gateway, private)
        asyncio.run(_fill(settings["STORE_URL"], key, direct))
        worker = start(PROXY_CORE, sys.executable, "-m", "mcpgw", "gateway", **settings)
        for port in (nginx, chp, gateway):
            _until(lambda port=port: _accepts(port), f"port {port} accepts connections")  # type: ignore[misc]
        _until(lambda: _is_ready(private), "the gateway is ready")
        yield Fronts(load, direct, nginx, chp, gateway, worker.pid, upstream.stdout)
    finally:
        for process in reversed(started):
            _stop(process)


def _start(folder: Path, core: str, words: tuple[str, ...], more: dict[str, str]) -> subprocess.Popen[str]:
    environment = {**os.environ, **more, "PYTHONPATH": str(ROOT)}
    with (folder / "fronts.log").open("a") as log:
        is_upstream = "bench.upstream" in words
        return subprocess.Popen(
            ("taskset", "-c", core, *words),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE if is_upstream else log,
            stderr=log,
            text=True,
        )


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S_MAX)


def _chp_words(modules: Path, port: int, api: int, upstream: int) -> tuple[str, ...]:
    script = modules / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    target = f"http://127.0.0.1:{upstream}"
    address = ("--ip", "127.0.0.1", "--port", str(port), "--api-port", str(api))
    return (node_program(modules), str(script), *address, "--default-target", target, "--log-level", "error")


def _settings(folder: Path, port: int, private: int) -> dict[str, str]:
    (folder / "state").mkdir()
    return {
        "CONTAINER_PROJECT_NAME": f"b{secrets.token_hex(5)}",
        "HOST_DATA_DIR": str(folder / "homes"),
        "STATE_DIR": str(folder / "state"),
        "STORE_URL": f"sqlite:///{folder}/state/state.db",
        "MANIFESTS_DIR": str(folder),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{private}",
        "GATEWAY_WORKERS": "1",
    }


async def _fill(url: str, key: str, upstream: int) -> None:
    """What the reconciler would have written: one user whose container is the upstream."""
    store = await open_store(url)
    try:
        await store.transact(lambda tx: _create(tx, key), actor="bench")
        await store.transact(lambda tx: _route(tx, upstream), actor="bench")
    finally:
        await store.close()


def _create(tx: Tx, key: str) -> None:
    routes = (Route(path="/mcp", match="prefix", protocol="mcp"),)
    template = ContainerTemplateSpec(image="bench:1", port=8080, routes=routes)
    tx.create(ContainerTemplate(metadata=Metadata(name=TEMPLATE), spec=template))
    tx.create(App(metadata=Metadata(name=APP), spec=AppSpec(key_sha256=key_sha256(key), template=TEMPLATE)))
    user = app_user(APP, USER)
    assert user is not None, "a good name"
    spec = UserContainerSpec(user=user, template=TEMPLATE)
    tx.create(UserContainer(metadata=Metadata(name=USER), spec=spec))


def _route(tx: Tx, upstream: int) -> None:
    user = tx.get(UserContainer, USER)
    assert user is not None, "just created"
    endpoint = EndpointStatus(host="127.0.0.1", port=upstream, incarnation="bench-1")
    tx.update_status(user.replaced(status=UserContainerStatus(endpoint=endpoint)))


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited {START_S_MAX:g} s in vain until {what}"
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(private: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{private}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
