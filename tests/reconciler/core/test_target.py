"""What a Home's next container should be: the wanted spec, or the last good one once that failed here."""

from typing import Any

import orjson
import pytest

from reconciler.core.actions import Create, Intend, Retire
from reconciler.core.container import ContainerState
from reconciler.core.effective import wanted_of
from reconciler.core.plan import plan
from reconciler.core.target import as_record, spec_of
from state.kinds.incarnation import IncarnationState
from tests.reconciler.core.worlds import Scene, alice, good_hash, in_words, template

GOOD: dict[str, Any] = {"env": {"VERSION": "good"}}
BAD: dict[str, Any] = {"env": {"VERSION": "bad"}}
NOT_READY = {"startup": {"timeoutSeconds": 30}}


def bad(**rollout: Any) -> Scene:
    """A spec that was never good is wanted, another one was good here."""
    return Scene().templated(**BAD, rollout=rollout, probes=NOT_READY).once_good(**GOOD)


def failed() -> Scene:
    return bad().told(failed_spec_hash=good_hash(**BAD))


def failed_hash_of(scene: Scene) -> str | None:
    action = plan(scene.world).action
    assert isinstance(action, Retire)
    return action.failed_spec_hash


def dying(scene: Scene, restart_count: int = 0) -> Scene:
    return scene.recorded().showing(ContainerState.EXITED, exit_code=1).told(restart_count=restart_count)


@pytest.mark.fault(25)
def test_a_spec_that_never_gets_ready_is_rolled_back_from() -> None:
    assert failed_hash_of(bad().recorded().showing().starting(seconds=30)) == good_hash(**BAD)


def test_a_spec_that_crashes_three_times_without_once_getting_ready_is_rolled_back_from() -> None:
    assert [failed_hash_of(dying(bad(), count)) for count in range(4)] == [
        None,
        None,
        good_hash(**BAD),
        good_hash(**BAD),
    ]


NOT_ROLLED_BACK = {
    "where the template says Pause": bad(onFailure="Pause").recorded().showing().starting(seconds=30),
    "where nothing was good before": Scene()
    .templated(**BAD, probes=NOT_READY)
    .recorded()
    .showing()
    .starting(seconds=30),
    "where the last good one is the very same": Scene()
    .templated(**BAD, probes=NOT_READY)
    .once_good(**BAD)
    .recorded()
    .showing()
    .starting(seconds=30),
    "where what failed is the last good one": bad()
    .recorded(of=good_hash(**GOOD))
    .showing()
    .starting(seconds=30)
    .imaged(fetching=True),
}


@pytest.mark.parametrize("scene", NOT_ROLLED_BACK.values(), ids=NOT_ROLLED_BACK.keys())
def test_nothing_is_rolled_back(scene: Scene) -> None:
    assert failed_hash_of(scene) is None


def test_a_death_after_readiness_is_no_reason_to_roll_back() -> None:
    scene = dying(bad(), 5)
    assert scene.live is not None
    assert failed_hash_of(scene.told(ready_at=scene.live.status.started_at)) is None


def test_after_a_rollback_the_last_good_spec_runs() -> None:
    action = plan(failed().world).action
    assert isinstance(action, Intend)
    assert action.wanted.hash == good_hash(**GOOD)
    action = plan(failed().recorded(IncarnationState.INTENDED, of=good_hash(**GOOD)).world).action
    assert isinstance(action, Create)
    assert action.spec == wanted_of(template(**GOOD), alice()).spec


def test_after_a_rollback_the_good_one_is_left_alone() -> None:
    scene = failed().recorded(of=good_hash(**GOOD)).showing().healthy().routed()
    assert in_words(plan(scene.world)) == "nothing"


def test_another_spec_ends_the_rollback() -> None:
    scene = failed().recorded(of=good_hash(**GOOD)).showing().healthy().routed()
    assert in_words(plan(scene.templated(env={"VERSION": "mended"}).world)) == "Retire(SpecChanged)"


def test_a_last_good_spec_that_the_ceiling_refuses_by_now_is_not_run() -> None:
    scene = Scene().once_good(image="old:1").told(failed_spec_hash=Scene().hash)
    assert in_words(plan(scene.world)) == "blocked: NotAllowed"


def test_a_spec_on_record_survives_the_store() -> None:
    spec = wanted_of(
        template(
            command=["a"],
            env={"A": "1"},
            security={"capAdd": ["KILL"], "egress": "None"},
            data={"mountPath": "/d"},
        ),
        alice(),
    ).spec
    record = orjson.loads(orjson.dumps(as_record(spec)))
    assert record == as_record(spec), "a spec that is on record already is not written again"
    assert spec_of(record) == spec


def test_a_spec_that_was_put_on_record_before_there_were_zones_is_the_internets() -> None:
    spec = wanted_of(template(), alice()).spec
    record = {name: value for name, value in as_record(spec).items() if name != "egress"}
    assert spec_of(record) == spec
