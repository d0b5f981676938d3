"""One request that is here as a whole, forwarded without a task: the upstream's news drive it.

The common call of an MCP client arrives in one read and its answer in another. To give each a task, an event
and a future costs as much as forwarding it, so the server offers such a request here first. What is unusual
(a dial, a body that is still coming, a hold) is declined, and takes the way of `forward.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.proxy.answer import Answer
from gateway.proxy.endpoint import Header, UpstreamHead
from gateway.proxy.headers import answer_headers
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import Activity, Failure, Outcome
from gateway.proxy.pool import Pool
from gateway.proxy.problems import problem
from gateway.proxy.request import SAFE_METHODS, encode_head, whole
from gateway.proxy.upstream import UpstreamConnection

_KEPT = "proxy.lines"
_ANSWERED = "proxy.answered"


class Exchange(Protocol):
    """A whole request and the way back to its client, as our own server offers it."""

    scope: dict[str, Any]
    memo: dict[str, Any]  # kept while the client repeats the same head
    on_gone: Callable[[], None] | None

    @property
    def write_paused(self) -> bool: ...
    def take_body(self) -> bytes: ...
    def answer_head(self, status: int, headers: list[Header]) -> None:
        """Held until a piece of the body follows, or `flush`."""
        ...

    def flush(self) -> None: ...
    def answer_body(self, piece: bytes, *, more: bool) -> None: ...
    def when_writable(self, call: Callable[[], None]) -> None: ...
    def cut(self) -> None: ...
    def restart(self) -> None:
        """Begin anew as an ASGI request; nothing was answered and the body was not taken."""


class Direct:
    """One request on its way. `begin`, and then the upstream calls `_news` until `on_end` was called."""

    __slots__ = (
        "_activity",
        "_connection",
        "_exchange",
        "_is_over",
        "_limits",
        "_on_end",
        "_pool",
        "_repeatable",
        "outcome",
    )

    def __init__(
        self,
        exchange: Exchange,
        pool: Pool,
        connection: UpstreamConnection,
        limits: Limits,
        activity: Activity,
        on_end: Callable[[Outcome | None], None],
    ) -> None:
        self._exchange = exchange
        self._pool = pool
        self._connection = connection
        self._limits = limits
        self._activity = activity
        self._on_end = on_end
        self._repeatable = False
        self._is_over = False
        self.outcome = Outcome()

    def begin(self, head: UpstreamHead) -> None:
        """Send the request over a connection that is good for use."""
        exchange, connection = self._exchange, self._connection
        method = exchange.scope["method"].encode("ascii")
        body = exchange.take_body()
        self._repeatable = not body and method in SAFE_METHODS
        request = whole(method, _lines(exchange, method, head), body)
        self._activity.request_began()
        self._activity.bytes_up(len(body))
        self.outcome.bytes_up = len(body)
        exchange.on_gone = self._client_gone
        connection.listener = self._news
        connection.begin(method, request, complete=True)

    def _client_gone(self) -> None:
        self._connection.give_up(Failure.CLIENT_GONE, "the client hung up")

    def _news(self) -> None:
        """Something came from the upstream, or it ended, or the client can take more.

        Or it is over by now: a client that goes while it could take no more is told of twice.
        """
        outcome, connection = self.outcome, self._connection
        if self._is_over:
            return
        if not outcome.answer_began:
            if connection.answer.head_complete:
                self._answer_head()
            elif connection.failure is not None:
                self._fail()
                return
            else:
                return
        if self._exchange.write_paused and connection.failure is not Failure.CLIENT_GONE:
            self._exchange.when_writable(self._news)
            return
        self._pass_on()

    def _answer_head(self) -> None:
        answer = self._connection.answer
        headers, events = _answer_headers(self._exchange, answer)
        self._connection.allow_silence(self._limits.stream_idle_s if events else self._limits.idle_s)
        self.outcome.status, self.outcome.answer_began = answer.status, True
        self._exchange.answer_head(answer.status, headers)

    def _pass_on(self) -> None:
        connection, outcome = self._connection, self.outcome
        piece = connection.take()
        whole = connection.answer.complete
        if piece or whole:
            outcome.bytes_down += len(piece)
            self._activity.bytes_down(len(piece))
            self._exchange.answer_body(piece, more=not whole)
        else:
            self._exchange.flush()
        if whole:
            self._end()
        elif connection.failure is not None:
            self._fail()

    def _fail(self) -> None:
        """As `forward.py` does: a stale connection's safe request again, a problem, or a visible cut."""
        connection, outcome = self._connection, self.outcome
        outcome.failure, outcome.detail = connection.failure or Failure.UPSTREAM_RESET, connection.detail
        if self._repeatable and connection.is_stale:
            self._release()
            self._on_end(None)
            self._exchange.restart()
            return
        if outcome.answer_began:
            self._end()  # before the cut, which tells of a lost client in turn
            self._exchange.cut()
            return
        if outcome.failure is not Failure.CLIENT_GONE:
            outcome.status, headers, body = problem(outcome.failure, outcome.detail)
            self._exchange.answer_head(outcome.status, headers)
            self._exchange.answer_body(body, more=False)
        self._end()

    def _end(self) -> None:
        self._release()
        self._on_end(self.outcome)

    def _release(self) -> None:
        self._is_over = True
        self._exchange.on_gone = None
        self._connection.listener = None
        self._pool.give_back(self._connection)
        self._activity.request_ended()


def _answer_headers(exchange: Exchange, answer: Answer) -> tuple[list[Header], bool]:
    """As :func:`answer_headers`; most answers to a request that is repeated have the same head again."""
    kept = exchange.memo.get(_ANSWERED)
    if kept is not None and kept[0] == answer.status and kept[1] == answer.headers:
        headers, events = kept[2]
        return headers, events
    made = answer_headers(answer.status, answer.headers)
    exchange.memo[_ANSWERED] = (answer.status, answer.headers, made)
    return made


def _lines(exchange: Exchange, method: bytes, head: UpstreamHead) -> bytes:
    """The upstream head's lines, kept for as long as the client repeats its own and the router its."""
    kept = exchange.memo.get(_KEPT)
    if kept is not None and kept[0] is head:
        lines: bytes = kept[1]
        return lines
    lines = encode_head(method, exchange.scope["headers"], head)
    exchange.memo[_KEPT] = (head, lines)
    return lines
