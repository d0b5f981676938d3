"""Puts the wait around the proxy: send it now where it is routed, else hold, dial again, and give up in time.

Refuses to know who asks and whether they may. Next: :mod:`gateway.hold.held`, then :mod:`gateway.proxy`.
"""

from collections.abc import Callable

from gateway.asked import Asked
from gateway.hold.client import EarlySocket, watched_client
from gateway.hold.held import Held, again
from gateway.hold.limits import HoldLimits
from gateway.hold.manner import Manner
from gateway.hold.waiting import Waits
from gateway.proxy import NO_ACTIVITY, Activity, DialError, Endpoint, Outcome, Proxy, UpstreamHead
from gateway.proxy.direct import Exchange
from gateway.routes.seat import Seat
from gateway.routes.table import Table

OnEnd = Callable[[Outcome | None], None]


class Delivery:
    """One a worker."""

    def __init__(self, proxy: Proxy, table: Table, limits: HoldLimits) -> None:
        self._proxy = proxy
        self._table = table
        self._limits = limits
        self._waits = Waits(table, limits)

    @property
    def held_count(self) -> int:
        return self._waits.held_count

    def close(self) -> None:
        """Hold nobody any longer."""
        self._waits.close()

    async def http(self, asked: Asked, seat: Seat, head: UpstreamHead, manner: Manner) -> None:
        """Deliver an HTTP request to its end. Raises Problem, WaitingPageError, ClientGoneError."""
        activity = _activity(asked, seat, manner)
        refused: Endpoint | None = None
        endpoint = seat.endpoint
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
    """Listening is not activity: an MCP GET stream is open for as long as a client is there at all."""
    listens = asked.route is not None and asked.route.protocol == "mcp" and asked.scope.get("method") == "GET"
    return NO_ACTIVITY if listens or manner is Manner.NOT else seat.use
