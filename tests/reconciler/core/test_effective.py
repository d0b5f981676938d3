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


PROXY = "http://10.211.8.2:3128"
BY_PROXY: dict[str, Any] = {**FULL, "security": {**FULL["security"], "egress": "Proxy"}}


def test_what_may_go_to_the_proxy_alone_is_told_of_it_in_every_spelling() -> None:
    env = dict(wanted_of(template(**BY_PROXY), alice(), None, PROXY).spec.env)
    assert {name.upper() for name in env if name not in FULL["env"]} == {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    }
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        assert env[name] == PROXY
    assert "localhost" in env["NO_PROXY"].split(",")
    assert env["no_proxy"] == env["NO_PROXY"]


def test_a_template_may_name_its_own_exceptions_from_the_proxy() -> None:
    own = {**BY_PROXY, "env": {"NO_PROXY": "db.example"}}
    assert dict(wanted_of(template(**own), alice(), None, PROXY).spec.env)["NO_PROXY"] == "db.example"


@pytest.mark.parametrize("egress", ["Internet", "None"])
def test_nobody_else_hears_of_the_proxy(egress: str) -> None:
    spec = wanted_of(template(security={"egress": egress}), alice(), None, PROXY).spec
    assert (spec.egress, spec.env) == (egress, ())


def test_another_proxy_means_another_container_for_those_who_have_to_use_it() -> None:
    def hash_with(proxy: str) -> str:
        return wanted_of(template(**BY_PROXY), alice(), None, proxy).hash

    assert hash_with(PROXY) != hash_with("http://10.211.8.3:3128")


def test_what_was_made_before_there_were_zones_is_not_replaced() -> None:
    """The hash of a template that says nothing of them, as it was then."""
    assert wanted_of(template(), alice()).hash == "0a778961c25891a8a42e214c3a715227"


SAME_CONTAINER: dict[str, dict[str, Any]] = {
    "probes": {"probes": {"liveness": {"periodSeconds": 99}}},
    "routes": {"routes": [{"path": "/x"}]},
    "retention": {"data": {"mountPath": "/data", "retainDays": 1}},
    "the pull policy": {"pull": "Always"},
    "the internet, which is what there was": {"security": {**FULL["security"], "egress": "Internet"}},
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
    "another way out": {"security": {**FULL["security"], "egress": "None"}},
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
