"""The answer to a held JSON-RPC call once silence would be too long: an event stream begun early.

From the first comment on the status is 200 and cannot be changed, so whatever the container answers at last
becomes events: a stream passes as it is, a JSON answer is one event, a failure a JSON-RPC error.
Source: MCP Streamable HTTP (a server may answer a POST with text/event-stream); JSON-RPC 2.0 section 5.1.
Next: :mod:`gateway.hold.delivery`.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto

import orjson

from gateway.problems import Header, Problem
from gateway.proxy.client import ClientConnection, Message, Send

_COMMENT = b": waiting for the container\n\n"
# Source: JSON-RPC 2.0 section 5.1: -32000 to -32099 are the server's own.
_SERVER_ERROR = -32000
EVENT_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_DROPPED = frozenset({b"accept-encoding"})  # this stream's coding is settled before the container's is known


def call_id(body: bytes) -> str | int | None:
    """The id of the one JSON-RPC request in ``body``; None for anything else (a notification, an answer)."""
    try:
        call = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return None
    found = call.get("id")
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def uncoded(headers: list[Header]) -> list[Header]:
    """The request's headers without those that would let the container compress its answer."""
    return [header for header in headers if header[0] not in _DROPPED]


class _Answer(Enum):
    """What the container's answer turned out to be."""

    NONE = auto()
    STREAM = auto()
    JSON = auto()


class EventAnswer:
    """An event stream towards the client; ``send`` takes the container's answer in ASGI's words."""

    def __init__(self, send: Send, call: str | int, kept_bytes_max: int) -> None:
        self._send = send
        self._call = call
        self._kept_bytes_max = kept_bytes_max
        self._kind = _Answer.NONE
        self._status = 0
        self._kept = b""
        self.is_over = False

    def client(self, connection: ClientConnection) -> ClientConnection:
        """The client as the proxy is to see it: not cut off from an answer that was not passed on yet."""
        return _Client(connection, self)

    @property
    def may_be_cut(self) -> bool:
        """Whether the client can see by the cut that what it got of the container's answer is not whole."""
        return self._kind is _Answer.STREAM

    async def end(self) -> None:
        """The container's answer is over. What came of one that broke off is no answer: say so."""
        if not self.may_be_cut:
            await self.fail(_unreadable("it broke off"))

    async def begin(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": list(EVENT_HEADERS)})
        await self.comment()

    async def comment(self) -> None:
        await self._body(_COMMENT, more=True)

    async def fail(self, problem: Problem) -> None:
        """End with the problem as a JSON-RPC error."""
        if not self.is_over:
            error = {"code": _SERVER_ERROR, "message": f"{problem.title}. {problem.detail}"}
            answer = {"jsonrpc": "2.0", "id": self._call, "error": {**error, "data": problem.members()}}
            await self._event(orjson.dumps(answer))

    async def send(self, message: Message) -> None:
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            events = self._status == 200 and _is_event_stream(message.get("headers", ()))
            self._kind = _Answer.STREAM if events else _Answer.JSON
        elif self._kind is _Answer.STREAM:
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            await self._keep(message.get("body", b""), more=message.get("more_body", False))

    async def _keep(self, piece: bytes, *, more: bool) -> None:
        if len(self._kept) + len(piece) > self._kept_bytes_max:
            await self.fail(_unreadable("its answer is too large for one event"))
            return
        self._kept += piece
        if not more:
            await self._event_of_kept()

    async def _event_of_kept(self) -> None:
        """The container's own JSON-RPC answer, an error too; anything else is an error of ours."""
        try:
            said = orjson.loads(self._kept)
        except orjson.JSONDecodeError:
            said = None
        if isinstance(said, dict) and said.get("jsonrpc") == "2.0":
            await self._event(self._kept)  # its own bytes: numbers keep every digit
        else:
            await self.fail(_unreadable(f"it answered {self._status} without a JSON-RPC message"))

    async def _event(self, message: bytes) -> None:
        lines = b"".join(b"data: %b\n" % line for line in message.splitlines())
        await self._body(b"event: message\n" + lines + b"\n", more=False)

    async def _body(self, body: bytes, *, more: bool) -> None:
        self.is_over = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class _Client:
    """Implements :class:`gateway.proxy.client.ClientConnection`."""

    def __init__(self, connection: ClientConnection, events: EventAnswer) -> None:
        self._connection = connection
        self._events = events

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._connection.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._connection.on_gone = call

    @property
    def gone(self) -> bool:
        return self._connection.gone

    def cut(self) -> None:
        if self._events.may_be_cut:
            self._connection.cut()


def _is_event_stream(headers: Iterable[Header]) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _unreadable(why: str) -> Problem:
    return Problem(
        502, "The container's answer cannot be passed on", f"It came late, and {why}.", reason="BadAnswer"
    )
