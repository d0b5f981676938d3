"""What a pass does when the world is not as it should be: names taken, deaths, deadlines, frozen removals."""

from datetime import timedelta

import pytest

from reconciler.core.actions import Adopt, Retire
from reconciler.core.backoff import Pace
from reconciler.core.container import ContainerState, Identity, ObservedContainer
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from state.kinds.incarnation import IncarnationState
from state.kinds.user_container import Power
from tests.reconciler.core.worlds import (
    EPOCH,
    HOME,
    NAME,
    NOW,
    OTHER_HASH,
    UID,
    Scene,
    ago,
    alive,
    good_hash,
    in_words,
    ours,
    shown,
)

INTENDED, REMOVING = IncarnationState.INTENDED, IncarnationState.REMOVING
EXITED, RUNNING = ContainerState.EXITED, ContainerState.RUNNING

FOREIGN = shown(RUNNING, identity=None)
STRAY = shown(RUNNING, identity=ours(OTHER_HASH, 9), name="renamed")

# --- containers that are there already ------------------------------------------------------------


@pytest.mark.fault(10)
@pytest.mark.fault(17)
def test_what_our_own_lost_call_created_is_adopted() -> None:
    scene = Scene().recorded(INTENDED).showing(ContainerState.CREATED)
    action = plan(scene.world).action
    assert isinstance(action, Adopt)
    assert action.incarnation is scene.live


@pytest.mark.fault(10)
def test_ours_by_labels_and_hash_is_adopted_by_a_store_that_never_heard_of_it() -> None:
    scene = Scene().seated()
    scene = scene.beside(shown(identity=ours(scene.hash, 4)))
    action = plan(scene.world).action
    assert isinstance(action, Adopt)
    assert action.incarnation is None


ADOPTION_REFUSED = {
    "of another spec it is removed": (ours(OTHER_HASH, 4), "Remove"),
    "of another home it is left alone": (ours(OTHER_HASH, of="b" * 26), "blocked: NameTaken"),
    "of another owner it is left alone": (ours(OTHER_HASH, owner="uid-bob"), "blocked: NameTaken"),
    "of another project it is left alone": (
        Identity("q", HOME, UID, 1, OTHER_HASH, EPOCH),
        "blocked: NameTaken",
    ),
    "foreign it is left alone": (None, "blocked: NameTaken"),
}


@pytest.mark.fault(11)
@pytest.mark.parametrize(("identity", "words"), ADOPTION_REFUSED.values(), ids=ADOPTION_REFUSED.keys())
def test_a_container_of_our_name_on_no_record(identity: Identity | None, words: str) -> None:
    decided = plan(Scene().seated().beside(shown(identity=identity)).world)
    assert in_words(decided) == words


def test_what_was_retired_once_is_never_adopted() -> None:
    """A create that the engine carried out late: its number was given up meanwhile."""
    scene = Scene().seated(last_incarnation=4)
    scene = scene.beside(shown(identity=ours(scene.hash, 4)))
    assert in_words(plan(scene.world)) == "Remove"


USURPED = {
    "a foreign one takes the route away": (alive(), FOREIGN, "Unroute(NameTaken)"),
    "a foreign one is reported, once nothing is routed": (
        Scene().recorded(),
        FOREIGN,
        "blocked: NameTaken",
    ),
    "an incarnation of ours that is not on record ends the one that is": (
        Scene().recorded(number=2),
        shown(identity=ours(OTHER_HASH, 3)),
        "Retire(Removed)",
    ),
}


@pytest.mark.fault(11)
@pytest.mark.parametrize(("scene", "usurper", "words"), USURPED.values(), ids=USURPED.keys())
def test_our_name_is_held_by_something_else_than_what_is_on_record(
    scene: Scene, usurper: ObservedContainer, words: str
) -> None:
    world = scene.with_only(usurper).world
    decided = plan(world)
    assert in_words(decided) == words
    assert check(world, decided.action) == ()


STRAYS = {
    "the recorded one stays routed": (alive(), "nothing"),
    "nothing new is intended": (Scene().seated(), "blocked: TwoContainers"),
    "nothing intended is created": (Scene().recorded(INTENDED), "blocked: TwoContainers"),
}


@pytest.mark.fault(39)
@pytest.mark.parametrize(("scene", "words"), STRAYS.values(), ids=STRAYS.keys())
def test_while_another_container_claims_the_user(scene: Scene, words: str) -> None:
    decided = plan(scene.beside(STRAY).world)
    assert in_words(decided) == words


# --- deaths and crash loops -----------------------------------------------------------------------

DEATHS = {
    "killed for its memory": ({"oom_killed": True, "exit_code": 137}, "OOMKilled"),
    "ended with an error": ({"exit_code": 2}, "Error"),
    "ended well": ({"exit_code": 0}, "Completed"),
    "ended without saying how": ({}, "Error"),
}


@pytest.mark.fault(6)
@pytest.mark.parametrize(("ending", "reason"), DEATHS.values(), ids=DEATHS.keys())
def test_why_a_container_died(ending: dict[str, object], reason: str) -> None:
    assert in_words(plan(Scene().recorded().showing(EXITED, **ending).world)) == f"Retire({reason})"


@pytest.mark.fault(7)
def test_a_death_paces_the_next_start() -> None:
    scene = Scene().recorded().showing(EXITED, exit_code=1).told(restart_count=2)
    action = plan(scene.world).action
    assert isinstance(action, Retire)
    assert action.pace == Pace(3, NOW + timedelta(seconds=20))


LOOPING = Scene().seated()
LOOPING = LOOPING.told(restart_count=3, restart_after=NOW + timedelta(seconds=20), spec_hash=LOOPING.hash)


@pytest.mark.fault(7)
def test_a_crash_loop_waits_until_its_time_has_come() -> None:
    decided = plan(LOOPING.world)
    assert in_words(decided) == "blocked: CrashLoop"
    assert decided.look_again_at == NOW + timedelta(seconds=20)
    assert in_words(plan(LOOPING.but(now=NOW + timedelta(seconds=20)).world)) == "Intend"


@pytest.mark.fault(7)
def test_who_asks_for_a_restart_need_not_wait_for_the_crash_loop() -> None:
    assert in_words(plan(LOOPING.asked().world)) == "Intend"


@pytest.mark.fault(7)
def test_another_spec_need_not_wait_for_the_crash_loop_of_the_last_one() -> None:
    assert in_words(plan(LOOPING.overriding(env={"FIXED": "1"}).world)) == "Intend"


# --- readiness and health -------------------------------------------------------------------------


@pytest.mark.fault(25)
def test_what_never_answers_is_given_up_at_the_progress_deadline() -> None:
    scene = Scene().templated(probes={"startup": {"timeoutSeconds": 30}}).recorded().showing()
    early, late = plan(scene.starting(seconds=29).world), plan(scene.starting(seconds=30).world)
    assert in_words(early) == "waiting: Starting"
    assert early.look_again_at == NOW + timedelta(seconds=1)
    assert in_words(late) == "Retire(NeverReady)"


@pytest.mark.fault(25)
def test_the_deadline_counts_from_the_start_if_that_came_after_the_first_probe() -> None:
    scene = Scene().templated(probes={"startup": {"timeoutSeconds": 90}}).recorded().showing()
    decided = plan(scene.starting(seconds=1000).world)  # it started 60 s ago
    assert decided.look_again_at == NOW + timedelta(seconds=30)


HEALTH = {
    "below the threshold nothing is done": (2, "nothing"),
    "at the threshold its requests are taken away": (3, "Unroute(Unhealthy)"),
    "at twice the threshold it is replaced": (6, "Retire(Unhealthy)"),
}


@pytest.mark.fault(26)
@pytest.mark.parametrize(("failures", "words"), HEALTH.values(), ids=HEALTH.keys())
def test_probes_that_fail(failures: int, words: str) -> None:
    assert in_words(plan(alive().healthy(failures=failures).world)) == words


@pytest.mark.fault(26)
def test_what_answers_again_is_routed_again() -> None:
    scene = alive().told(endpoint=None)
    assert in_words(plan(scene.world)) == "Route"


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "scene",
    [
        alive().healthy(failures=3),
        alive().healthy(failures=60),
        Scene().recorded().showing().starting(seconds=6000),
    ],
    ids=["unhealthy", "long unhealthy", "never ready"],
)
def test_a_suspect_prober_restarts_nothing(scene: Scene) -> None:
    assert in_words(plan(scene.but(prober_suspect=True).world)) == "blocked: ProberSuspect"


@pytest.mark.fault(27)
def test_a_suspect_prober_does_not_hinder_what_people_want() -> None:
    for scene in (alive().deleted(), alive().powered(Power.STOPPED), alive().asked()):
        world = scene.but(prober_suspect=True).world
        action = plan(world).action
        assert isinstance(action, Retire)
        assert check(world, action) == ()


# --- frozen destruction ---------------------------------------------------------------------------

FROZEN = {
    "requests leave what has ended": (
        alive().with_only(shown(EXITED, identity=ours(good_hash()), finished_at=ago(60))),
        "Unroute(Ended)",
    ),
    "what has ended is started again as it is": (
        Scene().recorded().showing(EXITED, finished_at=ago(60)),
        "Start",
    ),
    "what ended a moment ago is started again in a while": (
        Scene().recorded().showing(EXITED, finished_at=ago(1)),
        "waiting: DestructionFrozen",
    ),
    "what has ended of an older spec is started again, too": (
        Scene().recorded().overriding(env={"A": "1"}).showing(EXITED, finished_at=ago(60)),
        "Start",
    ),
    "what is retired stays": (Scene().recorded(REMOVING).showing(), "blocked: DestructionFrozen"),
    "a container on no record stays": (
        Scene().seated(last_incarnation=4).showing(),
        "blocked: DestructionFrozen",
    ),
    "a deleted user's unrecorded container stays": (
        Scene().seated().showing().deleted(),
        "blocked: DestructionFrozen",
    ),
    "a newer container of another spec is taken over": (
        Scene().seated(last_incarnation=4).beside(shown(identity=ours(OTHER_HASH, 5))),
        "Adopt",
    ),
    "what runs is not replaced by an older spec": (alive().overriding(env={"A": "1"}), "nothing"),
}


@pytest.mark.fault(16)
@pytest.mark.parametrize(("scene", "words"), FROZEN.values(), ids=FROZEN.keys())
def test_while_destruction_is_frozen(scene: Scene, words: str) -> None:
    decided = plan(scene.but(destruction_frozen="the store looks old").world)
    assert in_words(decided) == words


def test_the_container_is_found_by_its_exact_name() -> None:
    scene = Scene().seated().beside(shown(identity=None, name=NAME + "2"))
    assert in_words(plan(scene.world)) == "Intend"
