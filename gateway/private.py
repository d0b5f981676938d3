"""The private port of a worker: metrics, readiness, whose hosts there are; for operators and the edge alone.

Never on the public socket. Next: :mod:`gateway.metrics`.
"""

import socket
from urllib.parse import parse_qs

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.metrics import Metrics
from gateway.problems import send_answer
from gateway.proxy.client import Receive, Scope, Send
from gateway.routes.table import Table
from gateway.server import PatientServer, listen
from gateway.sites import Sites
from state.setting_values import HostPort
from state.settings import SettingsError

WORKER_PORT_STEP = 10  # worker n listens this many ports above worker n - 1: the reconciler's is in between
CONNECTIONS_MAX = 64
SHUTDOWN_S = 1


def private_bind(bind: HostPort, worker_index: int) -> HostPort:
    """Where the n-th worker's private port is."""
    return HostPort(bind.host, bind.port + WORKER_PORT_STEP * worker_index)


def listen_or_refuse(setting: str, bind: HostPort) -> socket.socket:
    """A listening socket. Raises SettingsError: one line that names the setting and the mend."""
    try:
        return listen(bind.host, bind.port)
    except OSError as error:
        mend = "stop what listens there, or choose another address"
        raise SettingsError(f"{setting}={bind} cannot be listened on ({error.strerror}); {mend}") from None


def build_private_server(table: Table, metrics: Metrics, sites: Sites) -> uvicorn.Server:
    """Serves `/metrics`, `/ready` and `/may-have-certificate` until `should_exit`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            return
        match scope["path"]:
            case "/metrics":
                await _text(send, 200, metrics.exposition(), CONTENT_TYPE_LATEST.encode())
            case "/ready" if table.is_believed:
                await _text(send, 200, b"OK\n")
            case "/ready":
                await _text(send, 503, b"The routes are not read yet.\n")
            case "/may-have-certificate" if _is_ours(table, sites, scope["query_string"]):
                await _text(send, 200, b"OK\n")
            case "/may-have-certificate":
                await _text(send, 404, b"Nobody is reached by that name.\n")
            case _:
                await _text(send, 404, b"Here are /metrics, /ready and /may-have-certificate?domain=.\n")

    return PatientServer(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http="httptools",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )


def _is_ours(table: Table, sites: Sites, query: bytes) -> bool:
    """Whether the query's `domain` is a host of ours: one that somebody made up must cost no certificate.

    Source: Caddy's documentation, "On-Demand TLS" (the `ask` endpoint).
    """
    domains = parse_qs(query.decode("ascii", "replace")).get("domain", [])
    site = sites.find(domains[0].encode()) if len(domains) == 1 else None
    return site is not None and (not site.home or table.seat_at_home(site.home) is not None)


async def _text(
    send: Send, status: int, body: bytes, content_type: bytes = b"text/plain; charset=utf-8"
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send_answer(send, status, headers, body)
