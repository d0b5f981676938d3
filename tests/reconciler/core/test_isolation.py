"""Which report is believed, what is said otherwise, and what is planned where isolation is required."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from reconciler.core.conditions import conditions_of
from reconciler.core.container import Confinement, ContainerState
from reconciler.core.invariants import check
from reconciler.core.isolation import KEPT_AGE_MAX, FenceAsked, beyond_fences, isolation_of
from reconciler.core.plan import plan
from reconciler.engine.memory_profile import laptop_like
from state.fence import FenceReport
from state.kinds.incarnation import IncarnationState
from state.kinds.request import Verb
from state.kinds.resource import ConditionType
from state.kinds.user_container import Power
from tests.reconciler.core.worlds import (
    NOW,
    OTHER_HASH,
    Scene,
    ago,
    alive,
    in_words,
    ours,
    shown,
)

SUBNETS = tuple(IPv4Network(f"10.211.{third}.0/24") for third in (7, 8, 9))
GATEWAY, ROUTER = IPv4Address("10.211.7.2"), IPv4Address("10.211.7.4")
PROXY = "http://10.211.8.2:3128"
ASKED = FenceAsked(frozenset(SUBNETS), frozenset({GATEWAY, ROUTER}), PROXY)
BOOT = "this-boot"
CREATED, INTENDED, REMOVING = IncarnationState.CREATED, IncarnationState.INTENDED, IncarnationState.REMOVING
WHY = {"not_isolated": "there is no fence"}


def report(**changes: Any) -> FenceReport:
    facts = {
        "boot_id": BOOT,
        "subnets": SUBNETS,
        "trusted": (GATEWAY, ROUTER),
        "proxy": PROXY,
        "kept": True,
        "written_at": NOW,
    }
    return FenceReport.model_validate({**facts, **changes})


BELIEVED = {
    "a kept one that was just written": (report(), "Fenced"),
    "a kept one at the end of its time": (report(written_at=NOW - KEPT_AGE_MAX), "Fenced"),
    "a kept one that nobody renewed": (
        report(written_at=NOW - KEPT_AGE_MAX - timedelta(seconds=1)),
        "FenceUnkept",
    ),
    "a kept one of a clock that was set back": (report(written_at=NOW + timedelta(hours=1)), "FenceUnkept"),
    "one that nobody keeps, however old": (report(kept=False, written_at=ago(1e7)), "Fenced"),
    "one of another boot": (report(boot_id="the-last-boot", kept=False), "NotFenced"),
    "one around more than ours": (report(subnets=(*SUBNETS, IPv4Network("10.0.0.0/24"))), "Fenced"),
    "one around less": (report(subnets=SUBNETS[:2]), "FenceIncomplete"),
    "one around others": (report(subnets=(IPv4Network("10.211.0.0/16"),)), "FenceIncomplete"),
    "one that trusts the same in another order": (report(trusted=(ROUTER, GATEWAY)), "Fenced"),
    "one that trusts somebody more": (
        report(trusted=(GATEWAY, ROUTER, IPv4Address("10.211.7.9"))),
        "FenceOutdated",
    ),
    "one that trusts somebody less": (report(trusted=(GATEWAY,)), "FenceOutdated"),
    "one with another way out": (report(proxy="http://10.211.8.9:3128"), "FenceOutdated"),
    "one without the way out": (report(proxy=""), "FenceOutdated"),
    "none": (None, "NotFenced"),
}


@pytest.mark.parametrize(("said", "reason"), BELIEVED.values(), ids=BELIEVED)
def test_a_report_is_believed_of_this_boot_all_zones_and_while_it_is_kept(
    said: FenceReport | None, reason: str
) -> None:
    isolation = isolation_of(said, ASKED, BOOT, NOW)
    assert isolation.reason == reason
    assert isolation.is_fenced is (reason == "Fenced")
    if not isolation.is_fenced:
        assert "run `mcpgw fence` as root" in isolation.message
        assert "each other" in isolation.message


def test_the_settings_that_differ_are_named() -> None:
    outdated = report(trusted=(), proxy="")
    assert (
        "with other settings (FENCE_TRUSTED, EGRESS_PROXY)"
        in isolation_of(outdated, ASKED, BOOT, NOW).message
    )
    assert "with other settings (FENCE_TRUSTED)" in isolation_of(report(trusted=()), ASKED, BOOT, NOW).message


def test_what_was_reported_before_proxies_were_is_read_on() -> None:
    text = report().model_dump_json(exclude={"proxy"})
    assert FenceReport.model_validate_json(text) == report(proxy="")


def test_a_kernel_that_does_not_say_which_boot_this_is_leaves_nothing_believed() -> None:
    assert not isolation_of(report(boot_id=""), ASKED, "", NOW).is_fenced


ENGINE = laptop_like().capabilities
BEYOND = {
    "an engine of root's on this system": (ENGINE, None),
    "a rootless one": (replace(ENGINE, confinement=Confinement(is_rootless=True)), "RootlessEngine"),
    "one in a machine of its own": (replace(ENGINE, in_machine=True), "EngineInMachine"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_where_no_fence_can_stand_no_report_is_believed(name: str) -> None:
    capabilities, reason = BEYOND[name]
    isolation = beyond_fences(capabilities)
    assert (isolation.reason if isolation is not None else None) == reason


# What is planned while there is no fence, though one is required.
PLANS = {
    "a home is claimed": (Scene(), "ClaimHome"),
    "no incarnation is begun": (Scene().seated(), "blocked: NotIsolated"),
    "no image is fetched for one": (Scene().seated().imaged(), "blocked: NotIsolated"),
    "what the ceiling refuses is told first": (
        Scene().templated(image="evil:1").seated(),
        "blocked: NotAllowed",
    ),
    "what is intended is not created": (Scene().recorded(INTENDED), "blocked: NotIsolated"),
    "what was created is not started": (
        Scene().recorded(CREATED).showing(ContainerState.CREATED),
        "blocked: NotIsolated",
    ),
    "what runs is left alone": (alive(), "nothing"),
    "what has just begun to run is routed": (Scene().recorded().showing().healthy(), "Route"),
    "what was started by a call whose answer was lost is recorded so": (
        Scene().recorded(CREATED).showing(),
        "Adopt",
    ),
    "a changed spec leaves the old container": (alive().overriding(env={"A": "1"}), "nothing"),
    "a restart that was asked for waits": (alive().asked(), "blocked: NotIsolated"),
    "what does not answer is unrouted": (alive().healthy(failures=3), "Unroute(Unhealthy)"),
    "and is not restarted": (
        Scene().recorded().showing().healthy(failures=6).told(ready_at=ago(50)),
        "blocked: NotIsolated",
    ),
    "what never got ready is not replaced": (
        Scene().recorded().showing().starting(seconds=1e4),
        "blocked: NotIsolated",
    ),
    "what has ended is put on record": (
        alive().with_only(shown(ContainerState.EXITED, identity=ours(Scene().hash), exit_code=1)),
        "Retire(Error)",
    ),
    "what runs on no record is adopted whatever its spec": (
        Scene().seated().with_only(shown(identity=ours(OTHER_HASH))),
        "Adopt",
    ),
    "whoever asks for sleep gets it": (alive().asked(Verb.SLEEP), "Sleep"),
    "whoever is stopped ends": (alive().powered(Power.STOPPED), "Retire(Stopped)"),
    "whoever is deleted ends": (alive().deleted(), "Retire(Deleted)"),
    "what is on its way out goes on": (Scene().recorded(REMOVING).showing(ContainerState.EXITED), "Remove"),
    "where nothing may be removed either, what ended is not started again": (
        Scene()
        .recorded()
        .with_only(shown(ContainerState.EXITED, identity=ours(Scene().hash), finished_at=ago(60)))
        .but(destruction_frozen="the store looks old"),
        "blocked: NotIsolated",
    ),
}


@pytest.mark.parametrize(("scene", "words"), PLANS.values(), ids=PLANS)
def test_without_the_fence_nothing_is_made_or_started_and_what_runs_is_left_alone(
    scene: Scene, words: str
) -> None:
    world = scene.but(**WHY).world
    decided = plan(world)
    assert in_words(decided) == words
    assert check(world, decided.action) == ()


def test_people_are_told_why_in_the_fences_own_words() -> None:
    born = Scene().seated().but(**WHY).world
    told = {one.type: one for one in conditions_of(born, plan(born))}
    for of in (ConditionType.READY, ConditionType.PROGRESSING, ConditionType.DEGRADED):
        assert (told[of].reason, told[of].message) == ("NotIsolated", "there is no fence")
    edited = alive().overriding(env={"A": "1"}).but(**WHY).world
    told = {one.type: one for one in conditions_of(edited, plan(edited))}
    assert told[ConditionType.READY].is_true, "the old one serves"
    assert told[ConditionType.DEGRADED].reason == "NotIsolated"


@pytest.mark.parametrize(
    "scene",
    [
        Scene().seated(),
        Scene().recorded(INTENDED),
        Scene().recorded(CREATED).showing(ContainerState.CREATED),
        alive().asked(),
        alive().overriding(env={"A": "1"}),
    ],
    ids=["an intent", "a creation", "a start", "a restart", "a replacement"],
)
def test_the_judge_refuses_what_needs_a_fence(scene: Scene) -> None:
    """Planned where there is a fence, judged where there is none."""
    decided = plan(scene.world)
    assert decided.action is not None
    assert check(scene.world, decided.action) == ()
    assert check(scene.but(**WHY).world, decided.action) != ()
