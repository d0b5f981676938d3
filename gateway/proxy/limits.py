"""Every bound of the proxy's upstream side, in one place.

Decides nothing; the numbers are read by `upstream.py`, `pool.py`, `forward.py` and `websocket.py`.
There is deliberately no total timeout: an answer may stream for hours. What is bounded is each *silence*.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    connect_s: float = 3.0
    """Dialling an endpoint; it is on this machine or one hop away."""
    head_s: float = 900.0
    """Silence before the answer's head: a tool that answers in plain JSON may compute for minutes."""
    idle_s: float = 120.0
    """Silence inside an answer's body, or of an upstream that stopped reading the request's body."""
    stream_idle_s: float = 3600.0
    """Silence inside an event stream, where silence is normal; the client reconnects after it."""
    pool_idle_s: float = 4.0
    """How long an unused connection is kept. Below the 5 s after which uvicorn and Node close theirs,
    so that we are the side that closes and no request meets a connection that is being closed."""
    probe_after_s: float = 0.1
    """A connection unused for longer is asked whether its peer hung up before it is used again."""
    sweep_s: float = 0.5
    """How often silences are looked for; every timeout is this much too late at worst."""
    connections_max: int = 1024
    """Connections to one incarnation. The next request gets 503, there is no queue."""
    answer_head_bytes_max: int = 64 * KIB
    """An answer's head, and any run of framing bytes (trailers, chunk extensions) without body."""
    informational_max: int = 16
    """1xx answers before the real one."""
    buffer_bytes_max: int = 64 * KIB
    """Answer bytes held for a slow client before the upstream is no longer read."""
    message_bytes_max: int = 16 * MIB
    """One WebSocket message, either way."""
    messages_max: int = 4
    """WebSocket messages held for a slow client before the upstream is no longer read."""
    upgrade_s: float = 30.0
    """An upstream's answer to a WebSocket handshake."""
    close_s: float = 2.0
    """An upstream's answer to a WebSocket close frame."""
