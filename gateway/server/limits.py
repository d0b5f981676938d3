"""Every bound of the server's client side, in one place. Read by `connection.py` and `serve.py`."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


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
    graceful_shutdown_s: int = 5
    """What is still running then is cut: open event streams would hold the process for ever."""
    message_bytes_max: int = 16 * MIB
    """One WebSocket message."""
    ping_s: float = 20.0
    """Between WebSocket pings, and for their answer."""
    backlog: int = 2048
