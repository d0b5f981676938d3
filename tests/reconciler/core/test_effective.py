"""The container that a user should have: the template, with the user's overrides."""

from typing import Any

import pytest

from reconciler.core.effective import wanted_of
from state.kinds.user_container import Overrides, UserContainer
from tests.reconciler.core.worlds import alice, template

FULL: dict[str, Any] = {
    "image": "demo:1",
    "command": ["serve"],
    "env": {"B": "1", "A": "1"},
    "data": {"mountPath": "/data"},
    "resources": {"memory": "1Gi", "cpus": 1, "pids": 100, "shm": "64Mi"},
    "security": {"user": "1001", "capAdd": ["SYS_NICE", "KILL"], "readOnlyRoot": True},
}
HASH = wanted_of(template(**FULL), alice()).hash


def overriding(**overrides: Any) -> UserContainer:
    user = alice()
    spec = user.spec.model_copy(update={"overrides": Overrides.model_validate(overrides)})
    return user.replaced(spec=spec)


def test_a_template_becomes_one_spec() -> None:
    spec = wanted_of(template(**FULL), alice()).spec
    assert (spec.image, spec.command, spec.user) == ("demo:1", ("serve",), "1001")
    assert spec.env == (("A", "1"), ("B", "1"))
    assert spec.cap_add == ("KILL", "SYS_NICE")
    assert (spec.memory_bytes, spec.pids, spec.shm_bytes) == (1 << 30, 100, 64 << 20)
    assert (spec.data_mount_path, spec.read_only_root) == ("/data", True)


OVERRIDES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an image": ({"image": "demo:2"}, {"image": "demo:2"}),
    "one variable, the others stay": ({"env": {"A": "2"}}, {"env": (("A", "2"), ("B", "1"))}),
    "memory, the other limits stay": (
        {"resources": {"memory": "2Gi"}},
        {"memory_bytes": 2 << 30, "cpus": 1.0, "pids": 100},
    ),
    "cpus": ({"resources": {"cpus": 0.5}}, {"cpus": 0.5, "memory_bytes": 1 << 30}),
}


@pytest.mark.parametrize(("overrides", "says"), OVERRIDES.values(), ids=OVERRIDES.keys())
def test_a_user_may_override(overrides: dict[str, Any], says: dict[str, Any]) -> None:
    spec = wanted_of(template(**FULL), overriding(**overrides)).spec
    assert {name: getattr(spec, name) for name in says} == says


SAME_CONTAINER: dict[str, dict[str, Any]] = {
    "probes": {"probes": {"liveness": {"periodSeconds": 99}}},
    "routes": {"routes": [{"path": "/x"}]},
    "retention": {"data": {"mountPath": "/data", "retainDays": 1}},
    "the pull policy": {"pull": "Always"},
    "the order of variables": {"env": {"A": "1", "B": "1"}},
}


@pytest.mark.parametrize("change", SAME_CONTAINER.values(), ids=SAME_CONTAINER.keys())
def test_no_new_container_is_needed_for(change: dict[str, Any]) -> None:
    assert (
        wanted_of(template(**FULL), alice()).hash == wanted_of(template(**{**FULL, **change}), alice()).hash
    )


NEW_CONTAINER: dict[str, dict[str, Any]] = {
    "an image": {"image": "demo:2"},
    "a command": {"command": ["serve", "--fast"]},
    "a variable": {"env": {"A": "1", "B": "2"}},
    "a port": {"port": 8081},
    "a limit": {"resources": {"memory": "1Gi", "cpus": 1, "pids": 101, "shm": "64Mi"}},
    "a mount": {"data": {"mountPath": "/other"}},
    "a user": {"security": {"user": "1002", "capAdd": ["SYS_NICE", "KILL"], "readOnlyRoot": True}},
    "a capability": {"security": {"user": "1001", "capAdd": ["KILL"], "readOnlyRoot": True}},
    "a runtime": {
        "security": {"user": "1001", "capAdd": ["SYS_NICE", "KILL"], "readOnlyRoot": True, "runtime": "runsc"}
    },
}


@pytest.mark.parametrize("change", NEW_CONTAINER.values(), ids=NEW_CONTAINER.keys())
def test_a_new_container_is_needed_for(change: dict[str, Any]) -> None:
    assert (
        wanted_of(template(**FULL), alice()).hash != wanted_of(template(**{**FULL, **change}), alice()).hash
    )
