"""What users fill in: which of it becomes part of their container, and what is not made without it."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.actions import Create, Intend
from reconciler.core.conditions import conditions_of
from reconciler.core.container import ContainerState, spec_hash
from reconciler.core.effective import Wanted, wanted_of
from reconciler.core.invariants import check
from reconciler.core.plan import plan
from reconciler.core.target import as_record, spec_of
from state.kinds.incarnation import IncarnationState
from state.kinds.resource import Conditions, ConditionType
from tests.reconciler.core.worlds import (
    KEY_ID,
    OTHER_HASH,
    Scene,
    alice,
    alive,
    in_words,
    ours,
    shown,
    template,
)

PLAIN = {"name": "MODEL", "title": "The model"}
SECRET = {"name": "API_KEY", "title": "Your key", "secret": True}
REQUIRED = {"name": "REGION", "title": "The region", "required": True}
SEALED = f"{KEY_ID}.abc"
LOST = "fedcba9876543210.abc"


def declaring(*inputs: dict[str, Any], **spec: Any) -> Scene:
    return Scene().templated(inputs=list(inputs), **spec)


def wanted(scene: Scene) -> Wanted:
    assert scene.wanted is not None
    return scene.wanted


# What it becomes


def test_a_users_value_comes_between_the_template_and_the_operators_override() -> None:
    scene = declaring(PLAIN, env={"MODEL": "small"})
    assert wanted(scene).spec.env == (("MODEL", "small"),)
    scene = scene.filled_in(MODEL="large")
    assert wanted(scene).spec.env == (("MODEL", "large"),)
    assert wanted(scene.overriding(env={"MODEL": "tiny"})).spec.env == (("MODEL", "tiny"),)


def test_a_secret_stays_sealed_and_takes_the_defaults_place() -> None:
    scene = declaring(SECRET, env={"API_KEY": "demo"}).filled_in(API_KEY=SEALED)
    assert (wanted(scene).spec.env, wanted(scene).spec.secrets) == ((), (("API_KEY", SEALED),))
    overridden = wanted(scene.overriding(env={"API_KEY": "ours"})).spec
    assert (overridden.env, overridden.secrets) == ((("API_KEY", "ours"),), ())


def test_a_name_that_the_template_does_not_declare_is_not_taken() -> None:
    scene = declaring(PLAIN).filled_in(LD_PRELOAD="/data/evil.so", PATH=SEALED)
    assert wanted(scene).hash == wanted(declaring(PLAIN)).hash


def test_a_changed_value_is_another_container_and_none_at_all_is_the_same_as_ever() -> None:
    scene = declaring(PLAIN, SECRET)
    hashes = {
        wanted(one).hash
        for one in (
            scene,
            scene.filled_in(MODEL="a"),
            scene.filled_in(MODEL="b"),
            scene.filled_in(API_KEY=SEALED),
            scene.filled_in(API_KEY=f"{SEALED}d"),
        )
    }
    assert len(hashes) == 5
    assert wanted(scene).hash == wanted(Scene()).hash, "what runs is not replaced by a declaration alone"


def test_a_spec_without_secrets_keeps_the_hash_that_it_had_before_there_were_any() -> None:
    spec = wanted_of(template(image="demo:1", env={"A": "1"}), alice()).spec
    assert spec_hash(spec) == "f735422aeaa6bc2b5e7521cff0bc5b2c"


def test_a_spec_with_secrets_comes_back_from_its_record_and_an_old_record_has_none() -> None:
    spec = wanted(declaring(SECRET).filled_in(API_KEY=SEALED)).spec
    assert spec_of(as_record(spec)) == spec
    old = as_record(wanted(Scene()).spec)
    del old["secrets"]
    assert spec_of(old) == wanted(Scene()).spec


# What is not made without it

INTENDED, RUNNING = IncarnationState.INTENDED, ContainerState.RUNNING
NEEDY = declaring(REQUIRED, SECRET).seated()
HAPPY = NEEDY.filled_in(REGION="eu", API_KEY=SEALED)
PLANS: dict[str, tuple[Scene, str]] = {
    "nobody is refused a home": (declaring(REQUIRED), "ClaimHome"),
    "a missing value keeps a container from being made": (NEEDY, "blocked: InputMissing"),
    "a missing optional one does not": (NEEDY.filled_in(REGION="eu"), "Intend"),
    "an operator's override is as good": (NEEDY.overriding(env={"REGION": "eu"}), "Intend"),
    "with everything there it is made": (HAPPY, "Intend"),
    "a secret for another key keeps it from being made": (
        NEEDY.filled_in(REGION="eu", API_KEY=LOST),
        "blocked: InputUnreadable",
    ),
    "what was intended waits for a secret that can be opened": (
        NEEDY.filled_in(REGION="eu", API_KEY=LOST).recorded(INTENDED),
        "blocked: InputUnreadable",
    ),
    "what was intended without the value is given up": (
        HAPPY.recorded(INTENDED, of=OTHER_HASH),
        "Retire(SpecChanged)",
    ),
    "what is there and fits is adopted": (
        HAPPY.with_only(shown(identity=ours(wanted(HAPPY).hash))),
        "Adopt",
    ),
}


@pytest.mark.parametrize(("scene", "says"), PLANS.values(), ids=PLANS.keys())
def test_the_plan(scene: Scene, says: str) -> None:
    decided = plan(scene.world)
    assert in_words(decided) == says
    assert check(scene.world, decided.action) == ()


def test_who_runs_already_runs_on_while_a_value_is_wanting() -> None:
    scene = alive().templated(inputs=[REQUIRED], env={"NEW": "1"})
    assert in_words(plan(scene.world)) == "nothing"
    ready, degraded = told(scene, ConditionType.READY), told(scene, ConditionType.DEGRADED)
    assert ready == ("True", "Answers", "")
    assert degraded == (
        "True",
        "InputMissing",
        "“The region” is needed first; fill it in on the account page",
    )


def test_who_runs_with_a_secret_that_could_not_be_opened_again_is_told_before_it_matters() -> None:
    scene = declaring(SECRET).filled_in(API_KEY=LOST).recorded().showing().healthy().routed()
    assert in_words(plan(scene.world)) == "nothing"
    _, reason, message = told(scene, ConditionType.DEGRADED)
    assert reason == "InputUnreadable"
    assert "“Your key” cannot be read any more" in message


def test_whoever_waits_for_a_container_is_told_what_to_fill_in() -> None:
    assert told(NEEDY, ConditionType.READY)[:2] == ("False", "InputMissing")
    assert told(NEEDY, ConditionType.DEGRADED)[:2] == ("True", "InputMissing")


def test_a_value_that_never_got_ready_gives_way_to_the_last_that_did() -> None:
    good = wanted(declaring(SECRET).filled_in(API_KEY=SEALED))
    bad = declaring(SECRET).filled_in(API_KEY=f"{SEALED}d").seated(last_good=as_record(good.spec))
    bad = bad.told(failed_spec_hash=bad.hash)
    decided = plan(bad.world)
    assert isinstance(decided.action, Intend)
    assert decided.action.wanted.hash == good.hash
    assert check(bad.world, decided.action) == ()


def told(scene: Scene, of: ConditionType) -> tuple[str, str, str]:
    found = Conditions.find(conditions_of(scene.world, plan(scene.world)), of)
    assert found is not None
    return found.status, found.reason, found.message


# What the judge says, whatever was planned

SMUGGLED = {
    "a variable that nobody declared": {"env": (("LD_PRELOAD", "/data/evil.so"),)},
    "a secret that nobody declared": {"secrets": (("LD_PRELOAD", SEALED),)},
    "a value in place of an operator's": {"env": (("A", "mine"),)},
}


@pytest.mark.parametrize("changes", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_nothing_gets_in_under_a_name_that_is_not_left_to_users(changes: dict[str, Any]) -> None:
    scene = declaring(PLAIN, env={"A": "theirs"}).seated()
    spec = replace(wanted(scene).spec, **changes)
    home = scene.home
    assert home is not None
    intend = Intend(home, Wanted(spec, spec_hash(spec), wanted(scene).pull), ())
    assert check(scene.world, intend)
    intended = scene.recorded(INTENDED)
    assert intended.live is not None
    assert check(intended.world, Create(intended.live, spec, ours(spec_hash(spec))))


def test_an_override_is_not_taken_for_a_users_value() -> None:
    scene = declaring(PLAIN).overriding(env={"MODEL": "ours"}).seated()
    spec = replace(wanted(scene).spec, secrets=(("MODEL", SEALED),))
    home = scene.home
    assert home is not None
    assert check(scene.world, Intend(home, Wanted(spec, spec_hash(spec), wanted(scene).pull), ()))
