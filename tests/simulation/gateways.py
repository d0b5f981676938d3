"""A gateway worker, as far as the reconciler depends on it: it joins, follows, applies and acknowledges.

It sends requests by its own table for as long as its own lease runs, however old the table is: that is what
the barrier is for. It may be slow, deaf for a while, or dead without a word.
"""

import asyncio
import random
from collections.abc import Callable

from state.kinds.incarnation import Incarnation
from state.kinds.user_container import UserContainer
from state.store.errors import NotFound, StoreError
from state.store.port import Batch, Store
from tests.simulation.history import History
from tests.simulation.processes import Process

LEASE_TTL_S = 6.0
RENEW_PERIOD_S = 2.0
RETRY_S = 0.5


class GatewayWorker:
    def __init__(
        self,
        process: Process,
        store: Store,
        history: History,
        draw: random.Random,
        on_change: Callable[[str], None],
    ) -> None:
        self.name = process.name
        self.lag_s = 0.05  # how long it takes to apply a batch, at the most
        self.is_stuck = False  # it reads nothing, and its lease is renewed all the same
        self.process = process
        self._store = store
        self._history = history
        self._draw = draw
        self._on_change = on_change
        self._table: dict[str, tuple[str, int]] = {}  # home → where its requests go
        self._homes: dict[str, str] = {}  # UserContainer → home
        self._serves_until_s = 0.0

    def routes_in_use(self) -> dict[str, tuple[str, int]]:
        if self.process.is_dead or asyncio.get_running_loop().time() >= self._serves_until_s:
            return {}
        return self._table

    async def run(self) -> None:
        for number in range(1_000_000):
            try:
                await self._serve(f"{self.name}.{number}")
            except StoreError as error:
                self._history.note(self.name, f"starts over: {error}")
            self._forget()
            await asyncio.sleep(RETRY_S)

    async def _serve(self, lease_name: str) -> None:
        """Join, then read, then serve: no barrier can pass between the read and the lease."""
        lease = await self._store.join(lease_name, ttl_s=LEASE_TTL_S)
        following = asyncio.create_task(self._follow(lease_name))
        self._serves_until_s = lease.expires_s
        try:
            await self._renew(lease_name)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _renew(self, lease_name: str) -> None:
        while True:
            await asyncio.sleep(RENEW_PERIOD_S)
            try:
                lease = await self._store.join(lease_name, ttl_s=LEASE_TTL_S)
            except NotFound:
                raise
            except StoreError:
                if asyncio.get_running_loop().time() >= self._serves_until_s:
                    raise
                continue
            self._serves_until_s = lease.expires_s

    async def _follow(self, lease_name: str) -> None:
        async for batch in self._store.watch((UserContainer, Incarnation)):
            await asyncio.sleep(self._draw.uniform(0, self.lag_s))
            while self.is_stuck:
                await asyncio.sleep(RETRY_S)
            self._apply(batch)
            await asyncio.sleep(self._draw.uniform(0, self.lag_s))
            await self._store.acknowledge(lease_name, batch.revision)

    def _apply(self, batch: Batch) -> None:
        for key in batch.removed:
            if key.kind == UserContainer.kind:
                self._drop(key.name)
        for obj in batch.objects:
            if isinstance(obj, UserContainer):
                self._route(obj)
        self._on_change(f"{self.name} applies {batch.revision}")

    def _route(self, user: UserContainer) -> None:
        self._drop(user.name)
        endpoint = user.status.endpoint
        if endpoint is None or user.metadata.is_deleted:
            return
        home = endpoint.incarnation.rpartition("-")[0]
        self._homes[user.name] = home
        self._table[home] = (endpoint.host, endpoint.port)

    def _drop(self, name: str) -> None:
        home = self._homes.pop(name, None)
        if home is not None:
            self._table.pop(home, None)

    def _forget(self) -> None:
        self._serves_until_s = 0.0
        self._table.clear()
        self._homes.clear()
