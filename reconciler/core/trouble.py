"""What went wrong with a key's last action, and how long it tempers the next plan.

Waiting helps after a TransientError: 1 s (or what the world asked for) doubling to 60 s, with jitter that
the caller draws. After a TerminalError only another generation does; it is tried again every five minutes
all the same, because an operator may have mended the engine instead of the spec.
Next: :mod:`reconciler.loop.queue`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.actions import Adopt, Release, Remove, Retire, Start, WriteFiles
from reconciler.core.backoff import is_over, pace_after_death
from reconciler.core.errors import ActionError, TerminalError, TransientError
from reconciler.core.planned import Blocked, Plan, unless_frozen
from reconciler.core.world import World, is_running
from state.kinds.resource import MESSAGE_CHARS_MAX

OVERTAKEN = "AlreadyExists"
"""The reason where somebody else has what an action needs."""
RETRY_S_MIN = 1.0
RETRY_S_MAX = 60.0
RETRY_TERMINAL_S = 300.0
JITTER_SHARE = 0.2
STARTS_FAILED_MAX = 3  # of one container; then another one is made
DOUBLINGS_MAX = 16  # enough to pass the maximum; keeps the power finite


@dataclass(frozen=True, slots=True)
class Trouble:
    """One action that failed ``attempt_count`` times in a row for one generation of the spec."""

    action: type
    generation: int
    attempt_count: int
    reason: str
    message: str
    retry_at: datetime
    is_terminal: bool


def after_failure(
    last: Trouble | None, action: type, generation: int, error: ActionError, now: datetime, jitter: float
) -> Trouble:
    """The trouble that ``error`` makes. ``jitter`` is a random number from 0 to 1."""
    again = last is not None and last.action is action and last.generation == generation
    count = last.attempt_count + 1 if last is not None and again else 1
    is_terminal = isinstance(error, TerminalError)
    wait_s = RETRY_TERMINAL_S if is_terminal else _wait_s(error, count, jitter)
    message = str(error)[:MESSAGE_CHARS_MAX]
    return Trouble(
        action, generation, count, error.reason, message, now + timedelta(seconds=wait_s), is_terminal
    )


def tempered(plan: Plan, trouble: Trouble | None, generation: int, now: datetime) -> Plan:
    """``plan``, or its waiting while the same action's last failure says so."""
    if trouble is None or plan.action is None or type(plan.action) is not trouble.action:
        return plan
    if is_over(trouble.retry_at, now) or (trouble.is_terminal and trouble.generation != generation):
        return plan
    if isinstance(plan.action, Release | WriteFiles):
        return Plan(look_again_at=trouble.retry_at)  # the container itself is no worse for it
    return Plan(blocked=Blocked(trouble.reason, trouble.message), look_again_at=trouble.retry_at)


def given_up(plan: Plan, trouble: Trouble | None, world: World) -> Plan:
    """``plan``, or a new container in place of one that is of no use any more.

    One that the engine failed to start again and again: if it goes away in the middle of a start, it may keep
    a container that it can never start afterwards. Source: tried, Docker 20.10 ("failed to start shim: mkdir
    …: file exists"). And one that ended and is on no record, as the store was lost, whose address is
    another's by now.
    """
    if trouble is None or type(plan.action) is not trouble.action:
        return plan
    if isinstance(plan.action, Adopt) and trouble.reason == OVERTAKEN:
        found = plan.action.container
        is_of_no_use = plan.action.incarnation is None and not is_running(found)
        return unless_frozen(world, Remove(None, found, behind_barrier=False)) if is_of_no_use else plan
    if not isinstance(plan.action, Start):
        return plan
    if trouble.attempt_count < STARTS_FAILED_MAX:
        return plan
    pace = pace_after_death(world.user_container.status.restart_count, None, world.now)
    return Plan(Retire(plan.action.incarnation, "NeverStarted", world.container(), pace))


def _wait_s(error: ActionError, count: int, jitter: float) -> float:
    asked = error.retry_after_s if isinstance(error, TransientError) else None
    first_s = asked if asked is not None else RETRY_S_MIN
    wait_s = min(first_s * 2.0 ** min(count - 1, DOUBLINGS_MAX), max(first_s, RETRY_S_MAX))
    return wait_s * (1.0 + JITTER_SHARE * jitter)
