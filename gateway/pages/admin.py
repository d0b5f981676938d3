"""The admin's pages at ``/admin``: who waits to be let in, what is not as it should be, and everybody.

Decides who may see them, and what an admin may do there: decide of somebody, and restart a container. They
open nobody else's pages, logs or values; of a log they show the last words of a container that ended. To
anybody else who is signed in they say 403 with the reason: that they exist is in the public contract, and
whoever was an admin yesterday should learn what changed.
What is decided is :mod:`gateway.auth.decisions`', shared with the operator's verbs. Lists are gone through in
pieces, for the same loop passes everybody's bytes. Next: :mod:`gateway.pages.admin_view`.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.auth.admission import SignInAgain
from gateway.auth.decisions import ACTS, BAN, Act, carry_out, nothing_done, outcome
from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.pages.admin_view import (
    TEXT_CHARS_MAX,
    ContainerView,
    Gravity,
    PersonView,
    Trouble,
    container_view,
    declared_view,
    file_view,
    gravity,
    is_container_found,
    is_person_found,
    leaf,
    missing_templates,
    person_view,
    reported_troubles,
    without_home,
)
from gateway.pages.answers import asked_of, page, see_other
from gateway.pages.desk import Desk
from gateway.pages.forms import signed_form
from gateway.pages.render import draw
from gateway.pages.sign_in import sign_in_for
from gateway.pages.view import seat_view
from gateway.pages.welcome import name_of
from gateway.problems import Problem, forbidden, not_found
from gateway.routes.seat import Seat
from state.kinds import request as asking
from state.kinds.access_policy import AccessPolicy, Role
from state.kinds.account import Account, folded
from state.kinds.app import App
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.template import ContainerTemplate
from state.store.errors import NotFound, StoreError
from state.store.port import Tx

ADMIN: Final = "/admin"
PEOPLE: Final = "/admin/people"
CONTAINERS: Final = "/admin/containers"
CONTAINER: Final = "/admin/container"
MANIFESTS: Final = "/admin/manifests"
WAITING: Final = "waiting"  # what `show` says for those alone who wait for approval
FIRST_MAX: Final = 25  # rows of each list of the first page
FILES_MAX: Final = 200  # rows of the lists of manifests; what is wrong comes first
LOOKED_AT_MAX: Final = 100  # rows, before the loop has another turn

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Declared:
    """What operators wrote, and what the reconciler reports."""

    reconcilers: Sequence[Reconciler]
    files: Sequence[ManifestFile]
    policies: Sequence[AccessPolicy]
    templates: Sequence[ContainerTemplate]
    apps: Sequence[App]


def add_admin(app: FastAPI, desk: Desk) -> None:
    pages = AdminPages(desk)
    get, post = ["GET", "HEAD"], ["POST"]
    for path, endpoint, methods in (
        (ADMIN, pages.overview, get),
        (PEOPLE, pages.people, get),
        (CONTAINERS, pages.containers, get),
        (CONTAINER, pages.container, get),
        (MANIFESTS, pages.manifests, get),
        ("/-/admin/restart", pages.restart, post),
        ("/-/admin/{act}", pages.decide, post),
    ):
        app.add_api_route(path, endpoint, methods=methods, response_model=None)


def is_admin(desk: Desk, visitor: Visitor) -> bool:
    """Whether the pages here are for them, at this moment."""
    admitted = desk.people.admitted(visitor.user)
    return admitted is not None and admitted.role is Role.ADMIN


class AdminPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def overview(self, request: Request, done: str = "", user: str = "") -> Response:
        """Who waits, and what is not as it should be."""
        visitor = await self._admin(request)
        if visitor is None:
            return see_other(sign_in_for(ADMIN))
        waiting = await self._waiting("")
        seats = await sorted_by(list(self._desk.table), gravity)
        troubled = sorted(seats.get(Gravity.TROUBLE, ()), key=_by_name)
        return self._page(
            "admin/overview.html",
            visitor,
            notice=self._notice(done, user),
            keeps_unmatched=self._desk.people.keeps_unmatched,
            waiting=[self._person(account, visitor) for account in waiting[:FIRST_MAX]],
            waiting_count=len(waiting),
            troubles=(await self._troubles())[:FILES_MAX],
            troubled=[self._container(seat) for seat in troubled[:FIRST_MAX]],
            troubled_count=len(troubled),
            counts={each: len(seats.get(each, ())) for each in Gravity},
            people_count=len(self._desk.table.accounts),
        )

    async def people(
        self, request: Request, q: str = "", page: str = "", show: str = "", done: str = "", user: str = ""
    ) -> Response:
        """Everybody who signed in, in the order of their ids; those who wait in the order they came."""
        visitor = await self._admin(request)
        if visitor is None:
            return see_other(sign_in_for(ADMIN))
        q, show = q.strip()[:TEXT_CHARS_MAX], show if show == WAITING else ""
        if show:
            found = await self._waiting(folded(q))
        else:
            found = sorted(await self._found(folded(q)), key=lambda account: account.spec.user)
        shown = leaf(found, page)
        return self._page(
            "admin/people.html",
            visitor,
            notice=self._notice(done, user),
            q=q,
            show=show,
            leaf=shown,
            people=[self._person(account, visitor) for account in shown.rows],
        )

    async def containers(self, request: Request, q: str = "", page: str = "") -> Response:
        """Every container, those first that are not as they should be."""
        visitor = await self._admin(request)
        if visitor is None:
            return see_other(sign_in_for(ADMIN))
        q, table = q.strip()[:TEXT_CHARS_MAX], self._desk.table
        text = folded(q)

        def rank(seat: Seat) -> Gravity | None:
            return gravity(seat) if is_container_found(seat, table.account(seat.user), text) else None

        found = await sorted_by(list(table), rank)
        shown = leaf([seat for each in Gravity for seat in sorted(found.get(each, ()), key=_by_name)], page)
        containers = [self._container(seat) for seat in shown.rows]
        return self._page("admin/containers.html", visitor, q=q, leaf=shown, containers=containers)

    async def container(self, request: Request, name: str = "") -> Response:
        """Why one container is as it is, and what was asked of it last."""
        visitor = await self._admin(request)
        if visitor is None:
            return see_other(sign_in_for(ADMIN))
        seat = self._seat(name)
        asked = await self._desk.store.read(lambda tx: _asked_of(tx, seat.name))
        view = seat_view(seat, None, "", has_inputs=False)
        return self._page(
            "admin/container.html",
            visitor,
            one=self._container(seat),
            seat=replace(view, last_words=without_home(view.last_words, seat)),
            asked=asked,
        )

    async def manifests(self, request: Request) -> Response:
        """What operators declared, where, and what came of it."""
        visitor = await self._admin(request)
        if visitor is None:
            return see_other(sign_in_for(ADMIN))
        told = await self._desk.store.read(_declared)
        files = sorted(map(file_view, told.files), key=lambda file: (file.is_applied, file.path))
        declared = [declared_view(obj) for obj in (*told.policies, *told.templates, *told.apps)]
        return self._page(
            "admin/manifests.html",
            visitor,
            reconcilers=told.reconcilers,
            files=files[:FILES_MAX],
            files_count=len(files),
            declared=declared[:FILES_MAX],
            declared_count=len(declared),
            has_policy=bool(told.policies),
        )

    async def decide(self, request: Request, act: str) -> Response:
        """Approve, ban or unban somebody: in force on every worker before the page says so."""
        visitor, fields = await self._admins_form(request)
        chosen, user = ACTS.get(act), fields.get("user", "")
        if chosen is None:
            raise not_found("An admin can approve, ban and unban.")
        self._refuse_unfit(chosen, user, visitor)
        try:
            is_done = await carry_out(chosen, user, self._desk.accounts, visitor.user)
        except NotFound:  # they deleted their account meanwhile
            raise _nobody() from None
        if not is_done:
            detail = f"{nothing_done(chosen, user)}."
            raise Problem(HTTPStatus.CONFLICT, "This cannot be done now", detail, reason="NotApplicable")
        return see_other(_back(fields, act, user))

    async def restart(self, request: Request) -> Response:
        visitor, fields = await self._admins_form(request)
        seat = self._seat(fields.get("name", ""))
        await self._desk.restart(seat, visitor.user)
        return see_other(f"{CONTAINER}?{urlencode({'name': seat.name})}")

    # Who may

    async def _admin(self, request: Request) -> Visitor | None:
        """The admin who asks; None for whoever has to sign in. Raises Problem (403, 503), StoreError."""
        await wait_believed(self._desk.table)
        visitor = await self._desk.sessions.visitor(asked_of(request).head)
        account = None if visitor is None else self._desk.table.account(visitor.user)
        if visitor is None or account is None:
            return None
        if isinstance(self._desk.people.admission(account), SignInAgain):
            return None
        self._refuse_others(visitor)
        return visitor

    async def _admins_form(self, request: Request) -> tuple[Visitor, dict[str, str]]:
        """Raises Problem (400, 403, 413, 503), StoreError."""
        visitor, fields = await signed_form(self._desk, request)
        self._refuse_others(visitor)
        return visitor, fields

    def _refuse_others(self, visitor: Visitor) -> None:
        if not is_admin(self._desk, visitor):
            way = "ADMIN_EMAILS or an AccessPolicy says who is; ask whoever runs this gateway."
            if self._desk.local_sign_in:
                way = "Admins sign in at an identity provider, and none is configured: see env.template."
            raise forbidden(
                f"This page is for admins, and {visitor.user} is none. {way}",
                "NotAnAdmin",
            )

    def _refuse_unfit(self, act: Act, user: str, visitor: Visitor) -> None:
        """Raises Problem (403, 404).

        Whom ADMIN_EMAILS names is an admin by the word of whoever runs the gateway, and only they take it
        back: no admin can shut out all others.
        """
        account = self._desk.table.account(user)
        if account is None:
            raise _nobody()
        if user == visitor.user:
            raise forbidden("Nobody decides of themselves. Ask another admin.", "OwnAccount")
        if act is BAN and self._desk.people.is_named_admin(account):
            raise forbidden(
                f"{user} is an admin by ADMIN_EMAILS. An operator can take the address out of that setting, "
                f"or use `mcpgw ban {user}`.",
                "NamedAdmin",
            )

    # Leaves

    def _page(self, template: str, visitor: Visitor, **values: Any) -> Response:
        values |= {"visitor": visitor, "who": name_of(self._desk, visitor.user)}
        return page(draw(template, **values))

    def _seat(self, name: str) -> Seat:
        seat = self._desk.table.seat_named(name)
        if seat is None:
            raise not_found("There is no container of this name.")
        return seat

    def _person(self, account: Account, visitor: Visitor) -> PersonView:
        people, user = self._desk.people, account.spec.user
        return person_view(
            account,
            people.judgement(account),
            len(self._desk.table.seats_of(user)),
            is_self=user == visitor.user,
            is_named=people.is_named_admin(account),
        )

    def _container(self, seat: Seat) -> ContainerView:
        return container_view(seat, self._desk.table.account(seat.user))

    async def _found(self, text: str) -> Sequence[Account]:
        accounts = self._desk.table.accounts
        found = await sorted_by(accounts, lambda one: True if is_person_found(one, text) else None)
        return found.get(True, [])

    async def _waiting(self, text: str) -> Sequence[Account]:
        """Who waits for approval; who came first comes first."""
        people = self._desk.people
        if not people.keeps_unmatched:
            return []
        found = await self._found(text)
        waiting = await sorted_by(found, lambda one: True if people.is_pending(one) else None)
        return sorted(waiting.get(True, []), key=_by_age)

    async def _troubles(self) -> list[Trouble]:
        """A store that does not answer is one of them: what is known without it is shown all the same."""
        try:
            told = await self._desk.store.read(_declared)
        except StoreError:
            what = "StoreUnavailable: it does not answer, and nothing can be decided until it does"
            return [Trouble("Store", what)]
        default = self._desk.people.default_template
        existing = frozenset(template.name for template in told.templates)
        return [
            *reported_troubles(told.reconcilers, told.files),
            *missing_templates(told.policies, told.apps, default, existing),
        ]

    def _notice(self, done: str, user: str) -> str:
        """What was decided of somebody, as it stands: a link that claims it shows nothing that is not so."""
        act, account = ACTS.get(done), self._desk.table.account(user)
        if act is None or account is None or account.spec.decision is not act.decision:
            return ""
        return outcome(act, user, self._desk.people.judgement(account))


async def sorted_by(rows: Sequence[T], rank: Callable[[T], K | None]) -> dict[K, list[T]]:
    """The rows by their rank; those without one are left out. Other work has its turn in between."""
    sorted_: dict[K, list[T]] = {}
    for first in range(0, len(rows), LOOKED_AT_MAX):
        for row in rows[first : first + LOOKED_AT_MAX]:
            found = rank(row)
            if found is not None:
                sorted_.setdefault(found, []).append(row)
        await asyncio.sleep(0)
    return sorted_


def _declared(tx: Tx) -> _Declared:
    return _Declared(
        tx.list(Reconciler),
        tx.list(ManifestFile),
        tx.list(AccessPolicy),
        tx.list(ContainerTemplate),
        tx.list(App),
    )


def _asked_of(tx: Tx, name: str) -> asking.Request | None:
    """What was asked of a container last, and what came of it."""
    return tx.by_unique_key(asking.Request, asking.request_key(name))


def _by_name(seat: Seat) -> str:
    return seat.name


def _by_age(account: Account) -> tuple[float, str]:
    made_at = account.metadata.created_at
    return (0.0 if made_at is None else made_at.timestamp(), account.spec.user)


def _back(fields: Mapping[str, str], done: str, user: str) -> str:
    """To the list from which it was decided, at the same place; never anywhere else."""
    query = {"done": done, "user": user}
    if fields.get("back") != PEOPLE:
        return f"{ADMIN}?{urlencode(query)}"
    place = {name: fields[name][:TEXT_CHARS_MAX] for name in ("q", "show", "page") if fields.get(name)}
    return f"{PEOPLE}?{urlencode(place | query)}"


def _nobody() -> Problem:
    return not_found("Nobody of this name has signed in. They may have deleted their account.")
