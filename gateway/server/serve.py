"""uvicorn, set up for a public proxy: our connection protocol, one sweep for all deadlines, bounded shutdown.

Decides what uvicorn's defaults get wrong here; knows nothing of the application. `connection.py` is next.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from gateway.server.connection import Connection, Given
from gateway.server.cycle import Cycle
from gateway.server.limits import FILES_UNLIMITED, ServerLimits
from gateway.server.websocket import GatewayWebSocket

# A peer that vanished is noticed after about two minutes, also when nothing is being sent (tcp(7)).
_KEEP_ALIVE_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 120_000),
)

CLOSED_S = 0.02  # for the loop to let go of a listener that it closes
_DATE_S = 1.0  # the Date header's resolution. Source: RFC 9110 section 5.6.7

# Requests leave no cycles behind; the default of 700 would look at all that is in flight many times a second.
_COLLECT_AFTER = (20_000, 20, 20)


def listen(
    host: str, port: int, *, shared: bool = False, limits: ServerLimits | None = None
) -> socket.socket:
    """A listening socket; `shared` lets several workers listen side by side. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen((limits or ServerLimits()).backlog)
    except OSError:
        listener.close()
        raise
    return listener


def build_server(
    app: Callable[..., Any],
    listener: socket.socket,
    limits: ServerLimits | None = None,
    *,
    direct: Callable[[Cycle], bool] | None = None,
) -> GatewayServer:
    """One worker's server on a listening socket: `await server.serve()` runs until `should_exit`.

    `direct` is offered each request that came as a whole, before a task is made for it; it takes the request
    over and answers it without awaiting, or declines (False), and the application gets it.
    """
    return GatewayServer(app, listener, limits or ServerLimits(), direct)


class PatientServer(uvicorn.Server):
    """uvicorn's looks ten times a second whether it shall end; this one is told, and looks at the clock."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._ending = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        return self._ending.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._ending.set()
        else:
            self._ending.clear()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs it hears the signals: there is more to stop than this server."""
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._ending.wait()


class GatewayServer(PatientServer):
    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        limits: ServerLimits,
        direct: Callable[[Cycle], bool] | None,
    ) -> None:
        limits = limits.within(raise_file_limit())
        super().__init__(_config(app, limits, direct))
        self._listener = listener
        self._limits = limits
        self._sweep: asyncio.TimerHandle | None = None
        self._collected_after = gc.get_threshold()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        for level, name, value in _KEEP_ALIVE_OPTIONS:  # inherited by accepted sockets
            if hasattr(socket, name) and self._listener.family != socket.AF_UNIX:
                self._listener.setsockopt(level, getattr(socket, name), value)
        await super().serve(sockets or [self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: the collector need not look at it again
        gc.set_threshold(*_COLLECT_AFTER)
        self._sweep_later()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._take_the_last()
            await super().shutdown(sockets)
        finally:
            self._cut_the_rest()
            if self._sweep is not None:
                self._sweep.cancel()
            gc.unfreeze()
            gc.set_threshold(*self._collected_after)

    async def _take_the_last(self) -> None:
        """Close the listener and accept whoever is through: a close resets who waits, request and all.

        Where no descriptor is free they are reset, and what is under way still ends in peace.
        """
        accepted: list[socket.socket] = []
        try:
            with suppress(OSError), self._listener.dup() as last:
                last.setblocking(False)
                for server in self.servers:
                    server.close()
                self._listener.close()
                await asyncio.sleep(CLOSED_S)  # from now on, `last` is all that is left of it
                self._accept_all(last, accepted)
            loop = asyncio.get_running_loop()
            while accepted:
                one = accepted.pop()
                try:
                    await loop.connect_accepted_socket(self._protocol, one)
                except OSError:  # it has gone already
                    one.close()
        finally:
            for one in accepted:
                one.close()

    def _accept_all(self, listener: socket.socket, accepted: list[socket.socket]) -> None:
        """Add all who wait, up to the backlog. Raises OSError where nobody waits or no descriptor is free."""
        for _ in range(self._limits.backlog):
            with suppress(ConnectionAbortedError):  # that one has gone; others may wait behind it
                accepted.append(listener.accept()[0])

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one for a connection that it accepts."""
        connection: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn itself does
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection

    def _cut_the_rest(self) -> None:
        """uvicorn has cancelled the tasks that were left; a request that has none is still being answered."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.cut(reset=False)

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._limits.sweep_s, self._sweep_now)

    def _sweep_now(self) -> None:
        """One timer for all connections: a timer each would cost every request two heap operations."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection | GatewayWebSocket):
                connection.expire(now)
        self._sweep_later()


def raise_file_limit() -> int:
    """Every stream takes two descriptors, and the usual soft limit is 1024. How many there may be now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else FILES_UNLIMITED


def _config(
    app: Callable[..., Any], limits: ServerLimits, direct: Callable[[Cycle], bool] | None
) -> uvicorn.Config:
    given = Given(limits, direct)
    return uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="on",
        http=type("WorkersConnection", (Connection,), {"given": given, "__slots__": ()}),
        ws=type("WorkersWebSocket", (GatewayWebSocket,), {"limits": limits}),
        ws_max_size=limits.message_bytes_max,
        ws_ping_interval=limits.ping_s,
        ws_ping_timeout=limits.ping_s,
        ws_per_message_deflate=False,  # its memory is a client's to choose
        proxy_headers=False,  # it would believe a forged X-Forwarded-For from loopback
        server_header=False,
        access_log=False,  # the gateway writes its own
        log_config=None,
        log_level="warning",
        backlog=limits.backlog,
        timeout_graceful_shutdown=limits.graceful_shutdown_s,
    )
