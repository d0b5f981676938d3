"""The proxies that are compared, each a real process on a core of its own, in front of the same upstream.

Ours is a whole gateway worker with a store, a person's access token to check, access log and metrics on; the
others do nothing but pass bytes. Next: :mod:`bench.proxy`, which measures them.
"""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.gateways import PROXY_CORE, ROOT, Processes, settings_of, until_accepts, until_ready
from bench.load import Load
from bench.people import granted, settle, user_of
from mcpgw.bootstrap import debian
from mcpgw.bootstrap.node import ensure_npm_packages, node_program
from mcpgw.testing.ports import free_ports

ANSWER_S_MAX = 10.0

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
    processes = Processes(folder)
    try:
        upstream = processes.start_upstream(direct)
        assert upstream.stdout is not None, "its words are read"
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, upstream=direct, port=nginx))
        processes.start(PROXY_CORE, "nginx", "-c", str(config))
        processes.start(PROXY_CORE, *_chp_words(modules, chp, chp_api, direct))
        settings = settings_of(folder, gateway, private)
        token = asyncio.run(_person(settings, direct))
        worker = processes.start_gateway(settings)
        for port in (nginx, chp, gateway):
            until_accepts(port)
        until_ready(private)
        load = Load(host=f"localhost:{gateway}", token=token)
        for port in (direct, nginx, chp, gateway):
            _refuse_unless_answered(port, load)
        yield Fronts(load, direct, nginx, chp, gateway, worker.pid, upstream.stdout)
    finally:
        processes.stop()


def _chp_words(modules: Path, port: int, api: int, upstream: int) -> tuple[str, ...]:
    script = modules / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    target = f"http://127.0.0.1:{upstream}"
    address = ("--ip", "127.0.0.1", "--port", str(port), "--api-port", str(api))
    return (node_program(modules), str(script), *address, "--default-target", target, "--log-level", "error")


async def _person(settings: dict[str, str], upstream: int) -> str:
    """The access token of somebody whose container is the upstream."""
    user = user_of(0)
    await settle(settings, [user], upstream=upstream)
    [token] = await granted(settings, [user])
    return token


def _refuse_unless_answered(port: int, load: Load) -> None:
    """A front that refuses is quick, and what it does then is not what is compared."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)
    headers = {"Host": load.host, "Authorization": f"Bearer {load.token}", "Content-Type": "application/json"}
    connection.request("POST", "/mcp", b"{}", headers)
    answer = connection.getresponse()
    assert answer.status == 200, f"port {port} answers {answer.status}: {answer.read(500)!r}"
    connection.close()
