"""Users of an App that keeps nothing of them: they go after their last use, and nobody else does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.actions import End, Tombstone
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from state.kinds.app import END_AFTER_S_MIN
from state.kinds.resource import Metadata
from tests.reconciler.core.worlds import NOW, Scene, ago

UP = Scene().recorded().routed().showing().of_app()


def test_who_was_used_a_moment_ago_stays_and_is_looked_at_again_when_it_may_be_over() -> None:
    decided = plan(UP.used(seconds_ago=60).world)
    assert not isinstance(decided.action, End)
    assert decided.look_again_at is not None
    assert decided.look_again_at <= NOW + timedelta(seconds=540)


@pytest.mark.parametrize("scene", [UP.used(seconds_ago=600), UP], ids=["used once", "never used"])
def test_who_was_not_used_for_as_long_as_the_app_says_is_ended(scene: Scene) -> None:
    decided = plan(scene.world)
    assert isinstance(decided.action, End)
    assert check(scene.world, decided.action) == ()


def test_who_came_a_moment_ago_and_was_never_used_stays() -> None:
    assert not isinstance(plan(UP.of_app(came_seconds_ago=5).world).action, End)


def _declared(scene: Scene) -> Scene:
    said = scene.owner.metadata.model_copy(update={"managed_by": "file:shop.yaml"})
    return replace(scene, owner=scene.owner.replaced(metadata=said))


@pytest.mark.parametrize(
    "scene",
    [
        UP.of_app(persistent=True),
        UP.but(app=None),
        _declared(UP),
        UP.but(destruction_frozen="the store looks old"),
        UP.blind(),
    ],
    ids=["of an App that keeps them", "of no App", "of a file", "while nothing may go", "engine unknown"],
)
def test_nobody_else_is_ended(scene: Scene) -> None:
    assert not isinstance(plan(scene.world).action, End)
    assert check(scene.world, End(None))


def test_nobody_is_ended_before_gateways_could_tell_of_use() -> None:
    early = UP.but(watched_since=ago(END_AFTER_S_MIN - 1))
    decided = plan(early.world)
    assert not isinstance(decided.action, End)
    assert decided.look_again_at == NOW + timedelta(seconds=1)
    assert check(early.world, End(None))
    later = UP.but(watched_since=ago(END_AFTER_S_MIN))
    assert isinstance(plan(later.world).action, End)
    assert check(later.world, End(None)) == ()


def test_who_may_not_go_yet_is_not_looked_at_again_and_again() -> None:
    decided = plan(UP.but(destruction_frozen="the store looks old").world)
    assert decided.look_again_at is None or decided.look_again_at > NOW


def test_the_judge_refuses_an_end_under_use_and_of_another_apps_user() -> None:
    assert check(UP.used(seconds_ago=30).world, End(ago(30)))
    app = UP.world.app
    assert app is not None
    assert check(UP.but(app=app.replaced(metadata=Metadata(name="shoe"))).world, End(None))


KEPT = UP.templated(data={"mountPath": "/data", "retainDays": 7})


def _over(scene: Scene, *, one_time: bool) -> Scene:
    """Deleted, with nothing left but the data."""
    home = scene.home
    assert home is not None
    seat = home.replaced(spec=home.spec.model_copy(update={"one_time": one_time}))
    return replace(scene.deleted(), home=seat, live=None, containers=()).told(endpoint=None)


def test_data_of_a_one_time_user_is_not_retained() -> None:
    over = _over(KEPT, one_time=True)
    action = plan(over.world).action
    assert isinstance(action, Tombstone)
    assert action.retain_until == NOW
    assert check(over.world, action) == ()


@pytest.mark.parametrize(
    "over",
    [
        _over(KEPT, one_time=False),
        _over(KEPT.of_app(persistent=True), one_time=True),
        _over(KEPT.but(app=None), one_time=True),
    ],
    ids=["kept when it began", "kept by now", "of no App any more"],
)
def test_data_from_before_or_after_users_were_one_time_is_retained(over: Scene) -> None:
    action = plan(over.world).action
    assert isinstance(action, Tombstone)
    assert action.retain_until == NOW + timedelta(days=7)
    assert check(over.world, action) == ()
    assert check(over.world, Tombstone(action.home, NOW)), "the judge refuses data to go early"


@pytest.mark.fault(21)
def test_a_clock_that_was_set_ends_nobody_before_their_time_begins_anew() -> None:
    """Forward by an hour: everybody seems to be unused for that long."""
    scene = UP.used(seconds_ago=4200)
    assert isinstance(plan(scene.world).action, End)
    just_set = scene.but(clock_set_at=ago(599)).world
    assert not isinstance(plan(just_set).action, End)
    assert check(just_set, plan(scene.world).action)
    assert isinstance(plan(scene.but(clock_set_at=ago(600)).world).action, End)
