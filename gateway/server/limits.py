"""Every bound of the server's client side, in one place. Read by `connection.py` and `serve.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

KIB = 1024
MIB = 1024 * KIB
FILES_RESERVED = 256  # for what is no client's connection: stores, idle upstream connections, logs
FILES_PER_CONNECTION = 2  # its own, and the one to the container
CONNECTIONS_MIN = 16
FILES_UNLIMITED = 1 << 30  # what a system that sets no limit is taken to allow


@dataclass(frozen=True, slots=True)
class ServerLimits:
    head_bytes_max: int = 64 * KIB
    """Request line and headers together; any run of framing bytes (trailers, chunk extensions) too."""
    head_s: float = 10.0
    """From a request's first byte, or the connection, to the end of its head."""
    keep_alive_s: float = 75.0
    """An idle connection between requests. Source: nginx's default for keepalive_timeout."""
    body_idle_s: float = 60.0
    """Silence of a client in the middle of a body, while we are reading."""
    stall_s: float = 120.0
    """A client that takes none of what we write."""
    linger_s: float = 5.0
    """After an answer that closes early: how long what the client still sends is read, so that it gets to
    read the answer instead of a reset."""
    sweep_s: float = 0.5
    """How often these are looked at; each is this much too late at worst."""
    body_buffer_bytes_max: int = 64 * KIB
    """Request bytes held for a slow application before the client is no longer read."""
    pipelined_max: int = 32
    """Requests sent ahead on one connection. Real clients send none."""
    connections_max: int = 10_000
    """Fewer where the system allows the process fewer files: a connection may take two of them."""
    shed_share: float = 0.05
    """How many of them make room at once for the next ones, if so many only wait for their client."""
    graceful_shutdown_s: int = 5
    """What is still running then is cut."""
    last_request_s: float = 1.0
    """At the end, an idle connection is closed this much later: a request may be on its way over it."""
    message_bytes_max: int = 16 * MIB
    """One WebSocket message."""
    ping_s: float = 20.0
    """Between WebSocket pings, and for their answer."""
    backlog: int = 2048

    def within(self, files_max: int) -> ServerLimits:
        """These limits for a process that may have so many files open."""
        affordable = max(CONNECTIONS_MIN, (files_max - FILES_RESERVED) // FILES_PER_CONNECTION)
        return replace(self, connections_max=min(self.connections_max, affordable))
