"""The entry of every request: which origin, which path, who, which seat, and then its bytes.

Decides the order of the checks: nothing is created, held or forwarded before all of them passed. Everything
here runs for each proxied call, so there is no framework on this path; the gateway's own pages are another
ASGI application. Next: :mod:`gateway.doors`, which holds what is checked at either kind of origin.
"""

from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import NoReturn

import structlog

from gateway.accesslog import AccessLog
from gateway.asked import Asked
from gateway.auth.resources import METADATA_PATH
from gateway.cors import Cors
from gateway.doors import GatewayDoor, HomeDoor
from gateway.doorway import Clearance
from gateway.head import read_head
from gateway.hold.held import WaitingPageError
from gateway.hold.waiting import ClientGoneError
from gateway.links import LinkDoor
from gateway.metrics import Metrics
from gateway.origins import SAFE_METHODS, refuse_foreign_origin
from gateway.own_paths import HEALTH, is_gateways, is_homes_own
from gateway.pages.serve import Pages
from gateway.peers import Peers
from gateway.problems import (
    Problem,
    bad_request,
    deny_websocket,
    not_found,
    send_answer,
    send_problem,
    store_silent,
)
from gateway.proxy import Outcome
from gateway.proxy.client import Message, Receive, Scope, Send
from gateway.proxy.direct import Exchange
from gateway.routes.path import AmbiguousPathError, normalized
from gateway.sites import Site, Sites
from state.store.errors import StoreError

_NOWHERE = Site("", b"")
_CLEARED = "front.cleared"
_log = structlog.get_logger(__name__)


class Front:
    """The ASGI application of a worker."""

    def __init__(
        self,
        *,
        sites: Sites,
        gateway: GatewayDoor,
        home: HomeDoor,
        links: LinkDoor,
        cors: Cors,
        peers: Peers,
        pages: Pages,
        log: AccessLog,
        metrics: Metrics,
    ) -> None:
        self._sites = sites
        self._gateway = gateway
        self._home = home
        self._links = links
        self._cors = cors
        self._peers = peers
        self._pages = pages
        self._log = log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        scope = self._peers.seen_through(scope)
        asked = Asked(scope, receive, send, read_head(scope["headers"]), _NOWHERE, "")
        try:
            await self._serve(asked)
        except Problem as problem:
            await self._refuse(asked, problem)
        except StoreError as error:
            _log.warning("store.unanswered", why=str(error))
            await self._refuse(asked, store_silent())
        except WaitingPageError:
            await self._pages.waiting(asked)
        except ClientGoneError:
            asked.reason = "ClientGone"
        finally:
            self._account(asked)

    def direct(self, exchange: Exchange) -> bool:
        """Take over the common call: an MCP request that is here as a whole, of a user who is routed.

        The same checks, without a task, and once for a head that the client repeats. Whatever is unusual, a
        refusal too, is declined, and comes again as an ASGI request.
        """
        cleared: Clearance | None = exchange.memo.get(_CLEARED)
        if cleared is None or not self._gateway.still_clears(cleared):
            cleared = exchange.memo[_CLEARED] = self._clear(exchange.scope)
            if cleared is None:
                return False
        asked = Asked(exchange.scope, _never, _never, cleared.head, cleared.site, "")
        asked.route, asked.seat = cleared.route, cleared.seat
        return self._gateway.direct(asked, exchange, cleared, partial(self._ended, asked))

    def _clear(self, scope: Scope) -> Clearance | None:
        """What the head of a request is good for; None where only the ASGI way can tell."""
        scope = self._peers.seen_through(scope)
        asked = Asked(scope, _never, _never, read_head(scope["headers"]), _NOWHERE, "")
        try:
            path = _path(scope)
            site = self._sites.find(asked.head.values.get(b"host", b""))
            if site is None or site.home or is_gateways(path):
                return None
            asked.site, asked.path = site, path
            return self._gateway.clear(asked)
        except Problem:
            return None

    def _ended(self, asked: Asked, outcome: Outcome | None) -> None:
        if outcome is None:
            return  # it comes again
        asked.outcome = outcome
        self._account(asked)

    def _account(self, asked: Asked) -> None:
        ended_s = perf_counter()
        self._log.note(asked, ended_s)
        self._metrics.note(asked, ended_s)

    async def _serve(self, asked: Asked) -> None:
        path = _path(asked.scope)
        site = self._sites.find(asked.head.values.get(b"host", b""))
        if site is None:
            await self._elsewhere(asked, path)
            return
        asked.site, asked.path = site, path
        if site.home:
            if is_homes_own(path):
                await self._own(asked)
            else:
                await self._home.serve(asked)
        elif is_gateways(path):
            if site.is_extra and not path.startswith(METADATA_PATH) and path != HEALTH:
                raise _elsewhere_at(self._sites)
            await self._own(asked)
        elif not site.is_extra and (link := self._links.find(path)) is not None:
            await self._links.serve(asked, *link)
        else:
            await self._gateway.serve(asked)

    async def _own(self, asked: Asked) -> None:
        if asked.is_websocket:
            raise _no_websocket()
        if self._sites.is_alias(asked.site) and asked.head.is_navigation and asked.scope["method"] == "GET":
            await self._move(asked)
            return
        is_programs = not asked.site.home and self._cors.is_programs(asked.path)
        listed = self._cors.origins if is_programs else frozenset()
        changes = asked.scope["method"] not in SAFE_METHODS
        refuse_foreign_origin(asked.head, asked.site, guarded=changes, listed=listed)
        if is_programs and await self._cors.admit(asked):
            return
        await self._pages.serve(asked)

    async def _move(self, asked: Asked) -> None:
        """To the same page at the gateway's origin, where its cookies are."""
        query = asked.scope["query_string"]
        target = f"{self._sites.gateway.origin}{asked.path}".encode("ascii") + (
            b"?" + query if query else b""
        )
        asked.own_status = HTTPStatus.SEE_OTHER
        headers = [(b"location", target), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        await send_answer(asked.send, HTTPStatus.SEE_OTHER, headers, b"")

    async def _elsewhere(self, asked: Asked, path: str) -> None:
        """A Host that is not ours. Load balancers ask for the health by address, and may."""
        if path != HEALTH or asked.is_websocket or asked.scope["method"] not in SAFE_METHODS:
            raise _misdirected(self._sites)
        asked.path = path
        await self._pages.serve(asked)

    async def _refuse(self, asked: Asked, problem: Problem) -> None:
        asked.own_status, asked.reason = problem.status, problem.reason
        if asked.is_websocket:
            await deny_websocket(asked.scope.get("extensions"), asked.send, problem)
        elif asked.head.is_navigation:
            status, headers, body = self._pages.problem(problem, asked)
            await send_answer(asked.send, status, headers, body)
        else:
            await send_problem(asked.send, problem)


async def _never(*_: object) -> NoReturn:
    """What a direct request has in place of ASGI's callables."""
    raise AssertionError("a direct request neither receives nor sends")


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan: what must start has started before the server is built."""
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _path(scope: Scope) -> str:
    try:
        return normalized(scope["raw_path"])
    except AmbiguousPathError as error:
        detail = f"{str(error).capitalize()}; write the path plainly."
        raise bad_request(detail, "AmbiguousPath") from None


def _misdirected(sites: Sites) -> Problem:
    """What was asked for is not repeated: it is anybody's text."""
    return Problem(
        HTTPStatus.MISDIRECTED_REQUEST,
        "This host is not served here",
        f"The gateway answers at {sites.gateway.origin}; set GATEWAY_ORIGIN if it should be another.",
        reason="UnknownHost",
    )


def _elsewhere_at(sites: Sites) -> Problem:
    """Extra origins have no pages, no cookies and no authorization server of their own."""
    return not_found(f"Only MCP is spoken here. Everything else is at {sites.gateway.origin}/.")


def _no_websocket() -> Problem:
    return bad_request("There is no WebSocket here.", "NoWebSocket")
