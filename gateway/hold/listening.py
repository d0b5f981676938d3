"""What an MCP client hears that only listens while its container sleeps: comments, and nothing of a wake.

Its stream was cut when the container went, and it connects again at once: were that a reason to wake, nobody
could be put to sleep. So the stream is the gateway's own, and ends when there is a container to connect to.
Source: MCP Streamable HTTP (a GET opens a stream, which the server may close at any time; the client may
connect again). Next: :mod:`gateway.hold.delivery`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from gateway.asked import Asked
from gateway.hold.client import watched_client
from gateway.hold.events import EVENT_HEADERS
from gateway.hold.limits import HoldLimits
from gateway.hold.reasons import RETRY_AFTER_S, asleep
from gateway.hold.waiting import Waits
from gateway.problems import Problem, unavailable
from gateway.routes.seat import Seat

_COMMENT = b": the container sleeps\n\n"


class Listening:
    """Everybody whom this worker lets listen to a container that sleeps."""

    def __init__(self, waits: Waits, limits: HoldLimits) -> None:
        self._waits = waits
        self._limits = limits
        self.count = 0

    async def keep(self, asked: Asked, seat: Seat) -> None:
        """Keep the stream open until the container is there. Raises Problem (503, 429), ClientGoneError."""
        if not asked.head.accepts_events:
            raise asleep()
        with self._counted(seat):
            asked.own_status, asked.reason = HTTPStatus.OK, "Asleep"
            start = {"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(EVENT_HEADERS)}
            await asked.send(start)
            async with watched_client(asked.scope) as gone:
                await self._comment(asked, seat, gone)
            await asked.send({"type": "http.response.body", "body": b""})

    async def _comment(self, asked: Asked, seat: Seat, gone: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._limits.listening_s
        while self._waits.is_worth_it(seat) and (left_s := ends_at - loop.time()) > 0:
            await asked.send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            await self._waits.change(seat, gone, min(self._limits.comment_every_s, left_s))

    @contextmanager
    def _counted(self, seat: Seat) -> Iterator[None]:
        """Raises Problem where there are too many already."""
        if self.count >= self._limits.listening_max:
            detail = f"{self.count} clients listen to containers that sleep. Connect again in a moment."
            raise unavailable("The gateway is overloaded", detail, "TooManyListening", RETRY_AFTER_S)
        if seat.listening_count >= self._limits.listening_per_seat_max:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many clients listen to this container",
                f"{seat.listening_count} do. Connect again when it is awake.",
                reason="TooManyListening",
                retry_after_s=RETRY_AFTER_S,
            )
        self.count += 1
        seat.listening_count += 1
        try:
            yield
        finally:
            self.count -= 1
            seat.listening_count -= 1
