"""Puts the wait around the proxy: send it now where it is routed, else hold, dial again, and give up in time.

Refuses to know who asks and whether they may. Next: :mod:`gateway.hold.held`, then :mod:`gateway.proxy`.
"""

from collections.abc import Callable

from gateway.asked import Asked
from gateway.hold.client import EarlySocket, watched_client
from gateway.hold.held import Held, again
from gateway.hold.limits import HoldLimits
from gateway.hold.listening import Listening
from gateway.hold.manner import Manner, ends_session, listens
from gateway.hold.reasons import session_over
from gateway.hold.waiting import Waits
from gateway.hold.waking import Wakes
from gateway.proxy import NO_ACTIVITY, Activity, DialError, Endpoint, Outcome, Proxy, UpstreamHead
from gateway.proxy.direct import Exchange
from gateway.routes.seat import Seat
from gateway.routes.table import Table

OnEnd = Callable[[Outcome | None], None]


class Delivery:
    """One a worker."""

    def __init__(self, proxy: Proxy, table: Table, limits: HoldLimits, wakes: Wakes) -> None:
        self._proxy = proxy
        self._table = table
        self._limits = limits
        self._waits = Waits(table, limits, wakes)
        self._listening = Listening(self._waits, limits)

    @property
    def held_count(self) -> int:
        return self._waits.held_count

    @property
    def listening_count(self) -> int:
        return self._listening.count

    def close(self) -> None:
        """Hold nobody any longer."""
        self._waits.close()

    async def http(self, asked: Asked, seat: Seat, head: UpstreamHead, manner: Manner) -> None:
        """Deliver an HTTP request to its end. Raises Problem, WaitingPageError, ClientGoneError."""
        activity = _activity(asked, seat, manner)
        refused: Endpoint | None = None
        endpoint = seat.endpoint
        if seat.is_asleep and self._table.is_believed and self._waits.is_worth_it(seat):
            if listens(asked):
                await self._listening.keep(asked, seat)
                return
            if ends_session(asked):
                raise session_over()
        if endpoint is not None and self._table.is_believed:
            try:
                asked.outcome = await self._proxy.http(
                    asked.scope, asked.receive, asked.send, endpoint, head, activity
                )
                return
            except DialError as error:
                asked.dials += 1
                refused = again(error, endpoint)
        await self._held_http(asked, seat, head, manner, refused)

    def direct(self, asked: Asked, exchange: Exchange, seat: Seat, head: UpstreamHead, on_end: OnEnd) -> bool:
        """Forward a request that is here as a whole, without awaiting. False: only :meth:`http` can.

        ``on_end`` is called once with what came of it; None: the request begins anew as an ASGI one.
        """
        endpoint = seat.endpoint
        if endpoint is None or not self._table.is_believed:
            return False
        return self._proxy.direct(exchange, endpoint, head, _activity(asked, seat, Manner.PLAIN), on_end)

    async def _held_http(
        self, asked: Asked, seat: Seat, head: UpstreamHead, manner: Manner, refused: Endpoint | None
    ) -> None:
        activity = _activity(asked, seat, manner)

        async def transit(endpoint: Endpoint) -> Outcome:
            return await self._proxy.http(asked.scope, asked.receive, asked.send, endpoint, head, activity)

        async with watched_client(asked.scope) as gone:
            held = Held(self._waits, self._limits, asked, seat, manner, gone)
            await held.run(transit, refused)

    async def websocket(self, asked: Asked, seat: Seat, head: UpstreamHead, manner: Manner) -> None:
        """Deliver a WebSocket, to its end. Raises Problem, ClientGoneError."""
        activity = _activity(asked, seat, manner)
        socket = EarlySocket(asked.receive)

        async def transit(endpoint: Endpoint) -> Outcome:
            return await self._proxy.websocket(
                asked.scope, socket.receive, asked.send, endpoint, head, activity
            )

        try:
            await socket.open()
            held = Held(self._waits, self._limits, asked, seat, manner, socket.gone)
            await held.run(transit, None)
        finally:
            socket.close()


def _activity(asked: Asked, seat: Seat, manner: Manner) -> Activity:
    """Listening is not activity: it goes on for as long as a client is there at all."""
    return NO_ACTIVITY if manner is Manner.NOT or listens(asked) else seat.use
