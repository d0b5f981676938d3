"""uvicorn's WebSocket protocol, with the differences that a proxy needs.

A connection that is lost without a close frame is told as 1006, not as 1005, so that the other side can be
told the truth; a client that takes nothing of what we write is cut off by the sweep, and until then its pings
are not read either: each would add its answer to what is buffered already.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.server.limits import ServerLimits

_ABNORMAL = 1006
_NEVER = float("inf")


class GatewayWebSocket(WebSocketsSansIOProtocol):
    limits: ClassVar[ServerLimits] = ServerLimits()
    _stalled_at = _NEVER

    def connection_lost(self, exc: Exception | None) -> None:
        # A close frame that came has put its own event before this one; the reader takes the first.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _ABNORMAL})
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_at = asyncio.get_running_loop().time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_at = _NEVER
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_ping(self) -> None:
        super().handle_ping()
        if not self.writable.is_set():
            self.transport.pause_reading()

    def expire(self, now: float) -> None:
        if now - self._stalled_at > self.limits.stall_s:
            self.transport.abort()
