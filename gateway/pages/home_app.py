"""The little of the gateway that stands at each Home's origin: the way in, and the waiting page's progress.

Everything else at that origin is the container's. Next: :mod:`gateway.auth.home_entry`.
"""

from dataclasses import asdict

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from gateway.auth.home_entry import redeem_entry_code
from gateway.doors import wait_believed
from gateway.origins import refuse_embedding
from gateway.pages.answers import answer_problems, asked_of, see_other
from gateway.pages.desk import Desk
from gateway.pages.events import follow
from gateway.pages.render import STATIC_DIR, STATIC_PATH
from gateway.pages.view import waiting_view
from gateway.problems import forbidden, not_found
from gateway.routes.path import AmbiguousPathError, normalized
from gateway.routes.seat import Seat
from gateway.throttles import refuse_hasty


def build_home_app(desk: Desk) -> FastAPI:
    """The application for every Home's origin."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    answer_problems(app, desk.sites.gateway.origin + "/")
    app.mount(STATIC_PATH, StaticFiles(directory=STATIC_DIR))
    pages = HomePages(desk)
    app.add_api_route("/-/enter", pages.enter, methods=["GET"], response_model=None)
    app.add_api_route("/-/events", pages.events, methods=["GET"], response_model=None)
    return app


class HomePages:
    """The endpoints, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def enter(self, request: Request, code: str = "", to: str = "/") -> Response:
        """A one-time code becomes a session of this Home alone."""
        asked = asked_of(request)
        refuse_hasty(self._desk.throttles.enter, asked)
        home = asked.site.home
        seat = await self._seat(home)
        entry = await redeem_entry_code(self._desk.tickets, code, home)
        if (
            entry is None
            or entry.user != seat.user
            or not self._desk.people.stands(entry.user, entry.opened_at)
            or self._desk.people.admitted(entry.user) is None
        ):
            raise forbidden(
                "This way in was used or is over. Open the page anew from the account page.", "BadCode"
            )
        cookie = await self._desk.sessions.open_home(entry.user, home, entry.opened_by, entry.opened_at)
        return see_other(_local_path(to), set_cookie=cookie)

    async def events(self, request: Request) -> Response:
        """How far the container is, for its owner's waiting page."""
        asked = asked_of(request)
        refuse_embedding(asked.head)
        seat = await self._seat(asked.site.home)

        async def is_in() -> bool:
            visitor = await self._desk.sessions.home_visitor(asked.head, asked.site.home)
            is_theirs = visitor is not None and visitor.user == seat.user
            return is_theirs and self._desk.people.admitted(seat.user) is not None

        if not await is_in():
            raise forbidden("Open the page anew from the account page.", "NotEntered")

        def state() -> object:
            return {**asdict(waiting_view(seat)), "ready": seat.endpoint is not None}

        return follow(self._desk, (seat,), state, is_in, user=seat.user)

    async def _seat(self, home: str) -> Seat:
        """Raises Problem: 503, 404."""
        await wait_believed(self._desk.table)
        seat = self._desk.table.seat_at_home(home)
        if seat is None:
            raise not_found("No container has this address. Open it anew from the account page.")
        return seat


def _local_path(to: str) -> str:
    """``to`` if it is a plain path of this origin, else the root: a redirect leads nowhere else."""
    try:
        return normalized(to.encode())
    except AmbiguousPathError:
        return "/"
