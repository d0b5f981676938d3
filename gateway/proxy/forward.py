"""One HTTP request to one endpoint: read it, send it, stream the answer back, say what came of it.

Decides what may be retried (nothing that could have reached the upstream twice) and who is told what when
something breaks. Routing, identity and holding are the caller's; sockets are `upstream.py`'s.
"""

from __future__ import annotations

import asyncio

from gateway.proxy.client import Client, Message, Receive, Scope, Send
from gateway.proxy.endpoint import UpstreamHead
from gateway.proxy.headers import answer_headers
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import Activity, DialError, Failure, Outcome
from gateway.proxy.pool import Pool
from gateway.proxy.problems import send_problem
from gateway.proxy.request import SAFE_METHODS, chunk, encode
from gateway.proxy.upstream import UpstreamConnection


class Forwarding:
    """One request on its way, over a connection that the pool gave for it. `run` is the whole story."""

    __slots__ = (
        "_activity",
        "_chunked",
        "_client",
        "_connection",
        "_limits",
        "_method",
        "_pool",
        "_receive",
        "_scope",
        "_send",
        "_upload",
        "outcome",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        pool: Pool,
        connection: UpstreamConnection,
        limits: Limits,
        activity: Activity,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._pool = pool
        self._connection = connection
        self._limits = limits
        self._activity = activity
        self._method: bytes = scope["method"].encode("ascii")
        self._client = Client(scope)
        self._chunked = False
        self._upload: asyncio.Task[None] | None = None
        self.outcome = Outcome()

    async def run(self, head: UpstreamHead) -> None:
        self._activity.request_began()
        try:
            first = await self._receive()
            if first["type"] == "http.disconnect":
                self.outcome.failure = Failure.CLIENT_GONE
            elif await self._ask(first, head):
                await self._stream_answer()
            else:
                await self._report()
        finally:
            self._client.release()
            if self._upload is not None:
                self._upload.cancel()
            self._pool.give_back(self._connection)
            self._activity.request_ended()

    async def _ask(self, first: Message, head: UpstreamHead) -> bool:
        """Send the request, or its beginning, and wait for the answer's head. False: none came."""
        more: bool = first.get("more_body", False)
        body: bytes = first.get("body", b"")
        self._count_up(len(body))
        request, self._chunked = encode(self._method, self._scope["headers"], head, body, more=more)
        if await self._try(request, more):
            return True
        if not self._may_repeat(more):
            return False
        self._pool.give_back(self._connection)
        try:
            self._connection = await self._pool.dial()  # anew: the process may have slept since the first
        except DialError as error:
            self.outcome.failure, self.outcome.detail = error.failure, error.detail
            return False
        return await self._try(request, more)

    async def _try(self, request: bytes, more: bool) -> bool:
        connection = self._connection
        if not connection.begin(self._method, request, complete=not more):
            return False
        self._client.watch(self._client_gone)
        if more:
            self._upload = asyncio.create_task(self._send_rest())
        else:
            self._client.watch_by_receiving(self._receive, self._client_gone)
        return await connection.head()

    def _may_repeat(self, more: bool) -> bool:
        """A pooled connection may have been closed by its peer just now: nothing was read of this request.

        What was not sent may be sent again; what was, only if it is safe, whole, and nothing was answered.
        """
        connection = self._connection
        if not connection.busy:
            return True
        return connection.is_stale and not more and self._method in SAFE_METHODS

    # The request's bytes

    async def _send_rest(self) -> None:
        """Send the rest of the body as it comes, at the pace at which the upstream takes it."""
        connection = self._connection
        more = True
        while more and not connection.failed:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._client_gone()
                return
            more = message.get("more_body", False)
            body: bytes = message.get("body", b"")
            self._count_up(len(body))
            piece = chunk(body, more=more) if self._chunked else body
            await connection.send(piece, complete=not more)
        self._client.watch_by_receiving(self._receive, self._client_gone)

    def _count_up(self, count: int) -> None:
        self.outcome.bytes_up += count
        self._activity.bytes_up(count)

    def _client_gone(self) -> None:
        self._connection.give_up(Failure.CLIENT_GONE, "the client hung up")

    # The answer's bytes

    async def _stream_answer(self) -> None:
        connection, answer, outcome = self._connection, self._connection.answer, self.outcome
        headers, events = answer_headers(answer.status, answer.headers)
        connection.allow_silence(self._limits.stream_idle_s if events else self._limits.idle_s)
        outcome.status, outcome.answer_began = answer.status, True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while True:
            piece = await connection.body()
            whole = answer.complete
            if not piece and not whole:
                await self._report()
                return
            outcome.bytes_down += len(piece)
            self._activity.bytes_down(len(piece))
            await self._send({"type": "http.response.body", "body": piece, "more_body": not whole})
            if whole:
                return

    async def _report(self) -> None:
        """Say what went wrong: to the client if nothing was said yet, else by cutting the answer short."""
        outcome = self.outcome
        if outcome.failure is Failure.NONE:
            outcome.failure = self._connection.failure or Failure.UPSTREAM_RESET
            outcome.detail = self._connection.detail
        if outcome.answer_began:
            self._connection.abort()
            self._client.cut()
        elif outcome.failure is not Failure.CLIENT_GONE:
            outcome.status = await send_problem(self._send, outcome.failure, outcome.detail)
