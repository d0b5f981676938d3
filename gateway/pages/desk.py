"""What the pages work with: one object a worker, handed to the applications when they are built."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.auth.accounts import Accounts, Announcer
from gateway.auth.callers import Callers
from gateway.auth.login import Logins
from gateway.auth.oauth.server import AuthorizationServer
from gateway.auth.people import People
from gateway.auth.resources import Resources
from gateway.auth.sessions import Sessions, Tickets, Visitor
from gateway.doors import wait_believed
from gateway.head import Head
from gateway.log_views import LogViews
from gateway.origins import refuse_embedding
from gateway.problems import Problem, forbidden, not_found, unavailable
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from gateway.seats import Seats
from gateway.sites import Sites
from gateway.throttles import Throttles
from gateway.verbs import ask
from state.kinds.request import Verb
from state.kinds.user_container import Power, UserContainer
from state.store.auth import AuthDatabase
from state.store.port import Store, Tx

FOLLOWERS_MAX = 1000


@dataclass(slots=True)
class Desk:
    """``local_sign_in``: whether the local developer may sign in here by link."""

    table: Table
    store: Store
    seats: Seats
    sites: Sites
    sessions: Sessions
    auth: AuthDatabase
    people: People
    accounts: Accounts
    logins: Logins
    oauth: AuthorizationServer
    callers: Callers
    resources: Resources
    announcer: Announcer
    throttles: Throttles
    logs: LogViews
    local_sign_in: bool
    followers_count: int = 0  # open event streams of pages
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tickets(self) -> Tickets:
        return self.auth.tickets

    def own_seat(self, user: str, name: str) -> Seat:
        """The user's seat of that name. Raises Problem (404), for another's as for none."""
        seat = self.table.seat_named(name)
        if seat is None or seat.user != user:
            raise not_found("You have no container of this name.")
        return seat

    async def signed_in(self, head: Head) -> Visitor:
        """Whoever is signed in and may come in. Raises Problem (403, 503), StoreError."""
        visitor = await self.known(head)
        if self.people.admitted(visitor.user) is None:
            raise forbidden("Sign in first.", "NotSignedIn")
        return visitor

    async def known(self, head: Head) -> Visitor:
        """Whoever is signed in, also who may not come in; never for a page of another origin that would load,
        frame or follow what is theirs. Raises Problem (403, 503), StoreError.
        """
        refuse_embedding(head)
        await wait_believed(self.table)
        visitor = await self.sessions.visitor(head)
        if visitor is None:
            raise forbidden("Sign in first.", "NotSignedIn")
        return visitor

    async def refuse_withdrawn(self, user: str, since: float) -> None:
        """Take back what was issued just now to somebody who was signed out, or deleted, meanwhile.

        ``since``: when they had signed in, as Unix seconds. Raises Problem (403, 503), StoreError.
        """
        if self.people.stands(user, since):
            return
        await self.auth.transact(lambda tx: tx.grants.revoke_all(user, tx.now))
        await self.announcer.announce()
        raise forbidden("You were signed out meanwhile. Sign in again.", "SignedOut")

    async def ensure_seat(self, user: str) -> None:
        """A first container for somebody who has none; what stands in its way, their page says."""
        admitted = self.people.admitted(user)
        if admitted is None or self.table.seats_of(user):
            return
        with suppress(Problem):  # the account page offers to start one, and tells what is wrong
            await self.seats.ensure(user, admitted.template)

    async def reset(self, seat: Seat, asked_by: str) -> None:
        """Delete what the gateway made; data goes by its template. Raises Problem (409), StoreError."""
        managed_by = seat.resource.metadata.managed_by
        if managed_by != "api":
            raise Problem(
                409,
                "This container is an operator's",
                f"It is declared in {managed_by.removeprefix('file:')}; only there can it be taken away.",
                reason="ManagedElsewhere",
            )
        await self.store.transact(lambda tx: _delete(tx, seat.resource.uid, seat.name), actor=asked_by)

    async def restart(self, seat: Seat, asked_by: str) -> None:
        """Ask for a restart, which wakes whoever sleeps. Raises StoreError."""
        await self._ask(seat, Verb.RESTART, asked_by)

    async def sleep(self, seat: Seat, asked_by: str) -> None:
        """Ask for it to be put to sleep until its next call. Raises Problem (409), StoreError."""
        if seat.resource.spec.power is not Power.AUTO:
            raise Problem(
                HTTPStatus.CONFLICT,
                "This container cannot be put to sleep",
                f"Its power is {seat.resource.spec.power}; an operator has to set it to Auto first.",
                reason="PowerIsSet",
            )
        await self._ask(seat, Verb.SLEEP, asked_by)

    async def _ask(self, seat: Seat, verb: Verb, asked_by: str) -> None:
        """Once: what waits already is not doubled."""
        await self.store.transact(lambda tx: ask(tx, seat.resource, verb, asked_by), actor=asked_by)


def _delete(tx: Tx, uid: str, name: str) -> None:
    """Exactly that object: one that was made anew since is not meant."""
    found = tx.get(UserContainer, name)
    if found is not None and found.uid == uid and not found.metadata.is_deleted:
        tx.delete(found)


def too_many_followers() -> Problem:
    return unavailable("Too many pages are open", "Close some, or reload later.", "TooManyPages", 10.0)
