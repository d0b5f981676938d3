"""What every kind keeps: times of conditions, refusal of the unknown, the way to JSON and back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from state.kinds.access_policy import AccessPolicy
from state.kinds.account import Account
from state.kinds.app import App
from state.kinds.catalog import KINDS, WRITTEN_BY_PEOPLE, WRITTEN_BY_PROCESSES
from state.kinds.demand import Demand
from state.kinds.home import Home, hostname
from state.kinds.incarnation import Incarnation
from state.kinds.log_view import LogView
from state.kinds.report import ManifestFile, Reconciler
from state.kinds.request import Request
from state.kinds.resource import (
    CONDITIONS_MAX,
    Condition,
    Conditions,
    ConditionType,
    Resource,
    Truth,
)
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec
from state.kinds.user_container import DATA_FINALIZER, UserContainer, UserContainerSpec, new_user_container
from state.kinds.user_headers import UserHeaders
from state.kinds.user_inputs import UserInputs

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("type_", "troubles"),
    [
        (ConditionType.DEGRADED, {Truth.TRUE}),
        (ConditionType.DESTRUCTION_FROZEN, {Truth.TRUE}),
        (ConditionType.PROGRESSING, set()),
        (ConditionType.HIBERNATED, set()),
        (ConditionType.READY, {Truth.FALSE, Truth.UNKNOWN}),
        (ConditionType.ENGINE_REACHABLE, {Truth.FALSE, Truth.UNKNOWN}),
        (ConditionType.APPLIED, {Truth.FALSE, Truth.UNKNOWN}),
    ],
)
def test_what_an_operator_wants_to_hear_of_depends_on_the_condition(
    type_: ConditionType, troubles: set[Truth]
) -> None:
    assert {status for status in Truth if _condition(status, type_=type_).is_trouble} == troubles


def _condition(
    status: Truth, since: datetime = NOW, *, type_: ConditionType = ConditionType.READY
) -> Condition:
    return Condition(type=type_, status=status, reason="Because", since=since)


def test_a_condition_that_says_the_same_keeps_its_time() -> None:
    (after,) = Conditions.merged((_condition(Truth.TRUE),), (_condition(Truth.TRUE, LATER),))
    assert after.since == NOW


def test_a_condition_that_changes_its_status_takes_the_new_time() -> None:
    (after,) = Conditions.merged((_condition(Truth.TRUE),), (_condition(Truth.UNKNOWN, LATER),))
    assert (after.status, after.since) == (Truth.UNKNOWN, LATER)


def test_conditions_that_nobody_spoke_of_stay() -> None:
    before = (_condition(Truth.TRUE, type_=ConditionType.ROUTED),)
    after = Conditions.merged(before, (_condition(Truth.FALSE),))
    assert [one.type for one in after] == [ConditionType.READY, ConditionType.ROUTED]


STATUSES = st.sampled_from(list(Truth))
CONDITION_LISTS = st.lists(
    st.builds(
        lambda type_, status: _condition(status, type_=type_), st.sampled_from(list(ConditionType)), STATUSES
    ),
    max_size=CONDITIONS_MAX,
).map(tuple)


@given(CONDITION_LISTS, CONDITION_LISTS)
def test_merging_twice_is_merging_once(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> None:
    once = Conditions.merged(old, new)
    assert Conditions.merged(once, new) == Conditions.merged(once, new[::1])
    assert len({one.type for one in once}) == len(once)
    for one in once:
        assert Conditions.find(once, one.type) == one


def test_times_without_a_zone_are_refused() -> None:
    with pytest.raises(ValidationError):
        _condition(Truth.TRUE, datetime(2026, 1, 1))  # noqa: DTZ001 (the point)


def test_every_kind_is_in_the_catalog_once() -> None:
    assert len(KINDS) == len(WRITTEN_BY_PEOPLE) + len(WRITTEN_BY_PROCESSES)
    assert all(kind.kind == name == kind.__name__ for name, kind in KINDS.items())


HOME = hostname(bytes(16))
SAMPLES: list[tuple[type[Resource], dict[str, Any]]] = [
    (ContainerTemplate, {"spec": {
        "image": "a", "port": 80, "data": {"mountPath": "/a"}, "routes": [{"path": "/mcp", "access": "any"}],
        "idle": {"stopAfter": "1h"}, "rollout": {"maxUnavailable": 3}, "security": {"capAdd": ["SYS_PTRACE"]},
    }}),
    (UserContainer, {"spec": {"user": "local:a", "template": "demo", "overrides": {"env": {"A": "b"}}},
                     "status": {"conditions": [_condition(Truth.UNKNOWN)], "home": HOME,
                                "endpoint": {"host": "127.0.0.1", "port": 21000, "incarnation": f"{HOME}-1"},
                                "lastTermination": {"reason": "OOMKilled", "exitCode": 137, "at": NOW}}}),
    (App, {"spec": {"keySha256": "a" * 64, "template": "demo"}}),
    (AccessPolicy, {"spec": {"reverifyAfter": "12h", "rules": [
        {"email": "a@example.com", "role": "admin"},
        {"provider": "github", "emailDomain": "example.com", "organization": "acme", "team": "acme/a",
         "users": ["github:1"], "template": "demo"},
        {"provider": "any", "allow": False},
    ]}}),
    (Account, {"spec": {"user": "github:1", "claims": {"login": "Alice", "emails": ["a@example.com"]},
                        "claimsAt": NOW, "decision": "Approved", "signedOutAt": NOW, "epoch": 3}}),
    (Home, {"spec": {"template": "demo", "owner": {"userContainer": "a", "uid": "1", "user": "local:a"}},
            "status": {"tombstonedAt": NOW}}),
    (Incarnation, {"spec": {"home": HOME, "userContainer": "1", "number": 1, "specHash": "x", "port": 80,
                            "containerName": "c", "address": "127.0.0.1:21000", "epoch": 1}, "status": {}}),
    (Demand, {"spec": {"inFlight": 2, "lastActivityAt": NOW}}),
    (Request, {"spec": {"userContainer": "a", "verb": "Restart", "askedBy": "local:a", "askedAt": NOW}}),
    (LogView, {"spec": {"userContainer": "1", "wantedUntil": NOW},
               "status": {"text": "a\nb", "incarnation": "h-1", "readAt": NOW, "message": "m"}}),
    (UserInputs, {"spec": {"userContainer": "1", "values": {
        "A": {"text": "a", "setAt": NOW}, "B": {"sealed": "id.b", "setAt": NOW}}}}),
    (UserHeaders, {"spec": {"userContainer": "1", "values": {"x-proxy-type": "a", "x-location.city": "b"}}}),
    (Reconciler, {"spec": {"project": "mcpgw"}, "status": {"engine": "docker 20.10.24"}}),
    (ManifestFile, {"spec": {"path": "a.yaml"}}),
]  # fmt: skip


@pytest.mark.parametrize(
    "user", ["\u0660", "\u0660:0", "1000:\u0660", "\uff10", "\u00b9", "-0", "0x0", "1000\n", ""]
)
def test_a_containers_user_is_written_in_plain_digits(user: str) -> None:
    with pytest.raises(ValidationError, match=r"security\.user"):
        ContainerTemplateSpec.model_validate({"image": "a", "port": 80, "security": {"user": user}})


def test_there_is_a_sample_of_every_kind() -> None:
    assert {kind for kind, _ in SAMPLES} == set(KINDS.values())


@pytest.mark.parametrize(("kind", "parts"), SAMPLES, ids=[kind.kind for kind, _ in SAMPLES])
def test_json_and_back_is_the_same(kind: type[Resource], parts: dict[str, Any]) -> None:
    metadata = {
        "name": "a",
        "uid": "1",
        "generation": 3,
        "resourceVersion": 9,
        "createdAt": NOW,
        "finalizers": ["x"],
    }
    obj = kind.model_validate({"metadata": metadata, **parts})
    assert kind.model_validate_json(obj.model_dump_json(by_alias=True)) == obj
    assert kind.model_validate_json(obj.model_dump_json()) == obj


@pytest.mark.parametrize(("kind", "parts"), SAMPLES, ids=[kind.kind for kind, _ in SAMPLES])
def test_unknown_fields_are_refused(kind: type[Resource], parts: dict[str, Any]) -> None:
    for broken in (
        {"metadata": {"name": "a", "uids": "1"}, **parts},
        {"metadata": {"name": "a"}, **parts, "extra": 1},
        {"metadata": {"name": "a"}, **parts, "spec": {**parts["spec"], "extra": 1}},
    ):
        with pytest.raises(ValidationError):
            kind.model_validate(broken)


@pytest.mark.parametrize(("kind", "parts"), SAMPLES, ids=[kind.kind for kind, _ in SAMPLES])
def test_objects_do_not_change_under_whoever_reads_them(kind: type[Resource], parts: dict[str, Any]) -> None:
    obj = kind.model_validate({"metadata": {"name": "a"}, **parts})
    for target, name in ((obj, "spec"), (obj.metadata, "name"), (obj.status, "conditions")):
        with pytest.raises(ValidationError):
            setattr(target, name, None)


def test_the_unique_keys_of_a_home_and_an_incarnation_end_with_their_claim() -> None:
    standby = Home.model_validate({"metadata": {"name": HOME}, "spec": {"template": "demo"}})
    assert standby.unique_keys() == ()
    spec = next(parts["spec"] for kind, parts in SAMPLES if kind is Incarnation)
    keys = {
        state: Incarnation.model_validate(
            {"metadata": {"name": "a"}, "spec": spec, "status": {"state": state}}
        ).unique_keys()
        for state in ("Started", "Quarantined")
    }
    assert keys["Started"] == ("address:127.0.0.1:21000", f"home:{HOME}")
    assert keys["Quarantined"] == ("address:127.0.0.1:21000",)


def test_a_new_user_container_never_lacks_the_finalizer_of_its_data() -> None:
    spec = UserContainerSpec.model_validate({"user": "local:a", "template": "demo"})
    for managed_by in ("api", "file:a.yaml"):
        obj = new_user_container("a", spec, managed_by=managed_by)
        assert obj.metadata.finalizers == (DATA_FINALIZER,)
        assert obj.metadata.managed_by == managed_by
