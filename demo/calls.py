"""Keeps what became of each long call, so that somebody outside can see that a disconnect arrived.

A call is named by a label that its caller chose. The record outlives the call and is bounded; it lives in
memory and is gone with the process. `demo.tools` and `demo.streams` write it; `GET /calls` reads it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLS_KEPT_MAX = 2_000
DISCONNECT_KEY = "demo.disconnected"

State = Literal["running", "finished", "cancelled"]


@dataclass
class Call:
    """One long call. Times are seconds since the epoch, so that another process can compare them."""

    label: str
    state: State = "running"
    steps_count: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    disconnected_at: float | None = None
    """When the client's connection was seen to be gone while the call still ran."""


class CallLog:
    """The latest calls by label, oldest first."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()

    @contextmanager
    def recorded(self, label: str) -> Iterator[Call]:
        """Record one call from start to end; leaving by an exception (or cancellation) is `cancelled`."""
        call = self._opened(label)
        try:
            yield call
        except BaseException:
            call.state = "cancelled"
            call.disconnected_at = call.disconnected_at or time.time()
            raise
        else:
            call.state = "finished"
        finally:
            call.ended_at = time.time()

    def _opened(self, label: str) -> Call:
        call = Call(label, started_at=time.time())
        self._calls.pop(label, None)
        self._calls[label] = call
        while len(self._calls) > CALLS_KEPT_MAX:
            self._calls.popitem(last=False)
        return call

    def snapshot(self, label: str | None = None) -> list[dict[str, Any]]:
        """The records as plain values; only the one of `label` when it is given."""
        return [asdict(call) for call in self._calls.values() if label in (None, call.label)]


class DisconnectNotice:
    """Middleware that sets an event in the scope as soon as the client of a request is gone.

    A tool of the session era is not cancelled by a disconnect (the specification says so), and yet the
    tests want to know that it got this far. Whoever reads the request's messages learns it first, so
    this listens in on them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request with an event under `DISCONNECT_KEY`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gone = asyncio.Event()
        scope[DISCONNECT_KEY] = gone

        async def noticing() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            return message

        await self._app(scope, noticing, send)


async def paused(interval_s: float, call: Call, gone: asyncio.Event | None) -> None:
    """Wait for `interval_s`, noting in `call` at once if the client goes away meanwhile."""
    if gone is None or call.disconnected_at is not None:
        await asyncio.sleep(interval_s)
        return
    deadline = time.monotonic() + interval_s
    try:
        async with asyncio.timeout(interval_s):
            await gone.wait()
    except TimeoutError:
        return
    call.disconnected_at = time.time()
    await asyncio.sleep(max(0.0, deadline - time.monotonic()))
