"""How a held request notices that its client has gone, without reading what belongs to the proxy.

An HTTP request hears it from our own server's extension. A WebSocket's opening is read ahead instead, and
what came is given to the proxy afterwards. Next: :mod:`gateway.hold.delivery`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.proxy.client import Client, Message, Receive, Scope


@asynccontextmanager
async def watched_client(scope: Scope) -> AsyncIterator[asyncio.Future[None]]:
    """A future that is done once the HTTP client has gone."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client = Client(scope)
    client.watch(lambda: _settle(gone))
    try:
        yield gone
    finally:
        client.release()
        gone.cancel()


class EarlySocket:
    """A WebSocket that has not been accepted: its messages so far, for whoever serves it at last."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._connect: Message | None = None
        self._ahead: asyncio.Future[Message] | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Read the opening, and listen for what comes before the answer: only a disconnect can."""
        self._connect = await self._receive()
        self._ahead = asyncio.ensure_future(self._receive())
        self._ahead.add_done_callback(self._heard)

    async def receive(self) -> Message:
        """What the proxy reads in place of the server's ``receive``."""
        if self._connect is not None:
            message, self._connect = self._connect, None
            return message
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return await ahead
        return await self._receive()

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
        self.gone.cancel()

    def _heard(self, ahead: asyncio.Future[Message]) -> None:
        told = not ahead.cancelled() and ahead.exception() is None
        if told and ahead.result()["type"] == "websocket.disconnect":
            _settle(self.gone)


def _settle(gone: asyncio.Future[None]) -> None:
    if not gone.done():
        gone.set_result(None)


class ReadAhead:
    """A request's body, of which some was read before the proxy came to it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []

    async def whole(self, bytes_max: int) -> bytes | None:
        """The body, if it ends within ``bytes_max``; else None. Nothing of it is lost for `receive`."""
        body = bytearray()
        while True:
            message = await self._receive()
            self._read.append(message)
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > bytes_max:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    async def receive(self) -> Message:
        return self._read.pop(0) if self._read else await self._receive()
