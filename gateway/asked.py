"""One request on its way through the gateway: what was asked, and what is noted of it for log and metrics."""

from time import perf_counter

from gateway.head import Head
from gateway.proxy import Outcome
from gateway.proxy.client import Receive, Scope, Send
from gateway.routes.seat import Seat
from gateway.sites import Site
from state.kinds.template import Route


class Asked:
    """Filled in as the request is understood; a plain record, so that the hot path allocates one object."""

    __slots__ = (
        "dials",
        "head",
        "held_s",
        "is_owners",
        "may_wake",
        "outcome",
        "own_status",
        "path",
        "reason",
        "receive",
        "route",
        "scope",
        "seat",
        "send",
        "site",
        "started_s",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, head: Head, site: Site, path: str) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.head = head
        self.site = site
        self.path = path
        self.seat: Seat | None = None
        self.route: Route | None = None
        self.outcome: Outcome | None = None
        self.is_owners = False  # whether a session of the container's owner let a page request in
        self.may_wake = False  # whether what let it in also wakes a container that sleeps
        self.own_status = 0  # what the gateway itself answered
        self.reason = ""
        self.held_s = 0.0
        self.dials = 0  # that failed
        self.started_s = perf_counter()

    @property
    def is_websocket(self) -> bool:
        return bool(self.scope["type"] == "websocket")

    @property
    def status(self) -> int:
        """What the client was sent; 0: nothing."""
        if self.own_status or self.outcome is None:
            return self.own_status
        return self.outcome.status
