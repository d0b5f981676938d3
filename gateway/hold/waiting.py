"""The wait for an endpoint: one list of waiters a seat, woken by the table, bounded in time and in number.

Decides who may wait and when it ends; refuses to know what the client is told meanwhile.
Next: :mod:`gateway.hold.delivery`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus

from gateway.hold.limits import HoldLimits
from gateway.hold.reasons import RETRY_AFTER_S, asleep, in_vain, refusal
from gateway.hold.waking import WAKE_AGAIN_S, Wakes
from gateway.problems import Problem, unavailable
from gateway.proxy import Endpoint
from gateway.routes.seat import Seat
from gateway.routes.table import Table

BELIEF_WAIT_S = 1.0  # for the lease, between two looks at the rest


class ClientGoneError(Exception):
    """The client hung up while it was held."""


class Waits:
    """Everybody whom this worker holds."""

    def __init__(self, table: Table, limits: HoldLimits, wakes: Wakes) -> None:
        self._table = table
        self._limits = limits
        self._wakes = wakes
        self.held_count = 0
        self._is_closing = False

    def close(self) -> None:
        """The worker stops: whoever waits is told to ask again, of its successor."""
        self._is_closing = True
        for seat in self._table:
            seat.wake()

    @contextmanager
    def held(self, seat: Seat) -> Iterator[None]:
        """Count one more held request while it is. Raises Problem where there are too many already."""
        if self.held_count >= self._limits.held_max:
            detail = f"{self.held_count} requests wait for their containers already. Ask again in a moment."
            raise unavailable("The gateway is overloaded", detail, "TooManyHeld", RETRY_AFTER_S)
        if seat.held_count >= self._limits.held_per_seat_max:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many requests wait for this container",
                f"{seat.held_count} are waiting. Ask again when it is ready.",
                reason="TooManyHeldForUser",
                retry_after_s=RETRY_AFTER_S,
            )
        self.held_count += 1
        seat.held_count += 1
        seat.use.wait_began()
        try:
            yield
        finally:
            self.held_count -= 1
            seat.held_count -= 1
            seat.use.wait_ended()

    def ready(self, seat: Seat) -> Endpoint | None:
        """Where its requests may go right now."""
        return seat.endpoint if self._table.is_believed else None

    def is_worth_it(self, seat: Seat) -> bool:
        """Whether its requests may go nowhere yet, and somebody who has time may wait for that."""
        is_over = self._is_closing or seat.is_deleted or seat.is_stopped
        return not is_over and self.ready(seat) is None

    async def endpoint(
        self, seat: Seat, gone: asyncio.Future[None], *, until: float, deadline: float, may_wake: bool
    ) -> Endpoint | None:
        """The seat's endpoint as soon as it has one; None at ``until`` (both on the loop's clock).

        ``may_wake``: whether a container that sleeps is woken for this; else waiting for it is in vain.
        Raises Problem at ``deadline`` or once waiting is in vain, ClientGoneError.
        """
        loop = asyncio.get_running_loop()
        while True:
            if gone.done():
                raise ClientGoneError
            ready = self.ready(seat)
            if ready is not None:
                return ready
            if self._is_closing:
                raise unavailable("The gateway is restarting", "Ask again in a moment.", "Restarting", 1.0)
            now = loop.time()
            problem = refusal(seat, datetime.now(UTC), deadline - now)
            if problem is not None:
                raise problem
            if now >= deadline:
                raise in_vain(seat, datetime.now(UTC))
            if now >= until:
                return None
            left_s = min(until, deadline) - now
            if seat.endpoint is not None:
                await self._table.wait_believed(min(BELIEF_WAIT_S, left_s))
            elif not seat.is_asleep:
                await self.change(seat, gone, left_s)
            elif may_wake:
                await self._have_woken(seat, gone, left_s)
            else:
                raise asleep()

    async def _have_woken(self, seat: Seat, gone: asyncio.Future[None], timeout_s: float) -> None:
        """Return when it is on record that the seat is to be woken, or when that brought something about.

        Raises Problem (503), ClientGoneError.
        """
        asking = self._wakes.ask(seat)
        if asking.done():
            asking.result()
            await self.change(seat, gone, min(WAKE_AGAIN_S, timeout_s))
            return
        await asyncio.wait({asking, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            asking.result()

    async def change(self, seat: Seat, gone: asyncio.Future[None], timeout_s: float) -> None:
        """Return when anything about the seat changed, or after ``timeout_s``. Raises ClientGoneError."""
        waiter = seat.next_change()
        try:
            await asyncio.wait({waiter, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            seat.forget_waiter(waiter)
        if gone.done():
            raise ClientGoneError
