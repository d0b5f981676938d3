"""What holds in every world: a plan is made, the same one again, one that the judge allows, or none."""

import pytest
from hypothesis import HealthCheck, event, given, settings

from reconciler.core.conditions import conditions_of
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from tests.reconciler.core.arbitrary import scenes
from tests.reconciler.core.worlds import Scene, in_words

EXAMPLES = 600
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(scenes())
def test_a_plan_is_made_the_same_one_again_that_the_invariants_allow(scene: Scene) -> None:
    world = scene.world
    decided = plan(world)
    event(in_words(decided))
    assert check(world, decided.action) == ()
    assert plan(scene.world) == decided
    assert decided.look_again_at is None or decided.look_again_at > world.now


@pytest.mark.fault(3)
@thorough
@given(scenes())
def test_an_engine_that_does_not_answer_has_nothing_done(scene: Scene) -> None:
    decided = plan(scene.blind().world)
    assert decided.action is None
    assert decided.blocked is not None


@thorough
@given(scenes())
def test_people_are_told_once(scene: Scene) -> None:
    """Told again, the conditions are the very same: nothing is written twice."""
    decided = plan(scene.world)
    told = conditions_of(scene.world, decided)
    assert conditions_of(scene.told(conditions=told).world, decided) is told
