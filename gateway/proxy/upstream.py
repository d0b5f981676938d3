"""One connection to an upstream: bytes out, one answer in, and the reasons why it ended.

A connection serves one request at a time. It refuses to know pools and clients: `pool.py` keeps the idle
ones, `forward.py` drives the exchange. Silences are noticed by `expire`, which the pool's sweep calls: one
timer for all connections instead of one for each.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

from gateway.proxy.answer import Answer, BadAnswerError
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import Failure

_WRITE_BUFFER_BYTES_MAX = 64 * 1024


class UpstreamConnection(asyncio.Protocol):
    """After `begin`: `head()`, then `body()` until it returns b"". `failure` tells why either gave up."""

    __slots__ = (
        "_drained",
        "_limits",
        "_loop",
        "_on_lost",
        "_paused_reading",
        "_silence_max_s",
        "_transport",
        "_waiter",
        "_write_paused",
        "active_at",
        "answer",
        "answer_began",
        "busy",
        "detail",
        "failure",
        "listener",
        "lost",
        "request_complete",
        "reused",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        on_lost: Callable[[UpstreamConnection], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused_reading = False
        self._write_paused = False
        self._silence_max_s = limits.head_s
        self.answer = Answer(limits)
        self.active_at = loop.time()
        self.answer_began = False
        self.busy = False
        self.reused = False
        self.lost = False
        self.request_complete = False
        self.listener: Callable[[], None] | None = None  # told of news in place of an awaiting task
        self.failure: Failure | None = None
        self.detail = ""

    # The exchange, as forward.py drives it

    def begin(self, method: bytes, request: bytes, *, complete: bool) -> bool:
        """Send a request's head, and its whole body if `complete`. False: closed already, nothing sent."""
        assert not self.busy, "one request at a time"
        if self._transport is None or self._transport.is_closing():
            return False
        self.busy = True
        self.answer_began = False
        self.request_complete = complete
        self.answer.expect(method)
        self.active_at = self._loop.time()
        self._silence_max_s = self._limits.head_s
        self._transport.write(request)
        return True

    async def send(self, piece: bytes, *, complete: bool) -> None:
        """Send a framed piece of the request's body; returns when the upstream keeps up, or has failed."""
        if self.failure or self._transport is None:
            return
        self.request_complete = complete
        self.active_at = self._loop.time()
        self._transport.write(piece)
        if self._write_paused:
            self._drained = self._loop.create_future()
            await self._drained

    async def head(self) -> bool:
        """Wait for the answer's head. False: there is none, see `failure`."""
        while not self.answer.head_complete and not self.failure:
            await self._woken()
        return self.answer.head_complete

    async def body(self) -> bytes:
        """The body bytes that have come; b"" when no more come, because of its end or of a failure."""
        answer = self.answer
        while not answer.body_bytes and not answer.complete and not self.failure:
            await self._woken()
        return self.take()

    def take(self) -> bytes:
        """The body bytes that have come since the last call."""
        taken = self.answer.take()
        if self._paused_reading:
            self._resume_reading()
        return taken

    @property
    def is_stale(self) -> bool:
        """Whether a pooled connection ended before any answer: most likely before the request was read."""
        return self.reused and self.failure is Failure.UPSTREAM_RESET and not self.answer_began

    @property
    def failed(self) -> bool:
        """Whether the answer is not whole. What came after a whole answer does not spoil it."""
        return self.failure is not None and not self.answer.complete

    def allow_silence(self, silence_max_s: float) -> None:
        self._silence_max_s = silence_max_s
        self.active_at = self._loop.time()

    def finish(self) -> bool:
        """End the exchange. True: the connection may serve another request; else it is closed."""
        answered = self.answer.complete and self.answer.keep_alive and self.request_complete
        reusable = (answered or not self.busy) and self.failure is None and not self.lost
        self.busy = False
        self.active_at = self._loop.time()
        if not reusable:
            self.abort()
        return reusable

    def give_up(self, failure: Failure, detail: str) -> None:
        """End the exchange from outside: the client has gone, a silence was too long, it retires."""
        if self.failure is None:
            self.failure = failure
            self.detail = detail
        self._wake()
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What the pool asks

    def is_fresh(self, now: float) -> bool:
        """Whether an idle connection may serve a request: its peer is not known to have hung up."""
        if self.lost or self._transport is None or self._transport.is_closing():
            return False
        return now - self.active_at < self._limits.probe_after_s or not self._is_readable()

    def _is_readable(self) -> bool:
        """An idle peer has nothing to say, so readable means closed (the loop has not come to it yet)."""
        assert self._transport is not None
        fd = self._transport.get_extra_info("socket").fileno()
        if fd < 0:
            return True
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))

    def expire(self, now: float) -> None:
        """Give up on a silence that is the upstream's: a slow client is the server's affair."""
        if not self.busy or self._paused_reading or (not self.request_complete and not self._write_paused):
            return
        if now - self.active_at <= self._silence_max_s:
            return
        if self.answer.head_complete:
            self.give_up(Failure.IDLE_TIMEOUT, "it stopped in the middle of its answer")
        else:
            self.give_up(Failure.HEADER_TIMEOUT, "it did not answer in time")

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.abort()  # an idle peer that talks is not one to send the next request to
            return
        self.answer_began = True
        self.active_at = self._loop.time()
        try:
            self.answer.feed(data)
        except BadAnswerError as error:
            self.give_up(Failure.BAD_RESPONSE, str(error))
        if self.answer.body_bytes > self._limits.buffer_bytes_max and not self._paused_reading:
            self._pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self.busy:
            try:
                self.answer.end()
            except BadAnswerError as error:
                self.give_up(Failure.UPSTREAM_RESET, str(error))
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self.lost = True
        self._transport = None
        if self.busy and not self.answer.complete:
            self.give_up(Failure.UPSTREAM_RESET, "it closed the connection before its answer was whole")
        self._resume_writing()
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self.active_at = self._loop.time()
        self._resume_writing()

    # Leaves

    def _resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _woken(self) -> asyncio.Future[None]:
        """Done at the next news. There is one waiter: the task that drives the exchange."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self.listener is not None:
            self.listener()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause_reading(self) -> None:
        assert self._transport is not None
        self._paused_reading = True
        self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._paused_reading = False
        self.active_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
