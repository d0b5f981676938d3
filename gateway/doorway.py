"""What the doors do once everything is checked: a request goes on, and for as long as what let it in holds.

Decides to whom nothing of a user's is shown any more. Refuses to know the checks themselves, which are
:mod:`gateway.doors`'s. Next: :mod:`gateway.hold.delivery`, and :mod:`gateway.streams` for what lasts.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from gateway.asked import Asked
from gateway.auth.admission import Pending, Refused
from gateway.auth.people import People
from gateway.auth.throttle import Throttle
from gateway.head import Head
from gateway.hold.delivery import Delivery, OnEnd
from gateway.hold.manner import Manner
from gateway.proxy import UpstreamHead
from gateway.proxy.direct import Exchange
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from gateway.sites import Site
from gateway.streams import Holder, Pass, lasting
from gateway.upstream_heads import UpstreamHeads
from gateway.user_headers import Said
from state.kinds.app import app_of
from state.kinds.template import Route


class Clearance(NamedTuple):
    """What a request's head passed every check for: good for the same head until the table changes."""

    version: int  # the table's
    until: float  # Unix seconds: when the caller's token is over
    throttle: Throttle | None
    holder: Holder | None  # None: an App, whose short calls are not kept account of
    given: Pass
    head: Head
    site: Site
    route: Route
    seat: Seat
    upstream: UpstreamHead
    said: Said | None  # in headers that the template's files are made of


class Doorway:
    """One a worker, for all its doors."""

    def __init__(self, table: Table, people: People, delivery: Delivery, heads: UpstreamHeads) -> None:
        self.table = table
        self._people = people
        self._delivery = delivery
        self._heads = heads

    async def deliver(self, asked: Asked, seat: Seat, path: str, manner: Manner) -> None:
        asked.seat = seat
        head = self.upstream_head(asked, path, seat)
        if asked.is_websocket:
            await self._delivery.websocket(asked, seat, head, manner)
        else:
            await self._delivery.http(asked, seat, head, manner)

    async def deliver_to_anybody(self, asked: Asked, seat: Seat, manner: Manner) -> None:
        """The same for whoever comes, for as long as the owner is not shut out."""

        async def holds() -> bool:
            return not self.is_shut_out(seat.user)

        async with self.standing(asked, seat.user, Pass(holds)):
            await self.deliver(asked, seat, asked.path, manner)

    def is_shut_out(self, owner: str) -> bool:
        """Whether ``owner`` may not come in, so that nothing of theirs is shown to others either.

        Who has but to sign in again is not, nor is an App's user: nobody decides about those but the App.
        """
        if app_of(owner):
            return False
        account = self.table.account(owner)
        return account is None or isinstance(self._people.admission(account), Pending | Refused)

    @asynccontextmanager
    async def standing(self, asked: Asked, holder: str, given: Pass) -> AsyncIterator[None]:
        """What is done meanwhile is cut once ``given`` no longer holds."""
        async with lasting(self.table.streams.holder(holder), given, asked.scope, asked.send) as stream:
            try:
                yield
            finally:
                if stream.is_cut:
                    asked.reason = "Withdrawn"

    def direct(self, asked: Asked, exchange: Exchange, cleared: Clearance, on_end: OnEnd) -> bool:
        """The same without awaiting, where nothing has to be awaited; else False."""
        return self._delivery.direct(asked, exchange, cleared.seat, cleared.upstream, on_end)

    def upstream_head(self, asked: Asked, path: str, seat: Seat) -> UpstreamHead:
        rules = self.table.header_rules(seat.template)
        if rules is None:
            return self._heads.head(asked.scope, path, asked.site)
        return self._heads.head(asked.scope, path, asked.site, rules.withheld)
