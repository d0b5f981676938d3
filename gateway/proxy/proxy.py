"""The proxy's door: one call a request, one a WebSocket, and the life of an incarnation's connections.

The story of a request is in `forward.py`, of a WebSocket in `websocket.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from websockets.asyncio.client import ClientConnection

from gateway.proxy.client import Receive, Scope, Send
from gateway.proxy.direct import Direct, Exchange
from gateway.proxy.endpoint import Endpoint, UpstreamHead
from gateway.proxy.forward import Forwarding
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import NO_ACTIVITY, Activity, Outcome
from gateway.proxy.pool import MayDial, Pools, always
from gateway.proxy.websocket import Tunnel, UpstreamHandshake


class Proxy:
    """One a worker; use it from one event loop. ``may_dial`` is asked right before and after each dial."""

    def __init__(self, limits: Limits | None = None, may_dial: MayDial = always) -> None:
        self._limits = limits or Limits()
        self._pools = Pools(self._limits, may_dial)

    async def http(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        endpoint: Endpoint,
        head: UpstreamHead,
        activity: Activity = NO_ACTIVITY,
    ) -> Outcome:
        """Forward one request. Raises DialError before anything was read or sent; then call again or answer.

        Every other failure is dealt with and told in the outcome.
        """
        pool = self._pools.pool(endpoint)
        connection = pool.take() or await pool.dial()
        forwarding = Forwarding(scope, receive, send, pool, connection, self._limits, activity)
        await forwarding.run(head)
        return forwarding.outcome

    def direct(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        head: UpstreamHead,
        activity: Activity,
        on_end: Callable[[Outcome | None], None],
    ) -> bool:
        """Forward a request that is here as a whole, without a task. False: nothing was done, use `http`.

        `on_end` is called once with what came of it; None: the exchange begins anew as an ASGI request.
        """
        pool = self._pools.pool(endpoint)
        connection = pool.take()
        if connection is None:
            return False
        Direct(exchange, pool, connection, self._limits, activity, on_end).begin(head)
        return True

    async def websocket(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        endpoint: Endpoint,
        head: UpstreamHead,
        activity: Activity = NO_ACTIVITY,
    ) -> Outcome:
        """Forward one WebSocket to its end. Raises DialError as `http` does."""
        pool = self._pools.pool(endpoint)
        limits = self._limits

        def protocol() -> ClientConnection:
            return ClientConnection(
                UpstreamHandshake(scope, head, endpoint, limits),
                ping_interval=None,
                close_timeout=limits.close_s,
                max_queue=limits.messages_max,
            )

        tunnel = Tunnel(scope, receive, send, await pool.connect(protocol), limits, activity)
        await tunnel.run(pool)
        return tunnel.outcome

    async def retire(self, incarnation: str, *, cut: bool = False) -> None:
        """Close an incarnation's idle connections; end what is in flight too if `cut`, else let it finish."""
        self._pools.retire(incarnation, cut=cut)

    def in_flight_count(self, incarnation: str) -> int:
        """Requests and WebSockets on their way to it: what a drain waits for."""
        return self._pools.in_flight_count(incarnation)

    async def close(self) -> None:
        """Cut everything. Requests still running end as `retired`."""
        self._pools.close()
