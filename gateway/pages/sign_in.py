"""Signing in and out at pages: the choice of a provider, the way back from it, and the developer's link.

Decides where a person goes next; whether they may come in is :mod:`gateway.auth.people`'s. Never a loop: who
comes back without a session gets a page that says why. Who left for a program's
sake comes back to :mod:`gateway.pages.consent`.
"""

from typing import Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response

from gateway.asked import Asked
from gateway.auth.admission import Admitted, Pending, Refused, SignInAgain
from gateway.auth.browser import FORM_COOKIE, BrowserCookie, form_token, is_form_token
from gateway.auth.identity import Identity
from gateway.auth.local import local_identity, redeem_sign_in_code
from gateway.auth.login import NotVouchedForError
from gateway.auth.providers.port import CANCELLED
from gateway.doors import wait_believed
from gateway.pages.answers import asked_of, page, see_other
from gateway.pages.consent import ConsentPages
from gateway.pages.desk import Desk
from gateway.pages.forms import CSRF_FIELD, read_fields, signed_form
from gateway.pages.render import draw
from gateway.pages.welcome import PROVIDER_TARGETS, refuse_unwelcome
from gateway.problems import Problem, bad_request, forbidden, not_found
from gateway.throttles import refuse_hasty
from state.kinds.account import Account

_MEANT: Final = "signin"
_LEADS_TO: Final = frozenset({"/", "/admin"})
"""The pages that a sign-in may lead to; a way on that is anybody's text would lead anywhere."""


class SignInPages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk, consent: ConsentPages) -> None:
        self._desk = desk
        self._consent = consent
        self._cookie = BrowserCookie(FORM_COOKIE, is_https=desk.sites.scheme == "https")

    async def show(self, request: Request, code: str | None = None, to: str = "/") -> Response:
        """Without a code: how to come in and on ``to``. With one: in, unless the browser only looks ahead."""
        asked = asked_of(request)
        if code is not None:
            return await self._by_link(asked, request.method, code)
        visitor = await self._desk.sessions.visitor(asked.head)
        account = None if visitor is None else self._desk.table.account(visitor.user)
        if account is None:
            return self._page(asked, to=to)
        match self._desk.people.admission(account):
            case SignInAgain(why):
                return self._page(asked, to=to, why=why)
            case Admitted() | Pending():
                return see_other(_known(to))
            case Refused(why):
                return self._page(asked, to=to, why=f"{why} Sign in as somebody else, if you can.")

    async def leave_for_provider(self, request: Request) -> Response:
        """The form of a provider's button."""
        asked = asked_of(request)
        refuse_hasty(self._desk.throttles.sign_in, asked)
        fields = await read_fields(request)
        if not is_form_token(self._cookie.secrets(asked.head), fields.get(CSRF_FIELD, ""), _MEANT):
            raise forbidden(
                "This form is older than ten minutes, or the browser keeps no cookies. Allow cookies for "
                "this address, reload the sign-in page and try again.",
                "BadCsrfToken",
            )
        purpose = {"for": "account", "to": _known(fields.get("to", ""))}
        departed = await self._desk.logins.depart(fields.get("provider", ""), asked.head, purpose)
        return see_other(departed.url, set_cookie=departed.set_cookie)

    async def come_back(self, request: Request) -> Response:
        """Where every provider sends people back to."""
        asked = asked_of(request)
        refuse_hasty(self._desk.throttles.sign_in, asked)
        await wait_believed(self._desk.table)
        params = _single(request)
        try:
            returned = await self._desk.logins.arrive(params, asked.head)
        except NotVouchedForError as back:
            if back.purpose.get("for") == "program" and back.problem.reason == CANCELLED:
                return self._consent.cancelled(back.purpose)
            raise back.problem from None
        account = await self.remember(returned.identity)
        if returned.purpose.get("for") == "program":
            return await self._consent.go_on(account, returned.purpose)
        return await self._enter(account, returned.purpose.get("to", ""))

    async def sign_out(self, request: Request) -> Response:
        visitor, _ = await signed_form(self._desk, request, is_admitted=False)
        return see_other("/signin", set_cookie=await self._desk.sessions.close(visitor))

    # Leaves

    async def remember(self, identity: Identity) -> Account:
        """What the provider said is on record, and known to every worker, before anything follows from it.

        Raises Problem (403) for a stranger whom nobody lets in: of them nothing is kept.
        """
        why = self._desk.people.refuse_stranger(identity)
        if why:
            raise forbidden(f"{why} You are {identity.user}.", "NotAdmitted")
        return await self._desk.accounts.remember(identity)

    async def _enter(self, account: Account, to: str = "/") -> Response:
        """A session under a new id, whatever the browser brought along."""
        refuse_unwelcome(self._desk, account)
        cookie = await self._desk.sessions.open(account.spec.user)
        return see_other(_known(to), set_cookie=cookie)

    async def _by_link(self, asked: Asked, method: str, code: str) -> Response:
        if not self._desk.local_sign_in:
            raise not_found("Links do not sign in here: an identity provider does.")
        if await self._desk.sessions.visitor(asked.head) is not None:
            return see_other("/")
        if method != "GET" or b"prefetch" in asked.head.values.get(b"sec-purpose", b""):
            raise Problem(425, "Not yet", "The link is for a person who follows it.", reason="Prefetch")
        await wait_believed(self._desk.table)  # before the code is used up
        user = await redeem_sign_in_code(self._desk.tickets, code)
        if user is None:
            return self._page(asked, status=403, link_failed=True)
        account = await self.remember(local_identity())
        await self._desk.ensure_seat(account.spec.user)
        return await self._enter(account)

    def _page(
        self, asked: Asked, *, to: str = "/", status: int = 200, link_failed: bool = False, why: str = ""
    ) -> Response:
        secret = self._cookie.kept_or_new(asked.head)
        body = draw(
            "signin.html",
            local=self._desk.local_sign_in,
            failed=link_failed,
            why=why,
            providers=self._desk.logins.choices,
            to=_known(to),
            csrf=form_token(secret, _MEANT),
        )
        response = page(body, status=status, form_targets=PROVIDER_TARGETS)
        response.headers["set-cookie"] = self._cookie.set(secret)
        return response


def sign_in_for(path: str) -> str:
    """Where whoever has to sign in goes, to come back to ``path``: one of the pages above."""
    return f"/signin?{urlencode({'to': path})}"


def _known(to: str) -> str:
    return to if to in _LEADS_TO else "/"


def _single(request: Request) -> dict[str, str]:
    """The query of a provider's answer. Raises Problem (400) where a parameter stands twice."""
    pairs = request.query_params.multi_items()
    params = dict(pairs)
    if len(params) != len(pairs):
        raise bad_request("The provider's answer has a parameter twice. Begin anew.", "DoubledParameter")
    return params
