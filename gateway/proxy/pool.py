"""Connections by incarnation: the idle ones to use again, the busy ones to cut when an incarnation retires.

Decides which connection a request gets; never reads a client and never retries a request. An address is only
dialled while it is certain whose it is. A refused dial is told as `DialError` before anything was sent.
`upstream.py` is one connection; `forward.py` and `websocket.py` use this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.proxy.endpoint import Endpoint
from gateway.proxy.limits import Limits
from gateway.proxy.outcome import DialError, Failure
from gateway.proxy.upstream import UpstreamConnection

P = TypeVar("P", bound=asyncio.BaseProtocol)

# Whether an endpoint's address is known to be its incarnation's still, at this very moment.
MayDial = Callable[[], bool]


def always() -> bool:
    """For a proxy whose endpoints' addresses are never given to another."""
    return True


class Cuttable(Protocol):
    """What is in flight to an incarnation and can be ended from outside."""

    def give_up(self, failure: Failure, detail: str) -> None: ...


class Pool:
    """One incarnation's connections: HTTP ones by `take` and `dial`, upgraded ones in `upgraded`."""

    __slots__ = (
        "_dialing_count",
        "_idle",
        "_limits",
        "_loop",
        "_may_dial",
        "connections",
        "endpoint",
        "retired",
        "upgraded",
    )

    def __init__(self, endpoint: Endpoint, limits: Limits, may_dial: MayDial = always) -> None:
        self.endpoint = endpoint
        self.connections: set[UpstreamConnection] = set()
        self.upgraded: set[Cuttable] = set()
        self.retired = False
        self._idle: list[UpstreamConnection] = []
        self._dialing_count = 0
        self._limits = limits
        self._may_dial = may_dial
        self._loop = asyncio.get_running_loop()

    def take(self) -> UpstreamConnection | None:
        """An idle connection that is good for use; the most recently used one, so that the rest can age."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh(self._loop.time()):
                connection.reused = True
                return connection
            connection.abort()
        return None

    async def dial(self) -> UpstreamConnection:
        """A new connection. Raises DialError."""
        connection = await self.connect(lambda: UpstreamConnection(self._loop, self._limits, self._lost))
        self.connections.add(connection)
        return connection

    async def connect(self, protocol: Callable[[], P]) -> P:
        """Dial for any protocol. Raises DialError: too many, not ours to dial, refused, or too slow."""
        if self.in_flight_count + len(self._idle) >= self._limits.connections_max:
            raise DialError(Failure.SATURATED, f"it has {self._limits.connections_max} connections already")
        self._refuse_anothers()
        self._dialing_count += 1
        try:
            async with asyncio.timeout(self._limits.connect_s):
                transport, dialled = await self._loop.create_connection(
                    protocol, self.endpoint.host, self.endpoint.port
                )
        except TimeoutError as error:
            raise DialError(Failure.DIAL_TIMEOUT, f"no answer within {self._limits.connect_s:g} s") from error
        except OSError as error:
            raise DialError(Failure.DIAL_REFUSED, error.strerror or str(error)) from error
        finally:
            self._dialing_count -= 1
        try:
            self._refuse_anothers()
        except DialError:
            transport.abort()
            raise
        return dialled

    def _refuse_anothers(self) -> None:
        """Raises DialError where the address may be another's by now. Asked at both ends of a dial."""
        if self.retired:
            raise DialError(Failure.DIAL_RETIRED, "it was taken out of service")
        if not self._may_dial():
            raise DialError(Failure.DIAL_UNSURE, "the routes have to be read anew first")

    def give_back(self, connection: UpstreamConnection) -> None:
        """The exchange is over: keep the connection if it, and its incarnation, may serve another."""
        if connection.finish():
            if self.retired:
                connection.abort()
            else:
                self._idle.append(connection)

    @property
    def in_flight_count(self) -> int:
        return len(self.connections) - len(self._idle) + len(self.upgraded) + self._dialing_count

    def close_idle(self, unused_since: float = float("inf")) -> None:
        """Close the idle connections that nobody has used since then; the list is oldest first."""
        while self._idle and self._idle[0].active_at < unused_since:
            self._idle.pop(0).abort()

    def expire(self, now: float) -> None:
        self.close_idle(now - self._limits.pool_idle_s)
        for connection in list(self.connections):
            connection.expire(now)

    def cut(self) -> None:
        for running in (*self.connections, *self.upgraded):
            running.give_up(Failure.RETIRED, "it was taken out of service")

    def _lost(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        if not connection.busy and connection in self._idle:
            self._idle.remove(connection)


class Pools:
    """Every incarnation's pool, those that are draining, and the one sweep over all of them."""

    def __init__(self, limits: Limits, may_dial: MayDial = always) -> None:
        self._limits = limits
        self._may_dial = may_dial
        self._pools: dict[str, Pool] = {}
        self._draining: list[Pool] = []
        self._sweep: asyncio.TimerHandle | None = None

    def pool(self, endpoint: Endpoint) -> Pool:
        """The incarnation's pool; a new one if it has none, or if its address has changed."""
        pool = self._pools.get(endpoint.incarnation)
        if pool is not None and (pool.endpoint is endpoint or pool.endpoint == endpoint):
            return pool
        self.retire(endpoint.incarnation, cut=False)
        pool = self._pools[endpoint.incarnation] = Pool(endpoint, self._limits, self._may_dial)
        if self._sweep is None:
            self._sweep_later()
        return pool

    def retire(self, incarnation: str, *, cut: bool) -> None:
        """Close what is idle; end what is in flight too if `cut`, else let it finish."""
        pool = self._pools.pop(incarnation, None)
        if pool is not None:
            pool.retired = True
            pool.close_idle()
            self._draining.append(pool)
        if cut:
            for pool in self._of(incarnation):
                pool.cut()

    def in_flight_count(self, incarnation: str) -> int:
        return sum(pool.in_flight_count for pool in self._of(incarnation))

    def close(self) -> None:
        for incarnation in list(self._pools):
            self.retire(incarnation, cut=True)
        for pool in self._draining:
            pool.cut()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _of(self, incarnation: str) -> list[Pool]:
        pools = (*self._pools.values(), *self._draining)
        return [pool for pool in pools if pool.endpoint.incarnation == incarnation]

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(self._limits.sweep_s, self._sweep_now)

    def _sweep_now(self) -> None:
        """Forget pools without connections; sweep again only while there is something to watch."""
        now = asyncio.get_running_loop().time()
        for pool in (*self._pools.values(), *self._draining):
            pool.expire(now)
        self._draining = [pool for pool in self._draining if pool.in_flight_count]
        self._pools = {
            key: pool for key, pool in self._pools.items() if pool.connections or pool.in_flight_count
        }
        self._sweep = None
        if self._pools or self._draining:
            self._sweep_later()
