"""What stands at the gateway's own origin for people: account, sign-in, sign-out, health.

Decides what each page needs before it is shown; what it shows is :mod:`gateway.pages.view`'s. The programs'
twin of the account page is :mod:`gateway.pages.api`.
"""

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from gateway.auth.home_entry import mint_entry_code
from gateway.auth.local import redeem_sign_in_code
from gateway.auth.sessions import Visitor
from gateway.doors import wait_believed
from gateway.pages.answers import answer_problems, asked_of, page, see_other
from gateway.pages.api import add_api
from gateway.pages.desk import Desk
from gateway.pages.events import follow
from gateway.pages.forms import read_form
from gateway.pages.render import STATIC_DIR, draw
from gateway.pages.view import SeatView, seat_view
from gateway.problems import Problem, forbidden, not_found


def build_gateway_app(desk: Desk) -> FastAPI:
    """The application for the gateway's origin."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    answer_problems(app, desk.sites.gateway.origin + "/")
    app.mount("/-/static", StaticFiles(directory=STATIC_DIR))
    pages = GatewayPages(desk)
    get, post = ["GET", "HEAD"], ["POST"]
    for path, endpoint, methods in (
        ("/health", health, get),
        ("/", pages.account, get),
        ("/account", pages.account, get),
        ("/signin", pages.sign_in, get),
        ("/signout", pages.sign_out, post),
        ("/-/start", pages.start, post),
        ("/-/restart", pages.restart, post),
        ("/-/open", pages.open, post),
        ("/-/events", pages.events, ["GET"]),
    ):
        app.add_api_route(path, endpoint, methods=methods, response_model=None)
    add_api(app, desk)
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
        visitor = await self._visitor(request)
        if visitor is None:
            return see_other("/signin")
        await wait_believed(self._desk.table)
        body = draw("account.html", visitor=visitor, seats=self._views(visitor), have_homes=self._have_homes)
        return page(body, form_targets=self._form_targets)

    async def sign_in(self, request: Request, code: str | None = None) -> Response:
        """Without a code: how to come by one. With one: in, unless the browser only looks ahead."""
        if await self._visitor(request) is not None:
            return see_other("/")
        if code is None:
            return page(draw("signin.html", local=self._desk.local_sign_in, failed=False))
        if not self._desk.local_sign_in:
            raise not_found("Links do not sign in here: an identity provider does.")
        if request.method != "GET" or b"prefetch" in asked_of(request).head.values.get(b"sec-purpose", b""):
            raise Problem(425, "Not yet", "The link is for a person who follows it.", reason="Prefetch")
        await wait_believed(self._desk.table)  # before the code is used up
        user = await redeem_sign_in_code(self._desk.tickets, code)
        if user is None:
            return page(draw("signin.html", local=True, failed=True), status=403)
        await self._ensure_seat(user)
        return see_other("/", set_cookie=await self._desk.sessions.open(user))

    async def sign_out(self, request: Request) -> Response:
        visitor = await self._signed_in(request)
        await read_form(request, visitor)
        return see_other("/signin", set_cookie=await self._desk.sessions.close(visitor))

    async def start(self, request: Request) -> Response:
        """A first container for somebody who has none."""
        visitor = await self._signed_in(request)
        await read_form(request, visitor)
        if not self._desk.table.seats_of(visitor.user):
            await self._desk.seats.ensure(visitor.user, self._desk.template_for(visitor.user))
        return see_other("/")

    async def restart(self, request: Request) -> Response:
        visitor = await self._signed_in(request)
        fields = await read_form(request, visitor)
        await self._desk.restart(self._desk.own_seat(visitor.user, fields.get("name", "")), visitor.user)
        return see_other("/")

    async def open(self, request: Request) -> Response:
        """Into the container's own origin, with a code that is good once."""
        visitor = await self._signed_in(request)
        fields = await read_form(request, visitor)
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
        visitor = await self._signed_in(request)
        seats = self._desk.table.seats_of(visitor.user)

        def state() -> object:
            views = self._views(visitor)
            drawn = draw("containers.html", visitor=visitor, seats=views, have_homes=self._have_homes)
            return {"html": drawn.decode()}

        async def is_in() -> bool:
            return await self._visitor(request) == visitor

        return follow(self._desk, seats, state, is_in)

    # Leaves

    @property
    def _have_homes(self) -> bool:
        return self._desk.sites.have_homes

    def _views(self, visitor: Visitor) -> list[SeatView]:
        table, origin = self._desk.table, self._desk.sites.gateway.origin
        return [seat_view(s, table.routes(s.template), origin) for s in table.seats_of(visitor.user)]

    async def _visitor(self, request: Request) -> Visitor | None:
        return await self._desk.sessions.visitor(asked_of(request).head)

    async def _signed_in(self, request: Request) -> Visitor:
        visitor = await self._visitor(request)
        if visitor is None:
            raise forbidden("Sign in first.", "NotSignedIn")
        await wait_believed(self._desk.table)
        return visitor

    async def _ensure_seat(self, user: str) -> None:
        """The local developer has a container from the first sign-in on; if it fails, the page says why."""
        if self._desk.table.seats_of(user):
            return
        try:
            await self._desk.seats.ensure(user, self._desk.template_for(user))
        except Problem:
            return  # the account page offers to start one, and tells what is wrong


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
