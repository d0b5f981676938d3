"""What people are told: each answer in a world where it is the right one."""

from datetime import timedelta

import pytest

from reconciler.core.conditions import conditions_of
from reconciler.core.container import ContainerState
from reconciler.core.plan import plan
from state.kinds.incarnation import IncarnationState
from state.kinds.request import Verb
from state.kinds.resource import Condition, Conditions, ConditionType
from state.kinds.user_container import Power, Termination
from tests.reconciler.core.worlds import NOW, OTHER_HASH, Scene, ago, alive, good_hash, ours, shown

READY, ROUTED = ConditionType.READY, ConditionType.ROUTED
PROGRESSING, DEGRADED = ConditionType.PROGRESSING, ConditionType.DEGRADED
ENGINE, HIBERNATED = ConditionType.ENGINE_REACHABLE, ConditionType.HIBERNATED

ENDED = Termination(reason="OOMKilled", exit_code=137, at=ago(9))
DEAD = Scene().seated().told(last_termination=ENDED)
LOOPING = DEAD.told(restart_count=3, restart_after=NOW + timedelta(seconds=20), spec_hash=DEAD.hash)
FAILED = (
    Scene()
    .once_good(env={"V": "1"})
    .told(failed_spec_hash=Scene().hash)
    .recorded(of=good_hash(env={"V": "1"}))
    .showing()
    .healthy()
    .routed()
)

SAID: dict[str, tuple[Scene, ConditionType, str, str]] = {
    "what runs and answers is ready": (alive(), READY, "True", "Answers"),
    "an edit that the ceiling refuses is told while the old container serves": (
        Scene().overriding(image="evil:1").recorded(of=OTHER_HASH).showing().healthy().routed(),
        DEGRADED,
        "True",
        "NotAllowed",
    ),
    "a ceiling that is lower by now is told of what runs": (
        alive(image="evil:1"),
        DEGRADED,
        "True",
        "NotAllowed",
    ),
    "which is ready all the same": (alive(image="evil:1"), READY, "True", "Answers"),
    "what has not answered yet is not": (
        Scene().recorded().showing().starting(seconds=1),
        READY,
        "False",
        "Starting",
    ),
    "what is not there is not": (Scene().seated(), READY, "False", "NotRunning"),
    "what fails its probes is not": (alive().healthy(failures=3), READY, "False", "Unhealthy"),
    "nobody knows of what was ready before the reconciler started": (
        alive().found_again(),
        READY,
        "Unknown",
        "NoAnswerYet",
    ),
    "a single failed probe is no matter": (alive().healthy(failures=1), READY, "True", "Answers"),
    "what is stopped is not": (Scene().seated().powered(Power.STOPPED), READY, "False", "Stopped"),
    "what is being deleted is not": (Scene().seated().deleted(), READY, "False", "Deleted"),
    "what sleeps is not": (Scene().seated().asleep(), READY, "False", "Asleep"),
    "what sleeps is asleep": (Scene().seated().asleep(), HIBERNATED, "True", "PutToSleep"),
    "what is still there is only falling asleep": (
        alive().asleep(),
        HIBERNATED,
        "False",
        "FallingAsleep",
    ),
    "what runs is awake": (alive(), HIBERNATED, "False", "Awake"),
    "to sleep is to be settled": (Scene().seated().asleep(), PROGRESSING, "False", "Settled"),
    "to sleep is no trouble": (Scene().seated().asleep(), DEGRADED, "False", "AsExpected"),
    "a sleep that has to wait says why": (
        alive().asked(Verb.SLEEP).but(destruction_frozen="the store looks old"),
        DEGRADED,
        "True",
        "DestructionFrozen",
    ),
    "what is paused by hand is not": (
        Scene().recorded().showing(ContainerState.PAUSED),
        READY,
        "False",
        "Paused",
    ),
    "nobody knows of an engine that is silent": (alive().blind(), READY, "Unknown", "EngineUnknown"),
    "an engine that is silent is unknown": (alive().blind(), ENGINE, "Unknown", "NoAnswer"),
    "an engine that answers is reachable": (alive(), ENGINE, "True", "Answers"),
    "requests are let through": (alive(), ROUTED, "True", "Endpoint"),
    "requests are let through while the engine is silent": (alive().blind(), ROUTED, "True", "Endpoint"),
    "requests have nowhere to go": (Scene(), ROUTED, "False", "NoEndpoint"),
    "an image for the next container is on its way": (
        alive().overriding(image="demo:2").imaged(fetching=True),
        PROGRESSING,
        "True",
        "FetchingImage",
    ),
    "an image is on its way": (Scene().seated().imaged(fetching=True), PROGRESSING, "True", "FetchingImage"),
    "a container is being made": (
        Scene().recorded(IncarnationState.INTENDED),
        PROGRESSING,
        "True",
        "Creating",
    ),
    "everything is as wanted": (alive(), PROGRESSING, "False", "Settled"),
    "everything is as expected": (alive(), DEGRADED, "False", "AsExpected"),
    "a crash loop is trouble": (LOOPING, DEGRADED, "True", "CrashLoop"),
    "it is one already while what died is being removed": (
        LOOPING.recorded(IncarnationState.REMOVING).showing(ContainerState.EXITED),
        DEGRADED,
        "True",
        "CrashLoop",
    ),
    "also by an engine that takes its time": (
        LOOPING.recorded(IncarnationState.REMOVING).showing(ContainerState.REMOVING),
        DEGRADED,
        "True",
        "CrashLoop",
    ),
    "it is none of who is stopped meanwhile": (
        LOOPING.recorded(IncarnationState.REMOVING).showing(ContainerState.EXITED).powered(Power.STOPPED),
        DEGRADED,
        "False",
        "AsExpected",
    ),
    "a name that somebody else has is trouble": (
        Scene().seated().beside(shown(identity=None)),
        DEGRADED,
        "True",
        "NameTaken",
    ),
    "a second container for one user is trouble": (
        alive().beside(shown(identity=ours(OTHER_HASH, 9), name="other")),
        DEGRADED,
        "True",
        "TwoContainers",
    ),
    "a spec that was rolled back from is trouble": (FAILED, DEGRADED, "True", "RolledBack"),
    "an image that cannot be had is trouble, though the old container runs": (
        alive()
        .overriding(image="demo:2")
        .imaged(failed_reason="ImagePullFailed", retry_at=NOW + timedelta(seconds=9)),
        DEGRADED,
        "True",
        "ImagePullFailed",
    ),
}


def told(scene: Scene, of: ConditionType) -> Condition:
    found = Conditions.find(conditions_of(scene.world, plan(scene.world)), of)
    assert found is not None
    return found


@pytest.mark.parametrize(("scene", "of", "status", "reason"), SAID.values(), ids=SAID.keys())
def test_people_are_told(scene: Scene, of: ConditionType, status: str, reason: str) -> None:
    condition = told(scene, of)
    assert (condition.status, condition.reason) == (status, reason)


@pytest.mark.fault(6)
def test_how_the_last_container_ended_is_told_while_there_is_none() -> None:
    assert told(DEAD, READY).message == "the last container ended: OOMKilled (exit code 137)"


@pytest.mark.fault(7)
def test_a_crash_loop_is_told_with_its_count_and_its_end() -> None:
    assert told(LOOPING, DEGRADED).message == (
        "ended with OOMKilled (limit 1024 MiB), 3 times by now; the next start waits until 12:00:20 UTC"
    )


@pytest.mark.fault(6)
def test_a_kill_that_no_engine_explains_is_told_with_the_limit_of_memory() -> None:
    killed = LOOPING.told(last_termination=Termination(reason="Error", exit_code=137, at=ago(9)))
    assert told(killed, DEGRADED).message.startswith(
        "ended with Error (exit code 137: killed, maybe for memory; its limit is 1024 MiB), 3 times by now"
    )


def test_since_moves_only_with_the_answer() -> None:
    earlier = conditions_of(alive().world, plan(alive().world))
    later = alive().told(conditions=earlier).healthy(failures=3).but(now=NOW + timedelta(hours=1))
    conditions = conditions_of(later.world, plan(later.world))
    since = {one.type: one.since for one in conditions}
    assert since[READY] == NOW + timedelta(hours=1)
    assert since[ENGINE] == since[DEGRADED] == NOW


def test_an_answer_that_nobody_of_us_gives_is_kept() -> None:
    other = Condition(type=ConditionType.ISOLATED, status="True", reason="Fenced", since=ago(5))
    assert other in conditions_of(alive().told(conditions=(other,)).world, plan(alive().world))


def test_a_message_of_any_length_fits() -> None:
    scene = alive().beside(shown(identity=ours(OTHER_HASH, 9), name="x" * 5000))
    assert len(told(scene, DEGRADED).message) == 1024
