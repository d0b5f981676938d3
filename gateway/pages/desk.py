"""What the pages work with: one object a worker, handed to the applications when they are built."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from gateway.auth.accounts import Accounts, Announcer
from gateway.auth.callers import Callers
from gateway.auth.login import Logins
from gateway.auth.oauth.server import AuthorizationServer
from gateway.auth.people import People
from gateway.auth.resources import Resources
from gateway.auth.sessions import Sessions, Tickets, Visitor
from gateway.doors import wait_believed
from gateway.head import Head
from gateway.problems import Problem, forbidden, not_found, unavailable
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from gateway.seats import Seats
from gateway.sites import Sites
from gateway.throttles import Throttles
from state.kinds.request import Outcome, Request, RequestSpec, Verb
from state.kinds.resource import Metadata
from state.kinds.user_container import UserContainer
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
        """Whoever is signed in, also who may not come in. Raises Problem (403, 503), StoreError."""
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
        """Ask for a restart, once: a request that still waits is not doubled. Raises StoreError."""
        await self.store.transact(lambda tx: _ask_restart(tx, seat.name, asked_by), actor=asked_by)


def _delete(tx: Tx, uid: str, name: str) -> None:
    """Exactly that object: one that was made anew since is not meant."""
    found = tx.get(UserContainer, name)
    if found is not None and found.uid == uid and not found.metadata.is_deleted:
        tx.delete(found)


def _ask_restart(tx: Tx, name: str, asked_by: str) -> None:
    """What was asked for before and is done is forgotten now, so that there is one a user at the most."""
    for request in (one for one in tx.list(Request) if one.spec.user_container == name):
        if request.status.outcome is Outcome.PENDING:
            return
        tx.delete(request)
    spec = RequestSpec(user_container=name, verb=Verb.RESTART, asked_by=asked_by, asked_at=tx.now)
    tx.create(Request(metadata=Metadata(name=f"restart-{uuid4().hex}"), spec=spec))


def too_many_followers() -> Problem:
    return unavailable("Too many pages are open", "Close some, or reload later.", "TooManyPages", 10.0)
