"""One upstream answer, as httptools' parser tells it: head, body pieces, end; and what makes it invalid.

Refuses to know sockets and clients. `upstream.py` feeds it bytes; `forward.py` reads it.
httptools is strict about syntax; what it leaves open (bounds, 1xx, unknown transfer codings, the answer to a
HEAD) is decided here.
"""

from __future__ import annotations

import httptools

from gateway.proxy.endpoint import Header
from gateway.proxy.limits import Limits

# Source: RFC 9110 sections 15.3.5 and 15.4.5.
_BODILESS = frozenset({204, 304})


class BadAnswerError(Exception):
    """The upstream's bytes are no answer that may be passed on."""


class Answer:
    """The answer to one request after another on one connection. `expect` starts each."""

    __slots__ = (
        "_head_request",
        "_informational_count",
        "_limits",
        "_overhead_bytes",
        "_parser",
        "body_bytes",
        "chunks",
        "complete",
        "head_complete",
        "headers",
        "keep_alive",
        "sized",
        "status",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpResponseParser(self)
        self.expect(b"GET")

    def expect(self, method: bytes) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.chunks: list[bytes] = []
        self.body_bytes = 0  # in `chunks`
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        self.sized = False  # the end is marked, by length or chunks, not by the connection's end
        self._head_request = method == b"HEAD"
        self._informational_count = 0
        self._overhead_bytes = 0

    def feed(self, data: bytes) -> None:
        """Raises BadAnswerError. Bytes after the answer's end are an error too, once the answer is kept."""
        self._overhead_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise BadAnswerError("it switched protocols without being asked to") from error
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise BadAnswerError(str(cause if isinstance(cause, BadAnswerError) else error)) from error
        if self._overhead_bytes > self._limits.answer_head_bytes_max and not self.complete:
            raise BadAnswerError("its head, or what stands between its body's bytes, is too large")

    def end(self) -> None:
        """The connection ended. Raises BadAnswerError unless that is how this answer ends."""
        if not self.complete:
            if not self.head_complete or self.sized:
                raise BadAnswerError("it closed the connection in the middle of its answer")
            self.complete = True
        self.keep_alive = False

    def take(self) -> bytes:
        """The body bytes that have come since the last call."""
        chunks = self.chunks
        self.chunks = []
        self.body_bytes = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    # What httptools calls

    def on_message_begin(self) -> None:
        if self.complete:
            raise BadAnswerError("it sent a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:  # trailers are dropped
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self._overhead_bytes > self._limits.answer_head_bytes_max:
            self._measure_head()
        if self.status < 200:
            self._skip_informational()
            return
        self.keep_alive = self._parser.should_keep_alive()
        self.sized = self._framing() or self.status in _BODILESS
        self.head_complete = True
        self._overhead_bytes = 0
        if self._head_request:  # httptools cannot be told that no body follows
            self.complete = True
            self.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self.complete:
            raise BadAnswerError("it sent a body where there is none")
        self._overhead_bytes = 0
        self.chunks.append(body)
        self.body_bytes += len(body)

    def on_message_complete(self) -> None:
        self.complete = self.head_complete

    # What they decide

    def _skip_informational(self) -> None:
        """Source: RFC 9110 section 15.2: any number may come first. Nothing needs them."""
        self._informational_count += 1
        if self.status < 100 or self.status == 101:
            raise BadAnswerError("it switched protocols without being asked to")
        if self._informational_count > self._limits.informational_max:
            raise BadAnswerError("it sent too many interim answers")
        self.headers = []

    def _framing(self) -> bool:
        """Whether the body's end is marked. Only `chunked` is taken off; other codings were not asked for."""
        sized = False
        for name, value in self.headers:
            if name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise BadAnswerError("it used a transfer coding that nobody asked for")
                sized = True
            elif name == b"content-length":
                sized = True
        return sized

    def _measure_head(self) -> None:
        """The last read may have brought body bytes along: count the head alone."""
        if (
            sum(len(name) + len(value) + 4 for name, value in self.headers)
            > self._limits.answer_head_bytes_max
        ):
            raise BadAnswerError("its head is too large")
