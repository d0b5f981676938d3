"""What is checked at either kind of origin before a request may reach a container.

At the gateway's own: MCP routes, for bearers of a key alone. At a Home's: that Home's pages, for its owner,
for whoever holds a hosted link, or for anyone, as its template says. A user's pages are never on the
gateway's origin, and a page's cookie is never good for MCP. Next: :mod:`gateway.doorway`.
"""

import time
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn
from urllib.parse import parse_qsl, unquote

from gateway.asked import Asked
from gateway.auth.callers import Caller, Callers, NotIdentifiedError
from gateway.auth.people import People
from gateway.auth.resources import Resources
from gateway.auth.sessions import Sessions
from gateway.cors import Cors
from gateway.doorway import Clearance, Doorway
from gateway.head import Head
from gateway.hold.delivery import OnEnd
from gateway.hold.manner import Manner, manner_of_call, manner_of_page
from gateway.hold.reasons import RETRY_AFTER_S
from gateway.origins import SAFE_METHODS, refuse_embedding, refuse_foreign_origin
from gateway.problems import (
    Problem,
    bad_request,
    forbidden,
    insufficient_scope,
    not_found,
    unauthenticated,
    unavailable,
)
from gateway.proxy import Outcome
from gateway.proxy.client import Message, Send
from gateway.proxy.direct import Exchange
from gateway.routes.match import names_hostname
from gateway.routes.seat import Seat
from gateway.routes.table import Table
from gateway.routes.user_path import USER_PREFIX, split_user_path
from gateway.seats import Seats
from gateway.sites import Sites
from gateway.streams import OUTLIVES_S, Holder, Pass, of_app
from gateway.throttles import Throttles, identified, refuse_hasty_strangers
from gateway.user_headers import Said, UserHeadersKeeper, said_in
from state.kinds.app import APP_PROVIDER, app_user
from state.kinds.template import Access, Route

TABLE_WAIT_S = 5.0
_REFERRER_KEPT: Final = (b"referrer-policy", b"same-origin")
_COUNTED: Final = "mcpgw.counted"  # in the scope of what an App's limit counted before it came again


async def wait_believed(table: Table) -> None:
    """Raises Problem (503) where the routes are not known: at start, or after a lost lease."""
    if not await table.wait_believed(TABLE_WAIT_S):
        raise unavailable(
            "The routes are not known",
            "The gateway is reading them from its store. Ask again in a moment.",
            "NotCurrent",
            2.0,
        )


class Passage(NamedTuple):
    """Where a request that passed the checks may go; a user without a seat may be given one."""

    user: str
    template: str
    seat: Seat | None
    path: str  # as the container is to see it


class GatewayDoor:
    """MCP routes on the gateway's origin: ``/mcp…`` and ``/u/<user>/mcp…``."""

    def __init__(
        self,
        doorway: Doorway,
        seats: Seats,
        sites: Sites,
        callers: Callers,
        people: People,
        resources: Resources,
        cors: Cors,
        throttles: Throttles,
        headers: UserHeadersKeeper,
    ) -> None:
        self._doorway = doorway
        self._headers = headers
        self._cors = cors
        self._table = doorway.table
        self._callers = callers
        self._people = people
        self._resources = resources
        self._seats = seats
        self._sites = sites
        self._throttles = throttles

    async def serve(self, asked: Asked) -> None:
        """Raises Problem: 403, 404, 400, 429, 401, 400 or 503, in this order of checks."""
        if not self._table.is_believed:
            await wait_believed(self._table)
        resource = self._resource(asked)
        if await self._cors.admit(asked):
            return
        self._refuse_twofold(asked, resource)
        try:
            caller = await identified(self._callers, self._throttles, asked)
        except NotIdentifiedError as nobody:
            raise unidentified(nobody, self._resources, resource) from None
        if _COUNTED not in asked.scope:
            refuse_overrun(caller)
        passage = self._check(asked, caller, resource)
        said = self._said(asked, caller, passage)
        given = self._pass(asked, caller, resource, passage)
        async with self._doorway.standing(asked, _holder_of(caller), given):
            seat = passage.seat or await self._seats.ensure(passage.user, passage.template, said)
            if said is not None and not self._headers.is_kept(seat, said):
                await self._headers.keep(seat, said)
            asked.site, asked.may_wake = self._sites.public(asked.site), True
            await self._doorway.deliver(asked, seat, passage.path, manner_of_call(asked))

    def clear(self, asked: Asked) -> Clearance | None:
        """The same checks, for a known caller who has a seat; None where :meth:`serve` has to see."""
        if self._cors.origin(asked) is not None:
            return None
        version, resource = self._table.version, self._resource(asked)
        self._refuse_twofold(asked, resource)
        try:
            caller = self._callers.known(asked.head)
        except NotIdentifiedError:
            return None
        if caller is None:
            return None
        passage = self._check(asked, caller, resource)
        if passage.seat is None or asked.route is None:
            return None
        holder = None if caller.app else self._table.streams.holder(_holder_of(caller))
        given = self._pass(asked, caller, resource, passage)
        asked.site = self._sites.public(asked.site)
        upstream = self._doorway.upstream_head(asked, passage.path, passage.seat)
        return Clearance(
            version=version,
            until=caller.until,
            throttle=caller.throttle,
            holder=holder,
            given=given,
            head=asked.head,
            site=asked.site,
            route=asked.route,
            seat=passage.seat,
            upstream=upstream,
            said=self._said(asked, caller, passage),
        )

    def still_clears(self, cleared: Clearance) -> bool:
        """Whether nothing was taken in since that could decide otherwise, and the token is not over."""
        return cleared.version == self._table.version and cleared.until > time.time()

    def direct(self, asked: Asked, exchange: Exchange, cleared: Clearance, on_end: OnEnd) -> bool:
        """Forward a cleared request without awaiting anything. False: only :meth:`serve` can."""
        if cleared.said is not None and not self._headers.is_kept(cleared.seat, cleared.said):
            return False  # which has it written first
        throttle = cleared.throttle
        if throttle is not None and throttle.take("", time.monotonic()) is not None:
            return False  # which refuses it, in words
        if throttle is not None:
            exchange.scope[_COUNTED] = True  # should it be declined below, or begin anew
        if cleared.holder is None:
            return self._doorway.direct(asked, exchange, cleared, on_end)
        return self._direct_of(cleared.holder, asked, exchange, cleared, on_end)

    def _direct_of(
        self, holder: Holder, asked: Asked, exchange: Exchange, cleared: Clearance, on_end: OnEnd
    ) -> bool:
        """For a person: its answer may be a long one, and is cut like every other."""

        def ended(outcome: Outcome | None) -> None:
            holder.running.pop(exchange, None)
            on_end(outcome)

        holder.running[exchange] = cleared.given
        if self._doorway.direct(asked, exchange, cleared, ended):
            return True
        holder.running.pop(exchange, None)
        return False

    def _said(self, asked: Asked, caller: Caller, passage: Passage) -> Said | None:
        """What the call says that files are made of, for its own user. Raises Problem (400)."""
        rules = self._table.header_rules(passage.seat.template if passage.seat else passage.template)
        if rules is None or caller.user != passage.user:
            return None
        return said_in(asked.scope["headers"], rules)

    def _pass(self, asked: Asked, caller: Caller, resource: str, passage: Passage) -> Pass:
        """What lets it in: the same token, for the same user. It may outlive the token's end for a while."""
        again = Asked({}, asked.receive, asked.send, asked.head, asked.site, asked.path)
        return Pass(partial(self._holds, again, resource, passage.user), caller.until + OUTLIVES_S)

    async def _holds(self, again: Asked, resource: str, user: str) -> bool:
        """Raises Problem (503), StoreError where nobody can say."""
        try:
            caller = await self._callers.identify(again.head)
            return self._check(again, caller, resource).user == user
        except NotIdentifiedError:
            return False
        except Problem as problem:
            if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return False

    def _resource(self, asked: Asked) -> str:
        """What is asked for. Raises Problem: 403, 404."""
        refuse_foreign_origin(asked.head, asked.site, guarded=True, listed=self._cors.origins)
        resource = self._resources.of_path(asked.path, asked.site)
        if resource is None:
            self._refuse_nowhere(asked)
        return resource

    def _refuse_twofold(self, asked: Asked, resource: str) -> None:
        """Raises Problem (400) where a token stands in the query beside the one in the header.

        In the query alone it is nobody's: 401. Source: RFC 6750 section 2 (one method in each request).
        """
        query: bytes = asked.scope["query_string"]
        if query and b"authorization" in asked.head.values and _names_token(query):
            detail = "Send the token in the Authorization header alone, and none in the query."
            challenge = self._resources.challenge(resource, "invalid_request", detail)
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "The request cannot be understood",
                detail,
                reason="InvalidRequest",
                headers=((b"www-authenticate", challenge),),
            )

    def _refuse_nowhere(self, asked: Asked) -> NoReturn:
        """Nobody need sign in to learn that nothing is here; an App learns of its own template's absence."""
        try:
            caller = self._callers.known(asked.head)
        except (NotIdentifiedError, Problem):
            caller = None
        if caller is not None and caller.app:
            self._route(caller.template, split_user_path(asked.path)[1])
        raise _no_page(self._sites)

    def _check(self, asked: Asked, caller: Caller, resource: str) -> Passage:
        """Whether the caller may go there, without awaiting. Raises Problem."""
        refuse_misused(caller, self._resources, resource)
        prefix, path = split_user_path(asked.path)
        if not prefix:
            user, template = required_user(caller), caller.template
            seat = self._seats.find(user, template)
        else:
            named = unquote(prefix[len(USER_PREFIX) :])
            user, template = self._named(caller, named)
            seat = self._named_seat(named, user, template)
        asked.route = self._route(seat.template if seat is not None else template, path)
        return Passage(user, template, seat, path)

    def _named(self, caller: Caller, named: str) -> tuple[str, str]:
        """The user that a path names, by its full name or its UserContainer's, and their template.

        Exactly that name, never a part of it. Another's user and nobody are told alike. Raises Problem
        (403, 404).
        """
        short = self._table.seat_named(named)
        user = short.user if short is not None else named
        if caller.app:
            refuse_others_user(caller, user)
            return user, caller.template
        if user == caller.user:
            return user, caller.template
        if not caller.is_admin:
            raise _no_user()
        admitted = self._people.admitted(user)
        if admitted is not None:
            return user, admitted.template
        seats = self._table.seats_of(user)
        if not seats:
            raise _no_user()  # an admin's slip of the pen creates nobody
        return user, seats[0].template

    def _named_seat(self, named: str, user: str, template: str) -> Seat | None:
        short = self._table.seat_named(named)
        return short if short is not None and short.user == user else self._seats.find(user, template)

    def _route(self, template: str, path: str) -> Route:
        routes = self._table.routes(template)
        if routes is None:
            detail = f"ContainerTemplate {template} does not exist. An operator has to add it."
            raise unavailable("There is no such template", detail, "TemplateMissing", 60.0)
        route = routes.find(path)
        if route is None or route.protocol != "mcp":
            raise _no_page(self._sites)
        return route


class HomeDoor:
    """A Home's own origin: its template's page routes."""

    def __init__(
        self, doorway: Doorway, sessions: Sessions, people: People, sites: Sites, throttles: Throttles
    ) -> None:
        self._doorway = doorway
        self._table = doorway.table
        self._sessions = sessions
        self._people = people
        self._sites = sites
        self._throttles = throttles  # for whoever comes without a session

    async def serve(self, asked: Asked) -> None:
        """Raises Problem: 404, 403 or 401, in this order of checks."""
        if not self._table.is_believed:
            await wait_believed(self._table)
        home = asked.site.home
        seat = self._table.seat_at_home(home)
        if seat is None:
            raise not_found("No container has this address. Open it anew from the account page.")
        route = asked.route = self._route(seat, asked.path)
        changes = asked.is_websocket or asked.scope["method"] not in SAFE_METHODS
        refuse_foreign_origin(asked.head, asked.site, guarded=changes)
        await self._admit(asked, seat, route)
        asked.send = _reticent(asked.send)
        manner = manner_of_page(asked, is_anyones=route.access is Access.ANY)
        try:
            if asked.is_owners:
                await self._deliver_to_owner(asked, seat, manner)
            else:
                await self._doorway.deliver_to_anybody(asked, seat, manner)
        except Problem as problem:
            raise (problem if asked.is_owners else discreet(problem)) from None

    async def _deliver_to_owner(self, asked: Asked, seat: Seat, manner: Manner) -> None:
        given = Pass(partial(self._is_in, asked.head, asked.site.home, seat.user), due_at=0.0)
        async with self._doorway.standing(asked, seat.user, given):
            asked.may_wake = True
            await self._doorway.deliver(asked, seat, asked.path, manner)

    def _route(self, seat: Seat, path: str) -> Route:
        routes = self._table.routes(seat.template)
        route = routes.find(path) if routes is not None else None
        if route is None:
            raise _no_such_page()
        if route.protocol == "mcp":
            raise not_found(f"MCP is spoken at {self._sites.gateway.origin}{path}, with a bearer token.")
        return route

    async def _admit(self, asked: Asked, seat: Seat, route: Route) -> None:
        """Raises Problem (403, 401, 404, 429) unless the route's access rule lets this request in."""
        is_named = route.access is Access.LINK and names_hostname(route, asked.path, asked.site.home)
        if route.access is Access.ANY or is_named:
            strangers = self._throttles.link if is_named else self._throttles.open
            is_owner = partial(self._is_in, asked.head, asked.site.home, seat.user)
            await refuse_hasty_strangers(strangers, asked, asked.site.home, is_owner)
            if self._doorway.is_shut_out(seat.user):
                raise _no_such_page()
            return
        refuse_embedding(asked.head)
        if not await self._is_in(asked.head, asked.site.home, seat.user):
            raise _enter_first(self._sites)
        asked.is_owners = True

    async def _is_in(self, head: Head, home: str, user: str) -> bool:
        visitor = await self._sessions.home_visitor(head, home)
        return visitor is not None and visitor.user == user and self._people.admitted(user) is not None


def _reticent(send: Send) -> Send:
    """``send`` for a Home's pages: no other site that they name learns the Home's own name from the browser.

    It opens the Home's hosted links. A container that says how much it tells is passed on as it is.
    Source: Referrer Policy section 3.2 (same-origin).
    """

    async def reticent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            if not any(name.lower() == _REFERRER_KEPT[0] for name, _ in headers):
                message = {**message, "headers": [*headers, _REFERRER_KEPT]}
        await send(message)

    return reticent


def _no_such_page() -> Problem:
    return not_found("This container shows no such page.")


def _holder_of(caller: Caller) -> str:
    return of_app(caller.app) if caller.app else required_user(caller)


def _names_token(query: bytes) -> bool:
    """Whether ``access_token`` is one of its parameters, however its name is written."""
    if b"access_token" not in query and b"%" not in query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(name == "access_token" for name, _ in pairs)


def unidentified(nobody: NotIdentifiedError, resources: Resources, resource: str) -> Problem:
    """401, and where a client learns how to come by a token for ``resource``."""
    return unauthenticated(nobody.detail, resources.challenge(resource, nobody.error, nobody.detail))


def refuse_misused(caller: Caller, resources: Resources, resource: str) -> None:
    """Raises Problem (401, 403) unless the caller's token is for ``resource`` and for this use of it."""
    if caller.resource is None:
        return
    if caller.resource != resource:
        detail = f"The token is for {caller.resource}, and good nowhere else."
        raise unauthenticated(detail, resources.challenge(resource, "invalid_token", detail))
    if caller.user is not None and not resources.lets_in(resource, caller.user):
        raise forbidden("Your identity provider is not one of those for this address.", "OtherProvider")
    if resources.scope_of(resource) not in caller.scopes:
        detail = f"The token lacks the scope {resources.scope_of(resource)}."
        raise insufficient_scope(detail, resources.challenge(resource, "insufficient_scope", detail))


def refuse_overrun(caller: Caller) -> None:
    """Raises Problem (429) where an App calls more often than its manifest allows."""
    wait_s = None if caller.throttle is None else caller.throttle.take("", time.monotonic())
    if wait_s is not None:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "The App calls too often",
            f"The App {caller.app} has used up its limits.requestsPerMinute; wait a moment.",
            reason="TooManyRequests",
            retry_after_s=wait_s,
        )


def required_user(caller: Caller) -> str:
    """For whom the App asks. Raises Problem (400)."""
    if caller.user is None:
        raise bad_request("Say for which of your users you ask: X-App-User: <id>.", "MissingUser")
    return caller.user


def refuse_others_user(caller: Caller, user: str) -> None:
    """Raises Problem (403, 404) unless ``user`` is one of the App's, and the one it said it asks for."""
    prefix = f"{APP_PROVIDER}:{caller.app}."
    if app_user(caller.app, user.removeprefix(prefix)) != user:
        raise _no_user()
    if caller.user is not None and caller.user != user:
        raise forbidden("The path and X-App-User name different users.", "UserMismatch")


def discreet(problem: Problem) -> Problem:
    """What a stranger may know of a container that does not answer: that, and nothing of the reasons."""
    if problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return problem
    detail = "Ask again in a moment. Its owner can see why on the account page."
    return unavailable("The container is not ready", detail, "NotReady", RETRY_AFTER_S)


def _no_page(sites: Sites) -> Problem:
    return not_found(
        "MCP is spoken at /mcp. A container's pages have an address of their own: open them from "
        f"{sites.gateway.origin}/."
    )


def _no_user() -> Problem:
    return not_found("You have no such user.")


def _enter_first(sites: Sites) -> Problem:
    return Problem(
        401,
        "Who is asking?",
        f"This page is its owner's alone. Open it from {sites.gateway.origin}/.",
        reason="NotEntered",
        headers=((b"www-authenticate", b'Session realm="mcp-gateway"'),),
    )
