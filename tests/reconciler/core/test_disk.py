"""Who takes more of the disk than they may, and what is left alone while it is full: one pass at a time."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.actions import Create, Intend, Sleep, Wake
from reconciler.core.conditions import conditions_of
from reconciler.core.container import ContainerState
from reconciler.core.disk import GRACE, counted_bytes_max, writing_container
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from reconciler.core.world import DiskUse
from state.kinds.incarnation import IncarnationState
from state.kinds.request import Verb
from state.kinds.resource import ConditionType, Truth
from state.kinds.user_container import OVER_DISK_LIMIT, Power, Termination
from tests.reconciler.core.worlds import CEILING, NOW, SITE, Scene, ago, alive, home, in_words

LIMIT = 100 << 20
LIMITED: dict[str, Any] = {"resources": {"disk": LIMIT}, "data": {"mountPath": "/data"}}
TOO_MUCH = DiskUse(LIMIT + 1)
TOO_MANY = DiskUse(1, beyond="more than 1000000 files and directories")
IN_LAYER = DiskUse(1, layer_bytes=LIMIT + 1)
IN_BOTH = DiskUse(LIMIT, layer_bytes=1)
COUNTLESS_IN_LAYER = DiskUse(1, layer_beyond="more files than the engine counts in 20 s")
FULL = {"disk_full": "less than 1024 MiB are left"}
CREATED, INTENDED = IncarnationState.CREATED, IncarnationState.INTENDED
RUNNING = Power.RUNNING


def bounded_by(disk_bytes_max: int) -> dict[str, Any]:
    """A reconciler with such a CEILING_DISK."""
    return {"site": replace(SITE, ceiling=replace(CEILING, disk_bytes_max=disk_bytes_max))}


BOUNDED = bounded_by(LIMIT)
ROOMY = bounded_by(2 * LIMIT)


def taking(use: DiskUse | None) -> Scene:
    return alive(**LIMITED).but(disk=use)


def put_to_sleep_before(scene: Scene, reason: str = OVER_DISK_LIMIT, *, started_seconds_ago: float) -> Scene:
    scene = scene.told(last_termination=Termination(reason=reason, at=ago(started_seconds_ago)))
    live = scene.live
    assert live is not None, "what was woken is on record"
    status = live.status.model_copy(update={"started_at": ago(started_seconds_ago)})
    return replace(scene, live=live.replaced(status=status))


def asleep_for_data(**template_spec: Any) -> Scene:
    scene = Scene().templated(**template_spec).seated().asleep()
    return scene.told(last_termination=Termination(reason=OVER_DISK_LIMIT, at=NOW))


PLANS = {
    "who takes more than they may is put to sleep": (taking(TOO_MUCH), "Sleep"),
    "who has more files than can be counted is, too": (taking(TOO_MANY), "Sleep"),
    "who takes all that they may is left alone": (taking(DiskUse(LIMIT)), "nothing"),
    "what the container wrote elsewhere counts": (taking(IN_LAYER), "Sleep"),
    "with what is data": (taking(IN_BOTH), "Sleep"),
    "who has some of both has time to free data": (
        put_to_sleep_before(taking(IN_BOTH), started_seconds_ago=1),
        "nothing",
    ),
    "an operator's word wakes who slept for what is gone": (
        asleep_for_data().powered(RUNNING).but(disk=DiskUse(1), **BOUNDED),
        "Wake",
    ),
    "also where it cannot be counted": (taking(COUNTLESS_IN_LAYER), "Sleep"),
    "all of it together may be as much": (taking(DiskUse(1, layer_bytes=LIMIT - 1)), "nothing"),
    "above the ceiling, too": (alive().but(disk=IN_LAYER, **BOUNDED).powered(RUNNING), "Sleep"),
    "and there is no time for what goes with the container": (
        put_to_sleep_before(taking(IN_LAYER), started_seconds_ago=1),
        "Sleep",
    ),
    "nor for what cannot be counted": (
        put_to_sleep_before(taking(COUNTLESS_IN_LAYER), started_seconds_ago=1),
        "Sleep",
    ),
    "who was not measured yet is left alone": (taking(None), "nothing"),
    "who has no limit is left alone": (alive().but(disk=TOO_MUCH), "nothing"),
    "whom an operator wants up is only told of": (taking(TOO_MUCH).powered(RUNNING), "nothing"),
    "also where the ceiling allows it": (taking(TOO_MUCH).powered(RUNNING).but(**ROOMY), "nothing"),
    "nobody is up above the ceiling, whoever wants it": (
        alive().but(disk=TOO_MUCH, **BOUNDED).powered(RUNNING),
        "Sleep",
    ),
    "nor with more files than can be counted": (
        alive().but(disk=TOO_MANY, **BOUNDED).powered(RUNNING),
        "Sleep",
    ),
    "without a template the ceiling holds": (alive().untemplated().but(disk=TOO_MUCH, **BOUNDED), "Sleep"),
    "nor does a template that says more help": (
        alive(resources={"disk": 1 << 50}).but(disk=TOO_MUCH, **BOUNDED),
        "Sleep",
    ),
    "of what is on no record by now, too": (
        Scene().seated().untemplated().showing().but(disk=TOO_MUCH, **BOUNDED),
        "Sleep",
    ),
    "a restart that was asked for comes first": (taking(TOO_MUCH).asked(Verb.RESTART), "Retire(Restarted)"),
    "who is asleep by now loses the container": (taking(TOO_MUCH).asleep(), "Retire(OverDiskLimit)"),
    "who asks to wake is woken": (
        Scene().templated(**LIMITED).seated().asleep().but(disk=TOO_MUCH).asked(Verb.WAKE),
        "Wake",
    ),
    "an operator's word wakes nobody above the ceiling": (
        Scene().seated().asleep().powered(RUNNING).but(disk=TOO_MUCH, **BOUNDED),
        "nothing",
    ),
    "nor before it is counted anew": (asleep_for_data().powered(RUNNING).but(**BOUNDED), "nothing"),
    "a call wakes them": (
        asleep_for_data().powered(RUNNING).but(disk=TOO_MUCH, **BOUNDED).asked(Verb.WAKE),
        "Wake",
    ),
    "and gives them time": (
        put_to_sleep_before(
            alive().powered(RUNNING).but(disk=TOO_MUCH, **BOUNDED),
            started_seconds_ago=GRACE.total_seconds() - 1,
        ),
        "nothing",
    ),
    "and so does an operator's word, once there is less": (
        asleep_for_data().powered(RUNNING).but(disk=DiskUse(LIMIT), **BOUNDED),
        "Wake",
    ),
    "or where it is too much for the template alone": (
        asleep_for_data(**LIMITED).powered(RUNNING).but(disk=TOO_MUCH, **ROOMY),
        "Wake",
    ),
    "or where there is no ceiling": (asleep_for_data().powered(RUNNING), "Wake"),
    "who was woken has time to free some": (
        put_to_sleep_before(taking(TOO_MUCH), started_seconds_ago=GRACE.total_seconds() - 1),
        "nothing",
    ),
    "and not for ever": (
        put_to_sleep_before(taking(TOO_MUCH), started_seconds_ago=GRACE.total_seconds()),
        "Sleep",
    ),
    "a start that is yet to come gives none": (
        put_to_sleep_before(taking(TOO_MUCH), started_seconds_ago=-3600),
        "Sleep",
    ),
    "ending by itself wins no time": (
        put_to_sleep_before(taking(TOO_MUCH), "Error", started_seconds_ago=1),
        "Sleep",
    ),
    "while the disk is full nobody has time": (
        put_to_sleep_before(taking(TOO_MUCH).but(**FULL), started_seconds_ago=1),
        "Sleep",
    ),
    "while nothing may be removed it waits": (
        taking(TOO_MUCH).but(destruction_frozen="the store looks old"),
        "blocked: DestructionFrozen",
    ),
    "on a full disk nobody gets a container": (Scene().seated().but(**FULL), "blocked: DiskFull"),
    "on a full disk what was intended is not made": (
        Scene().recorded(INTENDED).but(**FULL),
        "blocked: DiskFull",
    ),
    "on a full disk what runs goes on": (alive().but(**FULL), "nothing"),
    "on a full disk nothing is replaced": (alive().overriding(env={"A": "1"}).but(**FULL), "nothing"),
    "on a full disk nothing is restarted": (alive().asked(Verb.RESTART).but(**FULL), "blocked: DiskFull"),
    "on a full disk what ended is buried": (
        Scene().recorded().showing(ContainerState.EXITED).but(**FULL),
        "Retire(Error)",
    ),
    "on a full disk a user is deleted": (alive().deleted().but(**FULL), "Retire(Deleted)"),
    "on a full disk who asks for sleep sleeps": (alive().asked(Verb.SLEEP).but(**FULL), "Sleep"),
}


@pytest.mark.fault(14)
@pytest.mark.parametrize(("scene", "words"), PLANS.values(), ids=PLANS.keys())
def test_a_pass_does_one_thing(scene: Scene, words: str) -> None:
    decided = plan(scene.world)
    assert in_words(decided) == words
    assert check(scene.world, decided.action) == ()


def test_the_end_of_the_grace_is_looked_at_when_it_comes() -> None:
    scene = put_to_sleep_before(taking(TOO_MUCH), started_seconds_ago=60)
    assert plan(scene.world).look_again_at == ago(60) + GRACE


def said(scene: Scene, of: ConditionType) -> tuple[Truth, str, str]:
    [found] = [one for one in conditions_of(scene.world, plan(scene.world)) if one.type is of]
    return found.status, found.reason, found.message


def test_who_sleeps_for_their_data_is_told_how_to_go_on() -> None:
    scene = asleep_for_data(**LIMITED).but(disk=TOO_MUCH)
    for of, truth in ((ConditionType.READY, Truth.FALSE), (ConditionType.DEGRADED, Truth.TRUE)):
        status, reason, message = said(scene, of)
        assert (status, reason) == (truth, OVER_DISK_LIMIT)
        assert "more than 100 MiB" in message
        assert "10 minutes" in message


def test_who_is_in_their_grace_is_told_until_when() -> None:
    status, reason, message = said(
        put_to_sleep_before(taking(TOO_MUCH), started_seconds_ago=60), ConditionType.DEGRADED
    )
    assert (status, reason) == (Truth.TRUE, OVER_DISK_LIMIT)
    assert f"{ago(60) + GRACE:%H:%M:%S UTC}" in message


def test_whom_an_operator_wants_up_is_told_of_the_limit() -> None:
    status, reason, message = said(taking(TOO_MANY).powered(Power.RUNNING), ConditionType.DEGRADED)
    assert (status, reason) == (Truth.TRUE, OVER_DISK_LIMIT)
    assert "1000000 files" in message
    assert "raised" not in message, "no limit of bytes helps"


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (taking(TOO_MUCH), "more than 100 MiB, so it sleeps"),
        (taking(TOO_MUCH), "resources.disk"),
        (alive().but(disk=TOO_MUCH, **BOUNDED).powered(RUNNING), "more than 100 MiB, so it sleeps"),
        (alive().but(disk=TOO_MUCH, **BOUNDED).powered(RUNNING), "CEILING_DISK"),
        (taking(TOO_MUCH).but(**ROOMY).powered(RUNNING), "more than 100 MiB; free"),
        (taking(DiskUse(2 * LIMIT + 1)).but(**ROOMY).powered(RUNNING), "more than 200 MiB, so it sleeps"),
        (
            asleep_for_data().untemplated().but(disk=TOO_MUCH, **BOUNDED),
            "no call wakes it before its template",
        ),
        (alive(resources={"disk": 1 << 50}).but(disk=TOO_MUCH, **BOUNDED), "and within the ceiling"),
        (asleep_for_data(), "took more of the disk than it might, or than can be counted"),
        (taking(TOO_MUCH), "its data takes more than 100 MiB"),
        (taking(IN_LAYER), "its data, and what its container wrote elsewhere, take more than 100 MiB"),
        (taking(IN_LAYER), "its data is kept, and nothing else; the next call wakes it"),
        (asleep_for_data(**LIMITED).but(disk=DiskUse(1)), "took more of the disk than it might"),
        (asleep_for_data(**LIMITED).but(disk=DiskUse(1)), "the next call wakes it, or have"),
        (asleep_for_data(**LIMITED), "took more of the disk than it might"),
        (asleep_for_data(**LIMITED), "for 10 minutes if its data is too much"),
        (asleep_for_data(**LIMITED).but(disk=TOO_MUCH), "its data takes more than 100 MiB"),
        (taking(COUNTLESS_IN_LAYER), "wrote outside of its data has more files than the engine counts"),
    ],
)
def test_the_limit_that_counts_is_named(scene: Scene, words: str) -> None:
    assert words in said(scene, ConditionType.DEGRADED)[2]


@pytest.mark.parametrize(
    ("scene", "site", "counted"),
    [
        (alive(**LIMITED), ROOMY, LIMIT),
        (alive(), ROOMY, 2 * LIMIT),
        (alive(resources={"disk": 3 * LIMIT}), ROOMY, 2 * LIMIT),
        (alive(**LIMITED).powered(RUNNING), ROOMY, 2 * LIMIT),
        (alive(**LIMITED).powered(RUNNING), {}, LIMIT),
        (alive().untemplated(), ROOMY, 2 * LIMIT),
        (alive(), {}, 0),
    ],
)
def test_data_is_counted_as_far_as_something_follows(
    scene: Scene, site: dict[str, Any], counted: int
) -> None:
    world = scene.but(**site).world
    assert counted_bytes_max(world) == counted


READ_ONLY = {"security": {"readOnlyRoot": True}}
WRITING = {
    "as it is wanted": (alive(), True),
    "with a root that is not": (alive(**READ_ONLY), False),
    "of another root, for all that is known": (alive(**READ_ONLY).overriding(env={"A": "1"}), True),
    "of no template": (alive().untemplated(), True),
    "none": (Scene().seated(), False),
    "one that is over": (Scene().recorded().showing(ContainerState.EXITED), False),
}


@pytest.mark.parametrize(("scene", "writes"), WRITING.values(), ids=WRITING.keys())
def test_a_container_is_counted_that_may_write_elsewhere(scene: Scene, *, writes: bool) -> None:
    container = scene.world.container()
    assert writing_container(scene.world) == (container.id if writes and container is not None else "")


def test_nobody_is_put_to_sleep_for_what_they_may_take() -> None:
    for scene in (taking(DiskUse(LIMIT)), taking(None), alive().but(disk=TOO_MUCH)):
        assert check(scene.world, Sleep(())) == ("nobody is put to sleep unasked",)


def test_nobody_is_woken_into_more_than_the_ceiling_allows_but_by_request() -> None:
    scene = asleep_for_data().powered(RUNNING).but(disk=TOO_MUCH, **BOUNDED)
    [broken] = check(scene.world, Wake(()))
    assert "more data than the ceiling allows" in broken
    assert check(scene.asked(Verb.WAKE).world, Wake(("r-0",))) == ()


def test_only_above_the_ceiling_sleep_goes_against_an_operators_word() -> None:
    assert check(alive().powered(RUNNING).but(disk=TOO_MUCH, **BOUNDED).world, Sleep(())) == ()
    [broken] = check(taking(TOO_MUCH).powered(RUNNING).but(**ROOMY).world, Sleep(()))
    assert broken == "nobody is put to sleep against an operator's word"


def test_nothing_is_made_while_the_disk_is_full() -> None:
    empty, intended = Scene().seated().but(**FULL), Scene().recorded(INTENDED).but(**FULL)
    create = plan(Scene().recorded(INTENDED).world).action
    assert isinstance(create, Create)
    wanted = empty.wanted
    assert wanted is not None
    for world, action in ((empty.world, Intend(home(), wanted, ())), (intended.world, create)):
        [broken] = check(world, action)
        assert "while the disk is full" in broken
