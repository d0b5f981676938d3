"""What a failed action does to the plans after it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.actions import Adopt, ClaimHome, Forget, Remove, Retire, Start, Unroute
from reconciler.core.container import ContainerState
from reconciler.core.errors import ActionError, NameConflictError, TerminalError, TransientError
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from reconciler.core.planned import Plan
from reconciler.core.trouble import OVERTAKEN, Trouble, after_failure, given_up, tempered
from state.kinds.incarnation import IncarnationState
from tests.reconciler.core.worlds import NOW, Scene, ago

TRANSIENT = TransientError("EngineError", "500")
TERMINAL = TerminalError("SpecRefused", "no such runtime")
CLAIM = Plan(ClaimHome())


def trouble(*errors: ActionError, jitter: float = 0.0, generation: int = 1) -> Trouble:
    """After ``errors``, one after the other."""
    last: Trouble | None = None
    for error in errors:
        last = after_failure(last, ClaimHome, generation, error, NOW, jitter)
    assert last is not None
    return last


def wait_s(one: Trouble) -> float:
    return (one.retry_at - NOW).total_seconds()


def test_the_wait_doubles_from_a_second_to_a_minute() -> None:
    waits = [wait_s(trouble(*[TRANSIENT] * count)) for count in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert wait_s(trouble(*[TRANSIENT] * 5000)) == 60


def test_jitter_spreads_waits_by_a_fifth() -> None:
    assert wait_s(trouble(TRANSIENT, jitter=1.0)) == pytest.approx(1.2)


def test_who_says_when_to_come_again_is_obeyed() -> None:
    assert wait_s(trouble(TransientError("CreationRate", "", retry_after_s=17))) == 17


@pytest.mark.fault(12)
@pytest.mark.fault(13)
def test_a_short_wait_that_was_asked_for_again_and_again_becomes_a_long_one() -> None:
    soon = TransientError("StoreChanged", "", retry_after_s=0.05)
    waits = [wait_s(trouble(*[soon] * count)) for count in (1, 2, 3, 30)]
    assert waits == [0.05, 0.1, 0.2, 60]


def test_what_only_another_spec_can_help_is_tried_every_five_minutes() -> None:
    assert wait_s(trouble(TERMINAL, TERMINAL, TERMINAL)) == 300


def test_another_action_and_another_generation_begin_to_count_anew() -> None:
    last = trouble(TRANSIENT, TRANSIENT)
    assert after_failure(last, Forget, 1, TRANSIENT, NOW, 0.0).attempt_count == 1
    assert after_failure(last, ClaimHome, 2, TRANSIENT, NOW, 0.0).attempt_count == 1
    assert after_failure(last, ClaimHome, 1, TRANSIENT, NOW, 0.0).attempt_count == 3


def test_words_from_the_engine_are_kept_to_a_bearable_length() -> None:
    assert len(trouble(NameConflictError("NameConflict", "x" * 10_000)).message) == 1024


def test_an_action_waits_for_its_own_trouble() -> None:
    waiting = tempered(CLAIM, trouble(TRANSIENT), 1, NOW)
    assert waiting.action is None
    assert waiting.blocked is not None
    assert (waiting.blocked.reason, waiting.blocked.message) == ("EngineError", "500")
    assert waiting.look_again_at == NOW + timedelta(seconds=1)


UNTEMPERED = {
    "without trouble": (CLAIM, None, 1),
    "of another action": (Plan(Unroute("Unhealthy")), trouble(TERMINAL), 1),
    "that is over": (CLAIM, replace(trouble(TRANSIENT), retry_at=ago(0)), 1),
    "of a clock that was set back": (CLAIM, replace(trouble(TRANSIENT), retry_at=ago(-3600)), 1),
    "that another generation may have mended": (CLAIM, trouble(TERMINAL), 2),
    "while there is nothing to do": (Plan(), trouble(TRANSIENT), 1),
}


@pytest.mark.parametrize(("plan", "last", "generation"), UNTEMPERED.values(), ids=UNTEMPERED.keys())
def test_a_plan_is_not_held_up_by_trouble(plan: Plan, last: Trouble | None, generation: int) -> None:
    assert tempered(plan, last, generation, NOW) is plan


def test_another_generation_does_not_hurry_what_waiting_helps() -> None:
    assert tempered(CLAIM, trouble(TRANSIENT), 2, NOW).action is None


@pytest.mark.fault(1)
def test_a_container_that_the_engine_fails_to_start_three_times_is_made_anew() -> None:
    world = Scene().recorded(IncarnationState.CREATED).showing(ContainerState.CREATED).world
    start = plan(world)
    assert isinstance(start.action, Start)
    assert given_up(start, failed_starts(2), world) is start
    retired = given_up(start, failed_starts(3), world).action
    assert isinstance(retired, Retire)
    assert (retired.reason, retired.incarnation) == ("NeverStarted", start.action.incarnation)
    assert given_up(CLAIM, failed_starts(3), world) is CLAIM


def failed_starts(count: int) -> Trouble:
    return replace(trouble(*[TRANSIENT] * count), action=Start)


OVERTAKEN_ADOPTIONS = {
    "one that ended makes room for a birth": (ContainerState.EXITED, Remove),
    "one that runs is left alone": (ContainerState.RUNNING, Adopt),
}


@pytest.mark.parametrize("name", OVERTAKEN_ADOPTIONS)
def test_of_what_a_lost_store_left_whose_address_is_anothers_by_now(name: str) -> None:
    """The store was lost, and the machine rebooted: somebody whose turn came first was given the address."""
    state, action = OVERTAKEN_ADOPTIONS[name]
    world = Scene().seated().imaged(present=True).showing(state).world
    decided = plan(world)
    assert isinstance(decided.action, Adopt)
    overtaken = after_failure(None, Adopt, 1, TransientError(OVERTAKEN, "another's"), NOW, 0.0)
    given = given_up(decided, overtaken, world).action
    assert isinstance(given, action)
    assert check(world, given) == ()
    other = after_failure(None, Adopt, 1, TransientError("StoreChanged", "meanwhile"), NOW, 0.0)
    assert given_up(decided, other, world) is decided
