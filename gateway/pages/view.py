"""What people are shown of a seat: words derived from its conditions. Pure; nothing is stored or branched on.

Next: :mod:`gateway.pages.render`.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.hold.reasons import worst
from gateway.routes.match import RouteSet
from gateway.routes.seat import Seat
from state.kinds.resource import ConditionType


@dataclass(frozen=True, slots=True)
class ConditionView:
    type: str
    status: str
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SeatView:
    """One container, as its owner sees it."""

    name: str
    template: str
    phase: str
    tone: str  # good, busy, bad, quiet: what the style sheet colours by
    sentence: str
    is_ready: bool
    conditions: tuple[ConditionView, ...]
    mcp_urls: tuple[str, ...]
    page: str | None  # where its pages are entered
    restart_count: int
    last_end: str
    last_words: str  # the end of the last container's log
    managed_by: str  # a manifest's path, or empty: the gateway's own


def seat_view(seat: Seat, routes: RouteSet | None, gateway_origin: str) -> SeatView:
    phase, tone = phase_of(seat)
    return SeatView(
        name=seat.name,
        template=seat.template,
        phase=phase,
        tone=tone,
        sentence=sentence_of(seat),
        is_ready=seat.endpoint is not None,
        conditions=tuple(
            ConditionView(c.type, c.status, c.reason, c.message, c.since)
            for c in seat.resource.status.conditions
        ),
        mcp_urls=tuple(gateway_origin + path for path in routes.mcp_paths) if routes is not None else (),
        page=routes.first_page if routes is not None and seat.home else None,
        restart_count=seat.resource.status.restart_count,
        last_end=_last_end(seat),
        last_words=_last_words(seat),
        managed_by=seat.resource.metadata.managed_by.removeprefix("api").removeprefix("file:"),
    )


def phase_of(seat: Seat) -> tuple[str, str]:
    """A word for the state, and its tone."""
    if seat.is_deleted:
        return "Being deleted", "quiet"
    if seat.endpoint is not None:
        return "Ready", "good"
    if seat.is_stopped:
        return "Stopped", "quiet"
    degraded = seat.condition(ConditionType.DEGRADED)
    if degraded is not None and degraded.is_true:
        return "In trouble", "bad"
    hibernated = seat.condition(ConditionType.HIBERNATED)
    if hibernated is not None and hibernated.is_true:
        return "Asleep", "quiet"
    return "Starting", "busy"


def sentence_of(seat: Seat) -> str:
    """What is going on, in the reconciler's words."""
    if seat.endpoint is not None:
        return "It answers its probe and takes requests."
    condition = worst(seat)
    if condition is None:
        return "Nothing is known of it yet."
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason


def _last_words(seat: Seat) -> str:
    ended = seat.resource.status.last_termination
    return "" if ended is None else ended.log_tail.strip()


def _last_end(seat: Seat) -> str:
    ended = seat.resource.status.last_termination
    if ended is None:
        return ""
    code = f", exit code {ended.exit_code}" if ended.exit_code is not None else ""
    return f"{ended.reason}{code}, {ended.at:%Y-%m-%d %H:%M:%S} UTC"
