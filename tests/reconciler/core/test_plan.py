"""What one pass does next, world by world. Every row is also judged by the independent invariants."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.actions import Create, Intend, Release, Remove, Retire, Route, Tombstone
from reconciler.core.container import ContainerState, Identity
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from state.kinds.incarnation import IncarnationState
from state.kinds.user_container import Power
from tests.reconciler.core.worlds import (
    EPOCH,
    HOME,
    NOW,
    OTHER_HASH,
    PROJECT,
    UID,
    Scene,
    ago,
    alive,
    good_hash,
    in_words,
    ours,
    shown,
)

CREATED, STARTED = IncarnationState.CREATED, IncarnationState.STARTED
INTENDED, REMOVING = IncarnationState.INTENDED, IncarnationState.REMOVING
EXITED, RUNNING, PAUSED = ContainerState.EXITED, ContainerState.RUNNING, ContainerState.PAUSED

FOREIGN = shown(RUNNING, identity=None)
STRAY = shown(RUNNING, identity=ours(OTHER_HASH, 9), name="renamed")

BIRTH = {
    "a user without a home claims one": (Scene(), "ClaimHome"),
    "without its template nothing is claimed": (Scene().untemplated(), "blocked: TemplateMissing"),
    "what the ceiling refuses claims nothing": (
        Scene().overriding(image="evil:1"),
        "blocked: NotAllowed",
    ),
    "a home without a container gets an incarnation": (Scene().seated(), "Intend"),
    "so does one whose container has a proxy alone": (
        Scene().templated(security={"egress": "Proxy"}).seated(),
        "Intend",
    ),
    "so does one whose container has no way out": (
        Scene().templated(security={"egress": "None"}).seated(),
        "Intend",
    ),
    "an image that is not there is fetched before anything is begun": (
        Scene().seated().imaged(),
        "FetchImage",
    ),
    "an image on its way is waited for": (Scene().seated().imaged(fetching=True), "waiting: FetchingImage"),
    "an image that failed is waited for": (
        Scene().seated().imaged(failed_reason="ImagePullFailed", retry_at=NOW + timedelta(seconds=5)),
        "blocked: ImagePullFailed",
    ),
    "an image that failed is asked for again when it is time": (
        Scene().seated().imaged(failed_reason="ImagePullFailed", retry_at=ago(1)),
        "FetchImage",
    ),
    "nothing is made beyond the ceiling's number": (
        Scene().seated().but(capacity_left=0),
        "blocked: CapacityReached",
    ),
    "what is intended is created": (Scene().recorded(INTENDED), "Create"),
    "an intent for another spec is given up": (
        Scene().recorded(INTENDED, of=OTHER_HASH),
        "Retire(SpecChanged)",
    ),
    "an intent whose image went away meanwhile has it fetched": (
        Scene().recorded(INTENDED).imaged(),
        "FetchImage",
    ),
    "an intent that a lower ceiling refuses waits": (
        Scene(template=None).templated(image="evil:1").recorded(INTENDED),
        "blocked: NotAllowed",
    ),
    "what a lower ceiling refuses by now is not started": (
        Scene().templated(image="evil:1").recorded(CREATED).showing(ContainerState.CREATED),
        "blocked: NotAllowed",
    ),
    "nor is it where another is wanted that failed here": (
        Scene()
        .once_good(image="evil:1")
        .told(failed_spec_hash=Scene().hash)
        .recorded(CREATED, of=good_hash(image="evil:1"))
        .showing(ContainerState.CREATED),
        "blocked: NotAllowed",
    ),
    "what was created is started": (Scene().recorded(CREATED).showing(ContainerState.CREATED), "Start"),
    "what was started by a call whose answer was lost is recorded so": (
        Scene().recorded(CREATED).showing(RUNNING),
        "Adopt",
    ),
    "what started is waited for": (
        Scene().recorded().showing().starting(seconds=3),
        "waiting: Starting",
    ),
    "what answers is routed": (Scene().recorded().showing().healthy(), "Route"),
    "what answers at an address that the engine does not show is not routed": (
        Scene().recorded().showing(endpoint_host="").healthy(),
        "blocked: AddressUnknown",
    ),
    "what is as it should be is left alone": (alive(), "nothing"),
}

CHANGE = {
    "a changed spec retires the old container": (alive().overriding(env={"A": "1"}), "Retire(SpecChanged)"),
    "a changed spec waits for its image, the old container stays": (
        alive().overriding(image="demo:2").imaged(fetching=True),
        "nothing",
    ),
    "a changed spec that the ceiling refuses leaves the old container": (
        alive().overriding(image="evil:1"),
        "nothing",
    ),
    "what runs is not ended for a lower ceiling": (alive(image="evil:1"), "nothing"),
    "a restart that somebody asked for retires the container": (alive().asked(), "Retire(Restarted)"),
    "but not one that a lower ceiling would not have made anew": (
        alive(image="evil:1").asked(),
        "blocked: NotAllowed",
    ),
    "a restart asked for before the last start is answered": (alive().asked(seconds_ago=120), "Answer"),
    "power Stopped retires the container": (alive().powered(Power.STOPPED), "Retire(Stopped)"),
    "power Stopped frees the address": (
        Scene().seated().resting().powered(Power.STOPPED),
        "Release",
    ),
    "a restart of what is stopped is refused": (
        Scene().seated().powered(Power.STOPPED).asked(),
        "Answer",
    ),
    "what is stopped and gone is left alone": (Scene().seated().powered(Power.STOPPED), "nothing"),
    "an address that its successor did not take is freed in a quiet moment": (alive().resting(), "Release"),
}

TROUBLE = {
    "a death is taken out of service": (Scene().recorded().showing(EXITED, exit_code=1), "Retire(Error)"),
    "a container that a person paused is not sent requests": (
        Scene().recorded().showing(PAUSED).routed(),
        "Unroute(Paused)",
    ),
    "a container that a person paused is reported": (
        Scene().recorded().showing(PAUSED),
        "blocked: Paused",
    ),
    "a container that ended well is started anew": (
        Scene().recorded().showing(EXITED, exit_code=0),
        "Retire(Completed)",
    ),
    "a container that the engine is removing is given up": (
        Scene().recorded().showing(ContainerState.REMOVING),
        "Retire(Removed)",
    ),
    "an endpoint of another incarnation is taken away first": (
        alive().routed(f"{HOME}-0"),
        "Unroute(Misrouted)",
    ),
    "an endpoint of what is being removed is taken away first": (
        Scene().recorded(REMOVING).showing().routed(),
        "Unroute(Misrouted)",
    ),
    "a container without its template runs on": (
        Scene().recorded().showing().healthy().routed().untemplated(),
        "blocked: TemplateMissing",
    ),
    "what may not be removed is started again": (
        Scene().recorded().showing(EXITED).but(destruction_frozen="the store looks old"),
        "Start",
    ),
    "but not what a lower ceiling refuses by now": (
        Scene()
        .templated(image="evil:1")
        .recorded()
        .showing(EXITED)
        .but(destruction_frozen="the store looks old"),
        "blocked: NotAllowed",
    ),
    "a container of ours under another name keeps its address": (
        Scene().recorded(REMOVING).beside(shown(RUNNING, identity=ours(OTHER_HASH), name="renamed")),
        "blocked: TwoContainers",
    ),
}

WAY_OUT = {
    "a deleted user's container is retired": (alive().deleted(), "Retire(Deleted)"),
    "a deleted user's intent is retired": (Scene().recorded(INTENDED).deleted(), "Retire(Deleted)"),
    "what is retired is removed": (Scene().recorded(REMOVING).showing(), "Remove"),
    "what the engine is removing is waited for": (
        Scene().recorded(REMOVING).showing(ContainerState.REMOVING),
        "waiting: Removing",
    ),
    "what is gone leaves its address in quarantine": (Scene().recorded(REMOVING), "Quarantine"),
    "a foreign container in its place does not hinder the quarantine": (
        Scene().recorded(REMOVING).beside(FOREIGN),
        "Quarantine",
    ),
    "a foreign container under our name is not retired with the user": (
        Scene().recorded(INTENDED).beside(FOREIGN).deleted(),
        "Retire(Deleted)",
    ),
    "a deleted user's address is freed": (Scene().seated().resting().deleted(), "Release"),
    "a deleted user's data is put aside": (Scene().seated().deleted(), "Tombstone"),
    "a deleted user whose container has another name by now waits": (
        Scene().seated().beside(STRAY).deleted(),
        "blocked: TwoContainers",
    ),
    "a deleted user with nothing left is forgotten": (
        Scene().seated(tombstoned_at=ago(1)).deleted(),
        "Forget",
    ),
    "a deleted user who never had a home is forgotten": (Scene().deleted(), "Forget"),
    "while a retired one goes its user's restart waits": (
        Scene().recorded(REMOVING).showing().asked(),
        "Remove",
    ),
}

ALL = {**BIRTH, **CHANGE, **TROUBLE, **WAY_OUT}


@pytest.mark.parametrize(("scene", "words"), ALL.values(), ids=ALL.keys())
def test_a_pass_does_one_thing(scene: Scene, words: str) -> None:
    decided = plan(scene.world)
    assert in_words(decided) == words
    assert check(scene.world, decided.action) == ()


# --- what actions carry ---------------------------------------------------------------------------


def test_an_intent_takes_over_the_addresses_that_rest_in_its_own_home() -> None:
    scene = Scene().seated().resting()
    action = plan(scene.world).action
    assert isinstance(action, Intend)
    assert (action.wanted, action.supersedes) == (scene.wanted, scene.quarantined)


def test_a_container_is_created_with_labels_that_prove_whose_it_is() -> None:
    scene = Scene().recorded(INTENDED, number=3)
    action = plan(scene.world).action
    assert isinstance(action, Create)
    assert action.identity == Identity(PROJECT, HOME, UID, 3, scene.hash, EPOCH)


def test_requests_go_where_the_engine_shows_the_container() -> None:
    scene = Scene().recorded().showing(endpoint_host="10.0.0.9", endpoint_port=8080).healthy()
    assert scene.live is not None
    assert plan(scene.world).action == Route(scene.live, "10.0.0.9", 8080)


def test_a_live_container_is_removed_behind_the_barrier_and_a_dead_one_at_once() -> None:
    barriers = []
    for state in (RUNNING, PAUSED, EXITED, ContainerState.CREATED):
        action = plan(Scene().recorded(REMOVING).showing(state).world).action
        assert isinstance(action, Remove)
        barriers.append(action.behind_barrier)
    assert barriers == [True, True, False, False]


@pytest.mark.fault(28)
@pytest.mark.parametrize("days", [0, 7])
def test_a_deleted_users_data_is_kept_as_long_as_the_template_says(days: int) -> None:
    scene = Scene().templated(data={"mountPath": "/data", "retainDays": days}).seated().deleted()
    action = plan(scene.world).action
    assert isinstance(action, Tombstone)
    assert action.retain_until == NOW + timedelta(days=days)


def test_a_deleted_users_data_outlives_a_template_that_is_gone() -> None:
    action = plan(Scene().seated().deleted().untemplated().world).action
    assert isinstance(action, Tombstone)
    assert action.retain_until == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    "scene", [Scene().untemplated(), Scene().templated(data=None)], ids=["none", "no data"]
)
def test_the_reconcilers_own_retention_holds_whatever_the_template_does_not_say(scene: Scene) -> None:
    world = scene.seated().deleted().world
    kept = replace(world.site, ceiling=replace(world.site.ceiling, retain_days_min=90))
    world = replace(world, site=kept)
    action = plan(world).action
    assert isinstance(action, Tombstone)
    assert action.retain_until == NOW + timedelta(days=90)
    assert check(world, action) == ()


def test_a_restart_answers_everybody_who_asked() -> None:
    action = plan(alive().asked().asked().world).action
    assert isinstance(action, Retire)
    assert action.answers == ("r-0", "r-1")


def test_an_address_is_freed_one_a_pass() -> None:
    scene = Scene().seated().resting(1).resting(2, "127.0.0.1:21001").deleted()
    assert plan(scene.world).action == Release(scene.quarantined[0])


# --- engines that cannot tell ---------------------------------------------------------------------


@pytest.mark.fault(3)
@pytest.mark.parametrize("scene", [scene for scene, _ in ALL.values()], ids=ALL.keys())
def test_an_engine_that_cannot_tell_leaves_everything_as_it_is(scene: Scene) -> None:
    decided = plan(scene.blind().world)
    assert decided.action is None
    assert in_words(decided) == "blocked: EngineUnknown"
