"""How the proxy hears that its client has gone, and how it cuts one off.

ASGI tells of a disconnect only to whoever awaits `receive`, which would cost a task a request. Our own server
offers more in the scope's extensions; under any other server a task waits instead.
`gateway/server` implements `ClientConnection`; `forward.py` uses what `watch` gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EXTENSION = "mcpgw.client"


class ClientConnection(Protocol):
    """The client's side of one request, as our server offers it in `scope["extensions"]`."""

    on_gone: Callable[[], None] | None

    @property
    def gone(self) -> bool: ...
    def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""


class AnswerCutError(Exception):
    """Raised under a foreign server, whose only way to cut an answer short is an exception."""


class Client:
    """One request's client. Call `watch` once its body was read or is being read elsewhere."""

    __slots__ = ("_connection", "_watcher")

    def __init__(self, scope: Scope) -> None:
        extensions = scope.get("extensions") or {}
        self._connection: ClientConnection | None = extensions.get(EXTENSION)
        self._watcher: asyncio.Task[None] | None = None

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` as soon as the client's connection is lost, at once if it is already."""
        if self._connection is None:
            return
        if self._connection.gone:
            on_gone()
        else:
            self._connection.on_gone = on_gone

    def watch_by_receiving(self, receive: Receive, on_gone: Callable[[], None]) -> None:
        """The same under a foreign server; only once nobody else receives."""
        if self._connection is None:
            self._watcher = asyncio.create_task(_wait_for_disconnect(receive, on_gone))

    def release(self) -> None:
        if self._connection is not None:
            self._connection.on_gone = None
        if self._watcher is not None:
            self._watcher.cancel()

    def cut(self) -> None:
        if self._connection is None:
            raise AnswerCutError("the upstream's answer ended early")
        self._connection.cut()


async def _wait_for_disconnect(receive: Receive, on_gone: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    on_gone()
