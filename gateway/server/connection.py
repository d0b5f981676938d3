"""One client connection: bytes in, requests out in order, and the deadlines that bound every silence.

Decides when a connection is refused, closed or handed to the WebSocket protocol; what a head may say is
`head.py`'s, how an answer is framed `cycle.py`'s. It takes the place of uvicorn's httptools protocol, which
sets no limit on the head or on requests sent ahead, lets trailers into the headers, writes its 400 into an
answer under way, and tells only the last of several pipelined requests that the client has gone.
`serve.py` calls `expire`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from gateway.proxy.client import EXTENSION
from gateway.server.crowd import Wait, make_room
from gateway.server.cycle import Cycle
from gateway.server.head import Headers, RefusedError, RequestHead
from gateway.server.limits import ServerLimits
from gateway.server.refusal import ours, refusal

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Given:
    """What a server gives all of its connections. `direct` takes a whole request over, or declines."""

    limits: ServerLimits = field(default_factory=ServerLimits)
    direct: Callable[[Cycle], bool] | None = None


class Connection(asyncio.Protocol):
    """Made by uvicorn's server for each accepted socket. `_queue[0]` is being answered."""

    given: ClassVar[Given] = Given()

    __slots__ = (
        "_app",
        "_app_state",
        "_config",
        "_deadline",
        "_deaf",
        "_ending",
        "_feeding",
        "_framing_bytes",
        "_head",
        "_head_open",
        "_headers",
        "_is_known",
        "_last",
        "_length",
        "_limits",
        "_loop",
        "_on_writable",
        "_parser",
        "_queue",
        "_reading_paused",
        "_rereading",
        "_shared_scope",
        "_stalled_at",
        "_state",
        "_target",
        "_transport",
        "_unsent",
        "_unstarted",
        "_upgrading",
        "_writable",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._limits = self.given.limits
        self._config = config
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._shared_scope: dict[str, Any] = {}
        self._queue: deque[Cycle] = deque()
        self._feeding: Cycle | None = None
        self._unstarted = False  # whether `_queue[0]` was given to nobody yet
        self._target = b""
        self._headers: Headers = []
        self._length: bytes | None = None
        self._head: RequestHead | None = None
        self._head_open = False
        self._is_known = False  # a request was answered
        self._upgrading = False
        self._rereading = False  # the head comes once more, for the sake of its body
        self._last = False  # the client has said that it sends no further request
        self._deaf = False  # nothing that the client still sends matters
        self._ending = False  # whatever request comes is the last
        self._framing_bytes = 0
        self._reading_paused = False
        self._unsent = b""
        self._on_writable: Callable[[], None] | None = None
        self._writable: asyncio.Event | None = None
        self._deadline = self._loop.time() + self._limits.head_s
        self._stalled_at = _NEVER

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._is_room():
            self._deaf = True
            self._transport.abort()
            return
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes there
        self._shared_scope = {
            "scheme": "http",
            "client": _address(transport.get_extra_info("peername")),
            "server": _address(transport.get_extra_info("sockname")),
        }

    def data_received(self, data: bytes) -> None:
        while data and not self._deaf:
            data = self._parse(data)

    def eof_received(self) -> None:
        """A client that closes its side has gone: nothing tells it from one that would still read."""
        self._lose_all()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._state.connections.discard(self)
        self._deaf = True
        self._lose_all()
        self.resume_writing()
        self._parser = None

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self._stalled_at = self._loop.time()

    def resume_writing(self) -> None:
        self._stalled_at = _NEVER
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        call, self._on_writable = self._on_writable, None
        if call is not None:
            call()

    # What uvicorn's server and the sweep call

    def shutdown(self) -> None:
        """Let what runs end, listening aside, and what is on its way come: the last on its connection."""
        self._ending = True
        if not (self._queue or self._head_open or self._deaf):
            self._deadline = min(self._deadline, self._loop.time() + self._limits.last_request_s)
        for cycle in list(self._queue):
            cycle.keep_alive = False
            cycle.end_listening()

    def expire(self, now: float) -> None:
        if now - self._stalled_at > self._limits.stall_s:
            self._transport.abort()
        elif now <= self._deadline:
            return
        elif self._deaf:
            self._transport.abort()
        elif self._reading_paused:
            self._deadline = now + self._limits.body_idle_s
        elif self._head_open or self._feeding is not None:
            self._refuse(RefusedError(408, "The rest of the request did not come in time."))
        elif self._transport.get_write_buffer_size():
            self._transport.abort()  # a close would wait, without bound, for a client that does not read
        else:
            self._transport.close()

    # What `crowd.py` asks and calls

    @property
    def wait(self) -> Wait | None:
        if self._queue:
            if self._queue[0] is not self._feeding or self._reading_paused or self._feeding.is_served:
                return None
            patience_s = self._limits.body_idle_s
        elif self._deaf:
            patience_s = self._limits.linger_s
        elif self._is_known and not self._head_open:
            patience_s = self._limits.keep_alive_s
        else:
            patience_s = self._limits.head_s
        return Wait(self._is_known and not self._deaf, self._deadline - patience_s)

    def shed(self) -> None:
        self._state.connections.discard(self)
        if self._deaf or self._transport.get_write_buffer_size():
            self._transport.abort()  # the sweep does not see it any more: nothing else would end its wait
        self._deaf = True
        self._transport.close()

    # What the cycle calls

    @property
    def write_paused(self) -> bool:
        return self._writable is not None

    @property
    def date(self) -> Headers:
        return self._state.default_headers

    def write(self, piece: bytes) -> None:
        if self._unsent:
            piece = self._unsent + piece
            self._unsent = b""
        self._transport.write(piece)

    def hold(self, piece: bytes) -> None:
        """Write with what follows, head and body in one call; whoever holds flushes."""
        self._unsent += piece

    def flush_soon(self) -> None:
        """Write what is held after this turn of the loop, unless something followed."""
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        if self._unsent and not self._transport.is_closing():
            self.write(b"")

    def when_writable(self, call: Callable[[], None]) -> None:
        """Call once the client can take more, or has gone."""
        self._on_writable = call

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable.wait()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._feeding is not None and not self._deaf:
                self._deadline = self._loop.time() + self._limits.body_idle_s
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def cut(self, *, reset: bool) -> None:
        """End the connection in the middle of an answer. Without framing only a reset tells the client so."""
        self._deaf = True
        self._lose_all()
        if reset:
            self._transport.abort()
        else:
            self.flush()
            self._transport.close()

    def answered(self, cycle: Cycle) -> None:
        """Go on with the next request, or wait for one, or close."""
        assert self._queue[0] is cycle, "answers go out in order"
        self._queue.popleft()
        self._is_known = True
        self.flush()
        self._state.total_requests += 1
        if not cycle.body_complete:
            self._lose_all()
            self._linger()
        elif not cycle.keep_alive:
            self._deaf = True
            self._lose_all()
            self._transport.close()
        elif self._queue:
            self.start(self._queue[0])
        elif not self._head_open:
            self._deadline = self._loop.time() + self._limits.keep_alive_s
        self.resume_reading()

    # What httptools calls

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._length = None
        self._head_open = True
        self._deadline = self._loop.time() + self._limits.head_s

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_open:
            return  # trailers are dropped
        name = name.lower()
        if name == b"content-length":
            self._length = value.strip(b" \t")
        else:
            self._headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._check_head_size()
        head = self._head = self._read_head(self._parser)
        self._head_open = False
        self._last = head.is_last
        if not self._parser.should_upgrade():
            self._enqueue(head)
        elif head.wants_websocket:
            self._upgrading = True
            self._check_upgrade()
        elif self._has_body():
            self._rereading = True
        else:
            self._enqueue(head)

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        cycle = self._feeding
        if cycle is None or cycle.answer_complete:
            return
        self._deadline = self._loop.time() + self._limits.body_idle_s
        cycle.feed(body)
        if cycle.body_bytes > self._limits.body_buffer_bytes_max and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._framing_bytes = 0
        self._deadline = _NEVER
        cycle, self._feeding = self._feeding, None
        if cycle is None:
            return
        cycle.feed_end()
        if self._unstarted:
            self._unstarted = False
            direct = self.given.direct
            if direct is None or not direct(cycle):
                self.start(cycle)

    # Steps

    def _is_room(self) -> bool:
        most, standing = self._limits.connections_max, self._state.connections
        going_count = max(1, int(most * self._limits.shed_share))
        return len(standing) < most or make_room(standing, going_count, self._loop.time())

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; returns what is left after a request that asked for another protocol."""
        assert self._parser is not None
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._unstarted:
                self._unstarted = False
                self.start(self._queue[0])
        except httptools.HttpParserUpgrade as upgrade:
            return self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._refuse(ours(error.__context__))
        except httptools.HttpParserError as error:
            if self._last and not self._head_open and self._feeding is None:
                self._deaf = True  # bytes after a last request mean nothing
            else:
                self._refuse(RefusedError(400, str(error)))
        else:
            if self._framing_bytes > self._limits.head_bytes_max:
                self._refuse(RefusedError(431, f"A head may have {self._limits.head_bytes_max} bytes."))
        return b""

    def _check_head_size(self) -> None:
        """The last read may have brought more than the head: then count the head alone."""
        if self._framing_bytes > self._limits.head_bytes_max:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
            if size > self._limits.head_bytes_max:
                raise RefusedError(431, f"A head may have {self._limits.head_bytes_max} bytes.")
        self._framing_bytes = 0

    def _read_head(self, parser: httptools.HttpRequestParser) -> RequestHead:
        """The last request's head again, if it is the same. Raises RefusedError."""
        method, version, before = parser.get_method(), parser.get_http_version(), self._head
        if before is not None and before.is_same(method, version, self._target, self._headers):
            return before
        last = not parser.should_keep_alive()
        return RequestHead(self._shared_scope, method, version, self._target, self._headers, last=last)

    def _enqueue(self, head: RequestHead) -> None:
        cycle = Cycle(self, head, head.scope(self._length, self._app_state))
        if self._ending:
            cycle.keep_alive = False
        self._feeding = cycle
        self._deadline = self._loop.time() + self._limits.body_idle_s
        self._queue.append(cycle)
        if len(self._queue) == 1:
            self._unstarted = True  # until this read is parsed: then it is here as a whole, or a task's
        elif len(self._queue) > self._limits.pipelined_max:
            raise RefusedError(400, "Too many requests were sent ahead.")

    def start(self, cycle: Cycle) -> None:
        cycle.scope["extensions"] = {EXTENSION: cycle}
        task = self._loop.create_task(cycle.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _check_upgrade(self) -> None:
        if self._queue:
            raise RefusedError(400, "A WebSocket cannot be opened behind a request that still runs.")
        if self._has_body():
            raise RefusedError(400, "A WebSocket handshake has no body.")
        longest = max(len(self._target) + 14, *(len(name) + len(value) + 2 for name, value in self._headers))
        if longest > MAX_LINE_LENGTH or len(self._headers) > MAX_NUM_HEADERS:
            raise RefusedError(431, "A WebSocket handshake may not have a head of this size.")

    def _has_body(self) -> bool:
        return self._length is not None or any(name == b"transfer-encoding" for name, _ in self._headers)

    def _upgrade(self, rest: bytes) -> bytes:
        """Hand the connection to the WebSocket protocol. Any other upgrade was ignored: parse on."""
        if self._rereading:
            return self._reread(rest)
        if not self._upgrading:
            self._framing_bytes = 0
            return rest
        assert self._head is not None
        pieces = [b"GET ", self._head.origin_form(), b" HTTP/1.1\r\n"]
        for name, value in self._headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", rest)
        self._deaf = True
        self._state.connections.discard(self)
        self._parser = None
        assert self._config.ws_protocol_class is not None
        websocket = self._config.ws_protocol_class(  # type: ignore[call-arg]  # typed as any asyncio.Protocol
            config=self._config, server_state=self._state, app_state=self._app_state
        )
        websocket.connection_made(self._transport)
        self._transport.set_protocol(websocket)
        if self._writable is not None:  # an answer before it is not taken yet, and nobody will say so again
            websocket.pause_writing()
        websocket.data_received(b"".join(pieces))
        return b""

    def _reread(self, rest: bytes) -> bytes:
        """The request without its upgrade, and what came behind its head.

        httptools skips the body of whoever asks for an upgrade, so that it would be read as the next request.
        """
        assert self._head is not None and self._parser is not None
        version = self._parser.get_http_version().encode()
        self._rereading = False
        self._framing_bytes = 0
        self._parser = httptools.HttpRequestParser(self)
        pieces = [self._head.method, b" ", self._target, b" HTTP/", version, b"\r\n"]
        for name, value in self._headers:
            if name != b"upgrade":
                pieces += (name, b": ", value, b"\r\n")
        if self._length is not None:
            pieces += (b"content-length: ", self._length, b"\r\n")
        pieces += (b"\r\n", rest)
        return b"".join(pieces)

    def _refuse(self, error: RefusedError) -> None:
        """Answer in the application's stead if nothing else is being answered, and close."""
        running = self._queue[0] if self._queue else None
        answerable = running is None or (running is self._feeding and not running.answer_began)
        self._lose_all()
        if answerable:
            self._transport.write(refusal(error.status, error.detail))
            self._linger()
        else:
            self._deaf = True
            self._transport.close()

    def _linger(self) -> None:
        """Say that nothing more comes, and read on for a while: a close now would reset the answer away."""
        self._deaf = True
        self._deadline = self._loop.time() + self._limits.linger_s
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self.resume_reading()

    def _lose_all(self) -> None:
        queue, self._queue = self._queue, deque()
        for cycle in queue:
            cycle.lose()


def _address(name: object) -> tuple[str, int] | None:
    """The ASGI form; None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
