"""What stands at the gateway's own origin for people: account, sign-in, sign-out, health.

Decides what each page needs before it is shown; what it shows is :mod:`gateway.pages.view`'s. The programs'
twin of the account page is :mod:`gateway.pages.api`.
"""

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from gateway.auth.admission import Pending, Refused, SignInAgain
from gateway.auth.home_entry import mint_entry_code
from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.pages.access import (
    LIFETIMES_DAYS,
    AccessPages,
    grant_views,
    reverification,
    token_resources,
)
from gateway.pages.admin import add_admin, is_admin
from gateway.pages.answers import answer_problems, asked_of, page, see_other
from gateway.pages.api import add_api
from gateway.pages.consent import ConsentPages
from gateway.pages.desk import Desk
from gateway.pages.events import follow
from gateway.pages.forms import signed_form
from gateway.pages.logs import LogPages
from gateway.pages.oauth import add_oauth
from gateway.pages.render import STATIC_DIR, STATIC_PATH, draw
from gateway.pages.set_up import set_ups
from gateway.pages.sign_in import SignInPages
from gateway.pages.values import ValuePages
from gateway.pages.view import SeatView, seat_view
from gateway.pages.welcome import name_of
from gateway.problems import bad_request, forbidden, not_found


def build_gateway_app(desk: Desk) -> FastAPI:
    """The application for the gateway's origin."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    answer_problems(app, desk.sites.gateway.origin + "/")
    app.mount(STATIC_PATH, StaticFiles(directory=STATIC_DIR))
    pages, consent = GatewayPages(desk), ConsentPages(desk)
    sign_in, access, values = SignInPages(desk, consent), AccessPages(desk), ValuePages(desk)
    logs = LogPages(desk)
    get, post = ["GET", "HEAD"], ["POST"]
    for path, endpoint, methods in (
        ("/health", health, get),
        ("/", pages.account, get),
        ("/account", pages.account, get),
        ("/signin", sign_in.show, get),
        ("/signin", sign_in.leave_for_provider, post),
        ("/signout", sign_in.sign_out, post),
        ("/auth/callback", sign_in.come_back, ["GET"]),
        ("/authorize", consent.ask, ["GET"]),
        ("/authorize", consent.answer, post),
        ("/-/start", pages.start, post),
        ("/-/restart", pages.restart, post),
        ("/-/sleep", pages.sleep, post),
        ("/-/reset", pages.reset, post),
        ("/-/open", pages.open, post),
        ("/-/events", pages.events, ["GET"]),
        ("/-/log", logs.show, get),
        ("/-/log/events", logs.events, ["GET"]),
        ("/-/values", values.show, get),
        ("/-/values", values.save, post),
        ("/-/revoke", access.revoke, post),
        ("/-/token", access.make_token, post),
        ("/-/signout-everywhere", access.sign_out_everywhere, post),
        ("/-/delete-account", access.delete_account, post),
    ):
        app.add_api_route(path, endpoint, methods=methods, response_model=None)
    add_admin(app, desk)
    add_api(app, desk)
    add_oauth(app, desk)
    return app


async def health() -> Response:
    """Liveness: the process answers. Whether it can route is `/ready` on the private port."""
    return PlainTextResponse(f"OK mcp-gateway {_version()}\n", headers={"cache-control": "no-store"})


class GatewayPages:
    """The pages' endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._form_targets = _form_targets(desk)

    async def account(self, request: Request) -> Response:
        await wait_believed(self._desk.table)
        visitor = await self._visitor(request)
        account = None if visitor is None else self._desk.table.account(visitor.user)
        if visitor is None or account is None:
            return see_other("/signin")
        match self._desk.people.admission(account):
            case SignInAgain():
                return see_other("/signin")
            case Refused(why):
                raise forbidden(why, "NotAdmitted")
            case Pending():
                return page(
                    draw("pending.html", visitor=visitor, who=name_of(self._desk, visitor.user)), status=403
                )
        body = draw(
            "account.html",
            visitor=visitor,
            who=name_of(self._desk, visitor.user),
            is_admin=is_admin(self._desk, visitor),
            seats=self._views(visitor),
            have_homes=self._have_homes,
            mcp_url=self._desk.resources.default,
            set_ups=set_ups(self._desk.resources.default or ""),
            grants=await grant_views(self._desk, visitor.user),
            token_resources=token_resources(self._desk),
            lifetimes_days=LIFETIMES_DAYS,
            reverification=reverification(self._desk, visitor.user),
        )
        return page(body, form_targets=self._form_targets)

    async def start(self, request: Request) -> Response:
        """A first container for somebody who has none."""
        visitor, _ = await signed_form(self._desk, request)
        admitted = self._desk.people.admitted(visitor.user)
        if admitted is not None and not self._desk.table.seats_of(visitor.user):
            await self._desk.seats.ensure(visitor.user, admitted.template)
        return see_other("/")

    async def restart(self, request: Request) -> Response:
        visitor, fields = await signed_form(self._desk, request)
        await self._desk.restart(self._desk.own_seat(visitor.user, fields.get("name", "")), visitor.user)
        return see_other("/")

    async def sleep(self, request: Request) -> Response:
        visitor, fields = await signed_form(self._desk, request)
        await self._desk.sleep(self._desk.own_seat(visitor.user, fields.get("name", "")), visitor.user)
        return see_other("/")

    async def reset(self, request: Request) -> Response:
        """End a container and put its data aside; the next one begins empty."""
        visitor, fields = await signed_form(self._desk, request)
        seat = self._desk.own_seat(visitor.user, fields.get("name", ""))
        if fields.get("confirm", "").strip().lower() != "reset":
            raise bad_request("Type the word reset to begin anew without the data.", "NotConfirmed")
        await self._desk.reset(seat, visitor.user)
        return see_other("/")

    async def open(self, request: Request) -> Response:
        """Into the container's own origin, with a code that is good once."""
        visitor, fields = await signed_form(self._desk, request)
        seat = self._desk.own_seat(visitor.user, fields.get("name", ""))
        routes = self._desk.table.routes(seat.template)
        path = fields.get("path", "")
        if not self._have_homes or not seat.home or routes is None:
            raise not_found("This container has no address of its own.")
        if path not in [route.path for route in routes.pages]:
            raise not_found("This container has no such page.")
        code = await mint_entry_code(self._desk.tickets, visitor, seat.home)
        return see_other(f"{self._desk.sites.home(seat.home).origin}/-/enter?code={code}&to={path}")

    async def events(self, request: Request) -> Response:
        visitor = await self._desk.signed_in(asked_of(request).head)
        seats = self._desk.table.seats_of(visitor.user)

        def state() -> object:
            views = self._views(visitor)
            drawn = draw("containers.html", visitor=visitor, seats=views, have_homes=self._have_homes)
            return {"html": drawn.decode()}

        async def is_in() -> bool:
            is_same = await self._visitor(request) == visitor
            return is_same and self._desk.people.admitted(visitor.user) is not None

        return follow(self._desk, seats, state, is_in, user=visitor.user)

    # Leaves

    @property
    def _have_homes(self) -> bool:
        return self._desk.sites.have_homes

    def _views(self, visitor: Visitor) -> list[SeatView]:
        table, origin = self._desk.table, self._desk.sites.gateway.origin
        return [
            seat_view(s, table.routes(s.template), origin, has_inputs=bool(table.inputs(s.template)))
            for s in table.seats_of(visitor.user)
        ]

    async def _visitor(self, request: Request) -> Visitor | None:
        return await self._desk.sessions.visitor(asked_of(request).head)


def _form_targets(desk: Desk) -> str:
    """The Homes' origins, to which the form "open" leads. Source: CSP Level 3 section 2.3.1, host-source."""
    if not desk.sites.have_homes:
        return ""
    return f" {desk.sites.home('*').origin}"


def _version() -> str:
    try:
        return version("mcp-gateway")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unreleased"
