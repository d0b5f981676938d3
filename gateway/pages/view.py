"""What people are shown of a seat: words derived from its conditions. Pure; nothing is stored or branched on.

Next: :mod:`gateway.pages.render`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.hold.reasons import worst
from gateway.routes.match import RouteSet
from gateway.routes.seat import Seat
from state.kinds.resource import ConditionType
from state.kinds.user_container import OVER_DISK_LIMIT, Power

# The way of a container that starts, and what the reconciler is at while it is on each part of it.
STEPS: Final = ("Place", "Image", "Container", "Start", "Answer")
_STEP_OF: Final = {
    "Claiming": 0,
    "FetchingImage": 1,
    "Placing": 2,
    "Creating": 2,
    "Adopting": 2,
    "Starting": 3,
    "Routing": 4,
}
_RUNS: Final = frozenset({"Starting", "NoAnswerYet"})  # reasons why a container that runs is not ready
_BEFORE: Final = frozenset({"Waking", "Retiring", "Removing", "Releasing"})  # the first step is still ahead


class Mark(StrEnum):
    """Where a step stands."""

    DONE = "done"
    NOW = "now"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a container is that starts; ``done`` of all ``steps`` are behind it."""

    steps: tuple[Step, ...]
    done: int


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
    progress: Progress | None
    is_asleep: bool
    may_restart: bool
    may_sleep: bool
    conditions: tuple[ConditionView, ...]
    mcp_urls: tuple[str, ...]
    pages: tuple[str, ...]  # the paths that can be opened, the plainest first
    has_inputs: bool  # whether its template leaves values to its user
    wants: str  # which of them its user has to fill in, in words; empty: none
    restart_count: int
    last_end: str
    last_words: str  # the end of the last container's log
    managed_by: str  # a manifest's path, or empty: the gateway's own


@dataclass(frozen=True, slots=True)
class WaitingView:
    """A container that somebody waits for; ``done`` of all STEPS are behind it, None: nobody can say."""

    phase: str
    tone: str
    sentence: str
    done: int | None


STRANGERS_VIEW: Final = WaitingView("Not ready", "busy", "", None)  # what anybody else may see


def seat_view(seat: Seat, routes: RouteSet | None, gateway_origin: str, *, has_inputs: bool) -> SeatView:
    phase, tone = phase_of(seat)
    status = seat.resource.status
    return SeatView(
        name=seat.name,
        template=seat.template,
        phase=phase,
        tone=tone,
        sentence=sentence_of(seat),
        progress=progress_of(seat),
        is_asleep=seat.is_asleep,
        may_restart=_may_run(seat) and not seat.is_asleep,
        may_sleep=seat.endpoint is not None and seat.resource.spec.power is Power.AUTO,
        conditions=tuple(
            ConditionView(c.type, c.status, c.reason, c.message, c.since) for c in status.conditions
        ),
        mcp_urls=tuple(gateway_origin + path for path in routes.mcp_paths) if routes is not None else (),
        pages=_pages(seat, routes),
        has_inputs=has_inputs,
        wants="" if seat.wanting is None or seat.is_deleted else seat.wanting.message,
        restart_count=status.restart_count,
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
    if seat.is_asleep:
        return "Asleep", "quiet"
    if seat.wanting is not None:
        return "Needs a value", "busy"
    degraded = seat.condition(ConditionType.DEGRADED)
    if degraded is not None and degraded.is_true:
        return "In trouble", "bad"
    return "Starting", "busy"


def sentence_of(seat: Seat) -> str:
    """What is going on, in the reconciler's words."""
    if seat.is_deleted:
        return "It ends, and what it kept is put aside."
    degraded = seat.condition(ConditionType.DEGRADED)
    if (
        degraded is not None
        and degraded.is_true
        and degraded.reason == OVER_DISK_LIMIT
        and not seat.is_stopped
    ):
        return f"{degraded.message[:1].upper()}{degraded.message[1:]}."
    if seat.endpoint is not None:
        return "It answers its probe and takes requests."
    if seat.is_stopped:
        return "An operator stopped it, and only they can start it again. Its data is kept."
    if seat.is_asleep:
        return (
            "It was put to sleep, and its data is kept. The next call wakes it, and so does opening a page."
        )
    if seat.wanting is not None:
        return seat.wanting.message
    condition = worst(seat)
    if condition is None:
        return "Nothing is known of it yet."
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason


def progress_of(seat: Seat) -> Progress | None:
    """How far it is on its way; None where it is not on one."""
    progressing = seat.condition(ConditionType.PROGRESSING)
    if progressing is None or not progressing.is_true or phase_of(seat)[0] != "Starting":
        return None
    if progressing.reason in _BEFORE:
        return _progress(0, None)
    now = _STEP_OF.get(progressing.reason)
    if now is None:
        return None
    ready = seat.condition(ConditionType.READY)
    if now == STEPS.index("Start") and ready is not None and ready.reason in _RUNS:
        now += 1  # it was started, and is asked until it answers
    return _progress(now, now)


def waiting_view(seat: Seat) -> WaitingView:
    """As its owner sees it, who opened it: whoever was asleep is being woken by that."""
    phase, tone = phase_of(seat)
    progress = progress_of(seat)
    is_asleep = phase == "Asleep"
    sentence = "It was asleep and is being woken. Load this page again if it stays so."
    return WaitingView(
        phase, tone, sentence if is_asleep else sentence_of(seat), None if progress is None else progress.done
    )


def _progress(done: int, now: int | None) -> Progress:
    marks = (Mark.DONE if n < done else Mark.NOW if n == now else Mark.AHEAD for n in range(len(STEPS)))
    return Progress(tuple(Step(*step) for step in zip(STEPS, marks, strict=True)), done)


def _may_run(seat: Seat) -> bool:
    """Whether asking for it can have it run."""
    is_held = seat.wanting is not None and seat.endpoint is None
    return not (seat.is_deleted or seat.is_stopped or is_held)


def _pages(seat: Seat, routes: RouteSet | None) -> tuple[str, ...]:
    """What ``POST /-/open`` takes; nothing where nobody would answer."""
    if routes is None or not seat.home or not _may_run(seat):
        return ()
    return tuple(dict.fromkeys(route.path for route in routes.pages))  # two may differ in what they match


def _last_words(seat: Seat) -> str:
    ended = seat.resource.status.last_termination
    return "" if ended is None else ended.log_tail.strip()


def _last_end(seat: Seat) -> str:
    ended = seat.resource.status.last_termination
    if ended is None:
        return ""
    code = f", exit code {ended.exit_code}" if ended.exit_code is not None else ""
    return f"{ended.reason}{code}, {ended.at:%Y-%m-%d %H:%M:%S} UTC"
