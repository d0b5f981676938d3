"""Hosted links on the gateway's own origin: served where Homes have no origins of their own, else sent there.

A container knows the gateway's origin alone, and makes its links there. Decides that such a page is nobody
at it: an opaque origin (``CSP: sandbox``) that neither reads nor sets a cookie of the gateway's, and whose
scripts see nothing of it. An owner's pages are not served so at all.
Source: CSP Level 3 section 6.3 (sandbox). Next: :mod:`gateway.doors`, for Homes that have an origin.
"""

import re
from functools import partial
from http import HTTPStatus
from typing import Final

from gateway.asked import Asked
from gateway.auth.people import People
from gateway.auth.sessions import Sessions
from gateway.doors import discreet
from gateway.doorway import Doorway
from gateway.hold.manner import manner_of_page
from gateway.origins import SAFE_METHODS
from gateway.problems import Problem, bad_request, not_found, send_answer
from gateway.proxy.client import Message, Send
from gateway.routes.match import names_hostname
from gateway.routes.seat import Seat
from gateway.sites import Sites
from gateway.throttles import Strangers, refuse_hasty_strangers
from state.kinds.template import Access, Route

SANDBOX: Final = b"sandbox allow-scripts allow-forms"
_LINK = re.compile(r"/([a-z2-7]{26})-[^/]+")
# What describes this one answer. Whatever else a header says, known or yet to be invented, could hold for
# the whole origin, which is the gateway's: cookies, reports, service workers, transport, a sign-in box.
_KEPT: Final = frozenset(
    {
        b"accept-ranges",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",  # by which a page without an origin may read its own files
        b"age",
        b"allow",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-security-policy",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"referrer-policy",
        b"retry-after",
        b"vary",
        b"x-accel-buffering",  # the proxy's word, that events are not held back
        b"x-frame-options",
    }
)


class LinkDoor:
    """``<link route>/<hostname>-<id>…``, or ``<link route>/…/<hostname>-<id>``, at the gateway's origin."""

    def __init__(
        self, doorway: Doorway, sessions: Sessions, people: People, sites: Sites, strangers: Strangers
    ) -> None:
        self._doorway = doorway
        self._table = doorway.table
        self._sessions = sessions
        self._people = people
        self._sites = sites
        self._strangers = strangers

    def find(self, path: str) -> tuple[Seat, Route] | None:
        """Whose link it is, and by which rule; None where it is none, or its owner is shut out."""
        for hostname in _LINK.findall(path):
            seat = self._table.seat_at_home(hostname)
            routes = None if seat is None else self._table.routes(seat.template)
            route = None if routes is None else routes.find(path)
            is_link = route is not None and route.access is Access.LINK
            if seat is None or route is None or not is_link or not names_hostname(route, path, hostname):
                continue
            return None if self._doorway.is_shut_out(seat.user) else (seat, route)
        return None

    async def serve(self, asked: Asked, seat: Seat, route: Route) -> None:
        """Raises Problem (429, 400, 404, 503)."""
        await refuse_hasty_strangers(self._strangers, asked, seat.home, partial(self._is_owner, asked, seat))
        if asked.is_websocket:
            raise bad_request("There is no WebSocket here.", "NoWebSocket")
        asked.route = route
        if self._sites.have_homes:
            await self._move(asked, seat.home)
            return
        asked.send = _sandboxed(asked.send)
        try:
            await self._doorway.deliver_to_anybody(asked, seat, manner_of_page(asked, is_anyones=False))
        except Problem as problem:
            raise discreet(problem) from None

    async def _move(self, asked: Asked, home: str) -> None:
        """To the same link at its Home's origin, where its pages are. Raises Problem (404)."""
        if asked.scope["method"] not in SAFE_METHODS:
            raise not_found("Open the link itself: its pages have an address of their own.")
        query: bytes = asked.scope["query_string"]
        target = f"{self._sites.home(home).origin}{asked.path}".encode("ascii")
        location = (b"location", target + (b"?" + query if query else b""))
        asked.own_status = HTTPStatus.TEMPORARY_REDIRECT
        headers = [location, (b"content-length", b"0"), (b"cache-control", b"no-store")]
        await send_answer(asked.send, asked.own_status, headers, b"")

    async def _is_owner(self, asked: Asked, seat: Seat) -> bool:
        visitor = await self._sessions.visitor(asked.head)
        is_theirs = visitor is not None and visitor.user == seat.user
        return is_theirs and self._people.admitted(seat.user) is not None


def _sandboxed(send: Send) -> Send:
    """``send`` for a page that must not be the gateway's. Policies add up, so the container's own stays."""

    async def sandboxed(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message["headers"] if header[0].lower() in _KEPT]
            fence = [(b"content-security-policy", SANDBOX), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*kept, *fence]}
        await send(message)

    return sandboxed
