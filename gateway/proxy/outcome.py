"""What came of one proxied request, and the counters it feeds while it runs.

No I/O. The router reads `Outcome` for its access log and metrics; demand is counted through `Activity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Failure(StrEnum):
    """Why a request did not end as the upstream meant it to."""

    NONE = "none"
    DIAL_REFUSED = "dial_refused"
    DIAL_TIMEOUT = "dial_timeout"
    DIAL_RETIRED = "dial_retired"
    DIAL_UNSURE = "dial_unsure"
    SATURATED = "saturated"
    HEADER_TIMEOUT = "header_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    UPSTREAM_RESET = "upstream_reset"
    BAD_RESPONSE = "bad_response"
    RETIRED = "retired"
    CLIENT_GONE = "client_gone"


@dataclass(slots=True)
class Outcome:
    """`status` is what the client was sent (0: nothing). `bytes_up` and `bytes_down` count bodies only."""

    status: int = 0
    failure: Failure = Failure.NONE
    answer_began: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    frames: int = 0
    detail: str = ""


class DialError(Exception):
    """No connection to the endpoint: nothing was read from the client, nothing was sent to anybody.

    The caller may hold the request and try again, or answer 503 itself.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail


class Activity(Protocol):
    """Counts demand. Called on the data path: plain attribute increments, nothing that waits."""

    def request_began(self) -> None: ...
    def bytes_up(self, count: int) -> None: ...
    def bytes_down(self, count: int) -> None: ...
    def frame(self) -> None: ...
    def request_ended(self) -> None: ...


class NoActivity:
    """For requests that are no demand (an MCP GET stream, a probe)."""

    def request_began(self) -> None: ...
    def bytes_up(self, count: int) -> None: ...
    def bytes_down(self, count: int) -> None: ...
    def frame(self) -> None: ...
    def request_ended(self) -> None: ...


NO_ACTIVITY = NoActivity()
