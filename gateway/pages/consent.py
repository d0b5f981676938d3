"""Consent: a person is shown which program asks for what, before anything else, each time anew.

Decides that nobody is sent to a provider, and no code is made, but by the answer to this page, given in the
browser that showed it. What a program may ask for is :mod:`gateway.auth.oauth`'s to say.
Source: MCP authorization, security considerations (confused deputy); RFC 9700 section 4.16 (framing).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, assert_never
from urllib.parse import parse_qsl, unquote, urlsplit

from fastapi import Request
from fastapi.responses import Response

from gateway.asked import Asked
from gateway.auth.browser import FORM_COOKIE, BrowserCookie, form_token, is_form_token
from gateway.auth.oauth.answers import Answer
from gateway.auth.oauth.authorize import AuthorizationRequest, Detour, Refusal
from gateway.auth.providers.port import Provider
from gateway.auth.resources import SCOPE_API, SCOPE_MCP
from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.pages.answers import answered, asked_of, page, see_other
from gateway.pages.desk import Desk
from gateway.pages.forms import CSRF_FIELD, read_fields
from gateway.pages.render import draw
from gateway.pages.welcome import PROVIDER_TARGETS, name_of, refuse_unwelcome
from gateway.problems import Problem, bad_request, forbidden
from gateway.routes.user_path import USER_PREFIX, split_user_path
from gateway.throttles import refuse_hasty
from state.kinds.access_policy import Role
from state.kinds.account import Account

SCOPE_WORDS: Final = {
    SCOPE_MCP: "use the tools in {container}, and all that it keeps",
    SCOPE_API: "see the state and the log of {container}, restart it, put it to sleep, and reset it",
}
QUERY_CHARS_MAX: Final = 8192
PARAMETERS_MAX: Final = 64


class _Container(NamedTuple):
    """Whose container a program asks for; ``is_open``: whether it may be this visitor's to use."""

    words: str
    is_anothers: bool
    is_open: bool


class ConsentPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._cookie = BrowserCookie(FORM_COOKIE, is_https=desk.sites.scheme == "https")

    async def ask(self, request: Request) -> Response:
        """``GET /authorize``: the page, or the refusal that OAuth asks for."""
        asked = asked_of(request)
        refuse_hasty(self._desk.throttles.authorize, asked)
        await wait_believed(self._desk.table)
        query = asked.scope["query_string"].decode("latin-1")
        wanted = await self._desk.oauth.check(_pairs(query))
        if not isinstance(wanted, AuthorizationRequest):
            return _told(wanted)
        visitor = await self._welcome_visitor(asked, wanted)
        return self._page(asked, query, wanted, visitor)

    async def answer(self, request: Request) -> Response:
        """``POST /authorize``: what the person decided."""
        asked = asked_of(request)
        refuse_hasty(self._desk.throttles.authorize, asked)
        await wait_believed(self._desk.table)
        fields = await read_fields(request)
        query = fields.get("query", "")
        wanted = await self._desk.oauth.check(_pairs(query))
        if not isinstance(wanted, AuthorizationRequest):
            return _told(wanted)
        visitor = await self._welcome_visitor(asked, wanted)
        token = fields.get(CSRF_FIELD, "")
        if not is_form_token(self._cookie.secrets(asked.head), token, *_meant(query, visitor)):
            raise forbidden(
                "This page was shown in another browser, is older than ten minutes, or the browser keeps no "
                "cookies. Go back to the program and connect again.",
                "BadCsrfToken",
            )
        decision = fields.get("decision")
        if decision == "deny":
            return answered(self._desk.oauth.denied(wanted))
        if visitor is None:
            return await self._depart(asked, wanted, fields.get("provider", ""))
        if decision != "allow":  # a form may be sent without any of its buttons
            raise bad_request("Say whether you allow it. Go back, and use one of the buttons.", "NoDecision")
        return await self._grant(wanted, visitor.user, visitor.opened_at)

    async def go_on(self, account: Account, purpose: Mapping[str, str]) -> Response:
        """Back from the provider: what the person allowed before they left is granted now."""
        wanted = AuthorizationRequest.of_payload(purpose)
        user = account.spec.user
        refuse_unwelcome(self._desk, account)
        if not self._desk.resources.lets_in(wanted.resource, user):
            raise forbidden("Your identity provider is not one of those for this address.", "OtherProvider")
        if self._desk.people.is_pending(account):
            raise forbidden("An admin has not approved this account yet.", "NotApproved")
        response = await self._grant(wanted, user, account.spec.claims_at.timestamp())
        response.headers["set-cookie"] = await self._desk.sessions.open(user)
        return response

    def cancelled(self, purpose: Mapping[str, str]) -> Response:
        """They changed their mind at the provider: the program need not wait. Source: RFC 6749 s. 4.1.2.1."""
        return answered(self._desk.oauth.denied(AuthorizationRequest.of_payload(purpose)))

    async def _depart(self, asked: Asked, wanted: AuthorizationRequest, provider: str) -> Response:
        if provider not in [one.name for one in self._choices(wanted)]:
            raise bad_request("Choose how to sign in. Go back, and use one of the buttons.", "NoProvider")
        purpose = {"for": "program", **wanted.payload()}
        departed = await self._desk.logins.depart(provider, asked.head, purpose)
        return see_other(departed.url, set_cookie=departed.set_cookie)

    async def _grant(self, wanted: AuthorizationRequest, user: str, since: float) -> Response:
        """``since``: when they signed in; whoever was signed out meanwhile has granted nothing."""
        told = await self._desk.oauth.grant(wanted, user)
        await self._desk.refuse_withdrawn(user, since)
        return _told(told)

    async def _welcome_visitor(self, asked: Asked, wanted: AuthorizationRequest) -> Visitor | None:
        """Who is signed in and may use what is asked for; anybody else goes by way of a provider."""
        visitor = await self._desk.sessions.visitor(asked.head)
        if visitor is None or self._desk.people.admitted(visitor.user) is None:
            return None
        return visitor if self._desk.resources.lets_in(wanted.resource, visitor.user) else None

    def _choices(self, wanted: AuthorizationRequest) -> tuple[Provider, ...]:
        """Whom a person may sign in with to use what is asked for."""
        named = self._desk.resources.providers_of(wanted.resource)
        return tuple(one for one in self._desk.logins.choices if not named or one.name in named)

    def _page(
        self, asked: Asked, query: str, wanted: AuthorizationRequest, visitor: Visitor | None
    ) -> Response:
        secret = self._cookie.kept_or_new(asked.head)
        meant = _container(self._desk, wanted.resource, visitor)
        body = draw(
            "consent.html",
            wanted=wanted,
            container=meant,
            visitor=visitor,
            who=None if visitor is None else name_of(self._desk, visitor.user),
            scopes=[SCOPE_WORDS[scope].format(container=meant.words) for scope in sorted(wanted.scopes)],
            providers=self._choices(wanted),
            local=self._desk.local_sign_in,
            query=query,
            csrf=form_token(secret, *_meant(query, visitor)),
        )
        response = page(body, form_targets=PROVIDER_TARGETS + _target(wanted.redirect_uri))
        response.headers["set-cookie"] = self._cookie.set(secret)
        return response


def _container(desk: Desk, resource: str, visitor: Visitor | None) -> _Container:
    """What the resource's path names. Only an admin learns more of somebody else than the path says."""
    named = unquote(split_user_path(urlsplit(resource).path)[0].removeprefix(USER_PREFIX))
    seat = desk.table.seat_named(named)
    user = named if seat is None else seat.user
    if not named or (visitor is not None and visitor.user == user):
        return _Container("your container", is_anothers=False, is_open=True)
    admitted = None if visitor is None else desk.people.admitted(visitor.user)
    if admitted is None or admitted.role is not Role.ADMIN:
        return _Container(f"the container of {named}", is_anothers=True, is_open=visitor is None)
    known_as = name_of(desk, user)
    words = f"the container of {user}" + (f", known as {known_as}" if known_as != user else "")
    return _Container(words, is_anothers=True, is_open=True)


def _told(told: Refusal | Detour | Answer) -> Response:
    """What OAuth has to say: to the program by a redirect, or to the person. Raises Problem."""
    match told:
        case Refusal():
            raise Problem(
                told.status, "This program cannot be connected", told.why, reason="BadAuthorization"
            )
        case Detour():
            return page(draw("detour.html", detour=told), status=HTTPStatus.BAD_REQUEST)
        case Answer():
            return answered(told)
        case _:
            assert_never(told)


def _meant(query: str, visitor: Visitor | None) -> tuple[str, ...]:
    """What a consent form's token stands for: this request of this program, by whoever was signed in then."""
    return ("consent", query, "" if visitor is None else visitor.key)


def _pairs(query: str) -> list[tuple[str, str]]:
    """Every parameter, doubled ones too. Raises Problem (400)."""
    try:
        if len(query) > QUERY_CHARS_MAX:
            raise ValueError
        return parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except ValueError:
        raise bad_request("The program's request cannot be read.", "MalformedQuery") from None


def _target(redirect_uri: str) -> str:
    """What a program's address adds to the form's policy: browsers hold redirects against it too.

    Source: CSP Level 3 section 2.3.1: a host-source cannot name an IPv6 address, so its scheme stands for it.
    """
    scheme, host = urlsplit(redirect_uri).scheme, urlsplit(redirect_uri).hostname
    if (scheme, host) == ("http", "::1"):
        return " http:"
    return "" if scheme in ("http", "https") else f" {scheme}:"
