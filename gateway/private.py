"""The private port of a worker: metrics and readiness, for this machine's operators alone.

Never on the public socket. Next: :mod:`gateway.metrics`.
"""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.metrics import Metrics
from gateway.problems import send_answer
from gateway.proxy.client import Receive, Scope, Send
from gateway.routes.table import Table
from gateway.server import PatientServer, listen
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


def build_private_server(table: Table, metrics: Metrics) -> uvicorn.Server:
    """Serves `/metrics` and `/ready` until `should_exit`."""

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
            case _:
                await _text(send, 404, b"Here are /metrics and /ready.\n")

    return _PrivateServer(
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


class _PrivateServer(PatientServer):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The worker hears the signals."""
        yield


async def _text(
    send: Send, status: int, body: bytes, content_type: bytes = b"text/plain; charset=utf-8"
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send_answer(send, status, headers, body)
