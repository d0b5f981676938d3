"""A Seat: one UserContainer as the data path sees it, updated in place for as long as the object lives.

Refuses to know where the news comes from; :mod:`gateway.routes.table` brings it, whoever must wait for a
change awaits :meth:`Seat.next_change`.
"""

import asyncio
from datetime import datetime

from gateway.proxy import Endpoint
from gateway.use import Ledger, Use
from state.kinds.resource import Condition, ConditionType
from state.kinds.user_container import Power, UserContainer


class Seat:
    """``endpoint`` is where this user's requests may go now, or None: hold them."""

    __slots__ = ("_is_gone", "_waiters", "endpoint", "held_count", "resource", "use", "watched_count")

    def __init__(self, resource: UserContainer, ledger: Ledger) -> None:
        self.resource = resource
        self.endpoint = _endpoint(resource)
        self._is_gone = False
        self.held_count = 0  # requests waiting for an endpoint
        self.watched_count = 0  # pages that follow its state
        self.use = Use(resource.metadata.name, ledger)
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def name(self) -> str:
        return self.resource.metadata.name

    @property
    def user(self) -> str:
        return self.resource.spec.user

    @property
    def template(self) -> str:
        return self.resource.spec.template

    @property
    def home(self) -> str:
        """The Home's hostname; empty until it has one."""
        return self.resource.status.home

    @property
    def is_deleted(self) -> bool:
        """Whether it is going, or gone: nothing will be routed here any more."""
        return self._is_gone or self.resource.metadata.is_deleted

    @property
    def is_stopped(self) -> bool:
        """Whether its spec says that it shall not run: waiting would be in vain."""
        return self.resource.spec.power is Power.STOPPED

    @property
    def restart_after(self) -> datetime | None:
        return self.resource.status.restart_after

    def condition(self, of: ConditionType) -> Condition | None:
        return self.resource.status.condition(of)

    def update(self, resource: UserContainer) -> Endpoint | None:
        """Take the news in. Returns the endpoint that must no longer be used, if one was dropped."""
        before, now = self.endpoint, _endpoint(resource)
        self.resource = resource
        self.endpoint = before if now == before else now
        self.wake()
        return before if before is not None and now != before else None

    def drop(self) -> Endpoint | None:
        """The object is gone; returns what was routed to it."""
        before, self.endpoint = self.endpoint, None
        self._is_gone = True
        self.wake()
        return before

    def next_change(self) -> asyncio.Future[None]:
        """Done when anything about this seat has changed. Give it back to `forget_waiter`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def forget_waiter(self, waiter: asyncio.Future[None]) -> None:
        waiter.cancel()
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _endpoint(resource: UserContainer) -> Endpoint | None:
    at = resource.status.endpoint
    if at is None or resource.metadata.is_deleted:
        return None
    return Endpoint(at.host, at.port, at.incarnation)
