"""Why a container is not there, in the reconciler's own words, and when to ask again. Pure.

Decides whether waiting is in vain, and what a request that waited in vain is told.
"""

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

from gateway.problems import Problem, unavailable
from gateway.routes.seat import Seat
from state.kinds.resource import Condition, ConditionType, Truth

RETRY_AFTER_S = 5.0
RETRY_AFTER_S_MAX = 300.0
_TITLE = "The container is not ready"


def refusal(seat: Seat, now: datetime, remaining_s: float) -> Problem | None:
    """The problem with which to answer at once, because waiting ``remaining_s`` cannot help; else None."""
    if seat.is_deleted:
        detail = "It is being deleted. Ask again in a moment."
        return unavailable("The container is being deleted", detail, "Deleting", RETRY_AFTER_S)
    if seat.is_stopped:
        detail = f"Its owner or operator stopped it (power: Stopped of UserContainer {seat.name})."
        return unavailable("The container is stopped", detail, "Stopped", RETRY_AFTER_S_MAX)
    is_for_its_user = seat.endpoint is None and seat.wanting is not None
    if is_for_its_user or pause_s(seat, now) > remaining_s:
        return in_vain(seat, now)
    return None


def in_vain(seat: Seat, now: datetime) -> Problem:
    """503 for a request that waited to its deadline, or need not wait for it."""
    retry_s = min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S, pause_s(seat, now)))
    condition = worst(seat)
    if condition is None:
        detail = "Nothing is known of it yet: is the reconciler running? Ask again in a moment."
        return unavailable(_TITLE, detail, "NotReady", retry_s)
    said = condition.message or f"{condition.type} is {condition.status}."
    return unavailable(_TITLE, f"{condition.reason}: {said}", condition.reason, retry_s)


def asleep() -> Problem:
    """503 for what wakes nobody."""
    detail = "It was put to sleep. Its owner's next call wakes it, and so does opening one of its pages."
    return unavailable("The container sleeps", detail, "Asleep", RETRY_AFTER_S_MAX)


def session_over() -> Problem:
    """404 for the end of a session with a container that sleeps: the session went before."""
    detail = "Its container was put to sleep, and the session ended with it. The next call begins another."
    return Problem(HTTPStatus.NOT_FOUND, "The session is over", detail, reason="SessionOver")


def pause_s(seat: Seat, now: datetime) -> float:
    """Seconds until a container that keeps crashing may start again; 0 where it does not."""
    after = seat.restart_after
    return max(0.0, (after - now).total_seconds()) if after is not None else 0.0


def worst(seat: Seat) -> Condition | None:
    """The condition that best says what is wrong, or how far it is."""
    return next(_by_gravity(seat), None)


def _by_gravity(seat: Seat) -> Iterator[Condition]:
    degraded = seat.condition(ConditionType.DEGRADED)
    if degraded is not None and degraded.is_true:
        yield degraded
    engine = seat.condition(ConditionType.ENGINE_REACHABLE)
    if engine is not None and engine.status is not Truth.TRUE:
        yield engine
    progressing = seat.condition(ConditionType.PROGRESSING)
    if progressing is not None and progressing.is_true:
        yield progressing
    ready = seat.condition(ConditionType.READY)
    if ready is not None and ready.status is not Truth.TRUE:
        yield ready
