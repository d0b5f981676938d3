"""One held request: from its arrival, or its first refused dial, to the dial that succeeds.

Decides how long it waits, what its client hears meanwhile, and when another dial is worth it.
Nothing is sent twice, since a refused dial sent nothing. :mod:`gateway.hold.delivery` makes these.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from gateway.asked import Asked
from gateway.hold.client import ReadAhead
from gateway.hold.events import EventAnswer, call_id, uncoded
from gateway.hold.limits import HoldLimits
from gateway.hold.manner import Manner, listens
from gateway.hold.reasons import in_vain
from gateway.hold.waiting import Waits
from gateway.problems import Problem, unavailable
from gateway.proxy import DialError, Endpoint, Failure, Outcome
from gateway.proxy.client import EXTENSION
from gateway.routes.seat import Seat


class WaitingPageError(Exception):
    """A browser's navigation that waited long enough: show it the waiting page."""


class Held:
    """One request between its arrival and the dial that succeeds."""

    def __init__(
        self,
        waits: Waits,
        limits: HoldLimits,
        asked: Asked,
        seat: Seat,
        manner: Manner,
        gone: asyncio.Future[None],
    ) -> None:
        self._waits = waits
        self._limits = limits
        self._asked = asked
        self._seat = seat
        self._manner = manner
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._deadline = self._since + limits.timeout_s
        self._events: EventAnswer | None = None

    async def run(self, transit: Callable[[Endpoint], Awaitable[Outcome]], refused: Endpoint | None) -> None:
        """Wait, dial, and again. A problem after the events began becomes one of them."""
        try:
            while True:
                endpoint = await self._endpoint(refused)
                try:
                    self._asked.outcome = await transit(endpoint)
                    if self._events is not None:
                        await self._events.end()
                    return
                except DialError as error:
                    self._asked.dials += 1
                    refused = again(error, endpoint)
        except Problem as problem:
            if self._events is None:
                raise
            self._asked.reason, self._asked.own_status = problem.reason, 200
            await self._events.fail(problem)

    async def _endpoint(self, refused: Endpoint | None) -> Endpoint:
        """Where to dial next. ``refused`` is the endpoint that just refused a dial."""
        ready = self._waits.ready(self._seat)
        if refused is None and ready is not None:
            return ready
        if self._manner is Manner.NOT:
            raise in_vain(self._seat, datetime.now(UTC))
        began = self._loop.time()
        try:
            with self._waits.held(self._seat):
                if refused is not None:
                    await self._pause(refused)
                return await self._waited()
        finally:
            self._asked.held_s += self._loop.time() - began

    async def _waited(self) -> Endpoint:
        until = self._since + (
            self._limits.navigation_s if self._manner is Manner.PAGE else self._limits.silence_s
        )
        while True:
            endpoint = await self._waits.endpoint(
                self._seat,
                self._gone,
                until=until,
                deadline=self._deadline,
                may_wake=self._asked.may_wake and not listens(self._asked),
            )
            if endpoint is not None:
                return endpoint
            await self._speak()
            until = self._loop.time() + self._limits.comment_every_s

    async def _speak(self) -> None:
        """It has been silent for long enough for this kind of client."""
        if self._manner is Manner.PAGE:
            raise WaitingPageError
        if self._events is not None:
            await self._events.comment()
        elif self._manner is Manner.EVENTS:
            await self._begin_events()

    async def _begin_events(self) -> None:
        asked = self._asked
        ahead = ReadAhead(asked.receive)
        asked.receive = ahead.receive
        body = None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline):
                body = await ahead.whole(self._limits.body_kept_bytes_max)
        call = call_id(body) if body is not None else None
        if call is None:  # a notification has no answer that an event could be
            self._manner = Manner.PLAIN
            return
        self._events = EventAnswer(asked.send, call, self._limits.answer_kept_bytes_max)
        asked.send = self._events.send
        asked.scope = {**asked.scope, "headers": uncoded(asked.scope["headers"])}
        extensions = asked.scope.get("extensions") or {}
        if EXTENSION in extensions:
            client = self._events.client(extensions[EXTENSION])
            asked.scope["extensions"] = {**extensions, EXTENSION: client}
        await self._events.begin()

    async def _pause(self, refused: Endpoint) -> None:
        """Between two dials: until the table names another endpoint, or a little longer each time."""
        now = self._loop.time()
        if self._asked.dials > self._limits.dials_max or now >= self._deadline:
            raise _unreachable()
        pause_s = min(self._limits.redial_s_max, self._limits.redial_s_min * 2 ** (self._asked.dials - 1))
        if self._seat.endpoint is refused:
            await self._waits.change(self._seat, self._gone, min(pause_s, self._deadline - now))


def again(error: DialError, endpoint: Endpoint) -> Endpoint:
    """The endpoint whose dial failed; raises Problem where another dial could only make it worse."""
    if error.failure is Failure.SATURATED:
        raise unavailable(
            "The container has too many connections open", "Ask again in a moment.", "Saturated", 1.0
        ) from error
    return endpoint


def _unreachable() -> Problem:
    return unavailable(
        "The container does not accept connections",
        "It refuses every dial. It will be replaced if its probe agrees; ask again in a moment.",
        "DialRefused",
        5.0,
    )
