"""One request and its answer, as ASGI sees them: `receive` and `send`.

Knows how an answer is framed for its client; knows nothing of parsing, keep-alive timers or the queue of
requests, which are `connection.py`'s. Stands in for uvicorn's cycle, which sends chunks to HTTP/1.0 clients
and fails on a 304 with a Content-Length and on statuses without a name.
"""

from __future__ import annotations

import asyncio
import http
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, Protocol

import structlog

from gateway.server.head import RequestHead

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

_log = structlog.get_logger(__name__)

_BODILESS = frozenset({204, 304})
_ANSWERED = "cycle.answered"
_DISCONNECT: Message = {"type": "http.disconnect"}


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


def _check_lines(head: bytes, line_count: int) -> None:
    """No header may smuggle in a line of its own."""
    if head.count(b"\n") != line_count or head.count(b"\r") != line_count or b"\0" in head:
        raise RuntimeError("a header of the answer holds a line break or NUL")


class _Head(NamedTuple):
    """An answer's head in bytes, for the very list of headers that it was made of."""

    status: int
    headers: list[tuple[bytes, bytes]]
    lines: bytes
    length: bytes | None
    is_dated: bool
    is_closing: bool
    is_events: bool


def _encoded(status: int, headers: list[tuple[bytes, bytes]]) -> _Head:
    """Raises RuntimeError for a header that would be two."""
    pieces = [_STATUS_LINES[status]]
    length: bytes | None = None
    is_dated = is_closing = is_events = False
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
        if name == b"content-length":
            length = value
        elif name == b"date":
            is_dated = True
        elif name == b"connection":
            is_closing = is_closing or b"close" in value.lower()
        elif name == b"content-type":
            is_events = value.lower().startswith(b"text/event-stream")
    lines = b"".join(pieces)
    _check_lines(lines, 1 + len(headers))
    return _Head(status, headers, lines, length, is_dated, is_closing, is_events)


_STATUS_LINES = {status: _status_line(status) for status in range(200, 1000)}


class Wire(Protocol):
    """What a cycle needs of its connection."""

    def write(self, piece: bytes) -> None: ...
    def hold(self, piece: bytes) -> None: ...
    def flush_soon(self) -> None: ...
    def flush(self) -> None: ...
    def when_writable(self, call: Callable[[], None]) -> None: ...
    def start(self, cycle: Cycle) -> None: ...
    def resume_reading(self) -> None: ...
    async def drain(self) -> None: ...
    def answered(self, cycle: Cycle) -> None: ...
    def cut(self, *, reset: bool) -> None: ...
    @property
    def write_paused(self) -> bool: ...
    @property
    def date(self) -> list[tuple[bytes, bytes]]: ...


class Cycle:
    """One request. The connection feeds `body` and `gone`; the application awaits `receive` and `send`."""

    __slots__ = (
        "_bodiless",
        "_body",
        "_chunked",
        "_continue_expected",
        "_end_told",
        "_event",
        "_http10",
        "_left_bytes",
        "_listening",
        "_unframed",
        "_wire",
        "answer_began",
        "answer_complete",
        "body_bytes",
        "body_complete",
        "gone",
        "keep_alive",
        "memo",
        "on_gone",
        "scope",
    )

    def __init__(self, wire: Wire, head: RequestHead, scope: dict[str, Any]) -> None:
        self._wire = wire
        self.scope = scope
        self.memo = head.memo
        self.keep_alive = not head.is_last
        self._continue_expected = head.expects_continue
        self._http10 = scope["http_version"] == "1.0"
        self._event: asyncio.Event | None = None
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        # the request's body
        self._body: list[bytes] = []
        self._end_told = False
        self.body_bytes = 0
        self.body_complete = False
        # the answer
        self._bodiless = False
        self._chunked = False
        self._unframed = False
        self._left_bytes = 0
        self._listening = False
        self.answer_began = False
        self.answer_complete = False

    async def run(self, app: App) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:  # the graceful shutdown's limit
            self.cut()
        except Exception:
            _log.error("request.failed", method=self.scope["method"], traceback=traceback.format_exc())
            await self._answer_for_the_application()
        else:
            if not self.answer_complete and not self.gone:
                _log.error("request.unanswered", method=self.scope["method"])
                await self._answer_for_the_application()
        finally:
            self.scope = {}  # it names this cycle: left alone, every request would wait for the collector

    async def _answer_for_the_application(self) -> None:
        if self.answer_began:
            if not self.answer_complete:
                self.cut()
            return
        body = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        self.keep_alive = False
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    # What the connection asks and tells

    @property
    def is_served(self) -> bool:
        """It was let in, or refused: somebody waits for its client's end, or has begun to answer."""
        return self.answer_began or self.on_gone is not None

    def feed(self, piece: bytes) -> None:
        self._body.append(piece)
        self.body_bytes += len(piece)
        self._wake()

    def feed_end(self) -> None:
        self.body_complete = True
        self._wake()

    def lose(self) -> None:
        """The client has gone."""
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()
            self._wake()

    # ASGI

    async def receive(self) -> Message:
        while True:
            if self.gone or self.answer_complete:
                return _DISCONNECT
            if self._continue_expected:
                self._continue_expected = False
                if not self._body and not self.body_complete:
                    self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._body or (self.body_complete and not self._end_told):
                return self._take_body()
            self._wire.resume_reading()
            await self._wait()

    def _take_body(self) -> Message:
        body = self.take_body()
        return {"type": "http.request", "body": body, "more_body": not self.body_complete}

    async def send(self, message: Message) -> None:
        if self._wire.write_paused and not self.gone:
            await self._wire.drain()
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.answer_began:
            self.answer_head(message["status"], list(message.get("headers", ())))
            self._wire.flush_soon()
        elif kind == "http.response.body" and self.answer_began and not self.answer_complete:
            self.answer_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""
        self._wire.cut(reset=self._unframed)

    def end_listening(self) -> None:
        """End what would go on until its client goes: whole as far as it came, so that the client asks again.

        Source: HTML, section 9.2 (a client reconnects at the end, and drops an event that is not whole).
        """
        if self._listening and not self.gone and not self.answer_complete:
            if self._chunked:
                self._write(b"0\r\n\r\n")
            self.answer_complete = True
            self._wire.cut(reset=False)

    # The same without waiting: for a request that is here as a whole

    @property
    def write_paused(self) -> bool:
        return self._wire.write_paused

    def when_writable(self, call: Callable[[], None]) -> None:
        self._wire.when_writable(call)

    def flush(self) -> None:
        """Send the head now: its body is not here yet."""
        self._wire.flush()

    def take_body(self) -> bytes:
        """The body, which is whole; afterwards `receive` tells of a disconnect alone."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self.body_bytes = 0
        self._end_told = self.body_complete
        return body

    def restart(self) -> None:
        """Begin anew as an ASGI request: nothing was answered, and there was no body to take."""
        if not self.gone:
            self._end_told = False
            self._wire.start(self)

    # The answer's bytes

    def answer_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Held for what follows: a piece of the body, or a flush.

        The same list again, for a request with the same head, is taken to hold the same headers.
        """
        if self.gone:
            return
        head: _Head | None = self.memo.get(_ANSWERED)
        if head is None or head.headers is not headers or head.status != status:
            head = self.memo[_ANSWERED] = _encoded(status, headers)
        self._continue_expected = False
        self.answer_began = True
        own = self._frame(status, head.length)
        self._listening = head.is_events and self.scope["method"] == "GET" and head.length is None
        if head.is_closing:
            self.keep_alive = False
        elif not self.keep_alive:
            own += b"connection: close\r\n"
        if not head.is_dated:
            own += b"".join(b"%b: %b\r\n" % header for header in self._wire.date)
        self._wire.hold(b"%b%b\r\n" % (head.lines, own))

    def _frame(self, status: int, length: bytes | None) -> bytes:
        """How the body's end is marked; the header that says so, if one is needed.

        Source: RFC 9112 section 6.3. HTTP/1.0 knows no chunks: there the body ends with the connection.
        """
        if status in _BODILESS or self.scope["method"] == "HEAD":
            self._bodiless = True
        elif length is not None:
            self._left_bytes = int(length)
        elif self._http10:
            self._unframed = True
            self.keep_alive = False
        else:
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        return b""

    def answer_body(self, body: bytes, *, more: bool) -> None:
        if self.gone:
            return
        if self._bodiless:
            pass
        elif self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._write(chunk if more else chunk + b"0\r\n\r\n")
        elif self._unframed:
            self._write(body)
        else:
            self._left_bytes -= len(body)
            if self._left_bytes < 0:
                raise RuntimeError("the answer is longer than its Content-Length")
            self._write(body)
        if not more:
            self._end()

    def _end(self) -> None:
        if self._left_bytes > 0:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.answer_complete = True
        self._wake()
        self._wire.answered(self)

    def _write(self, piece: bytes) -> None:
        if piece:
            self._wire.write(piece)

    # Waiting

    async def _wait(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()
