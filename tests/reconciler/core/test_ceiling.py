"""What the reconciler runs at the most, whatever a spec asks for."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.ceiling import Ceiling, violations
from reconciler.core.effective import wanted_of
from tests.reconciler.core.worlds import alice, template

CEILING = Ceiling(
    images=("demo:*", "registry.example/*"),
    memory_bytes_max=1 << 30,
    cpus_max=2,
    pids_max=512,
    shm_bytes_max=64 << 20,
    capabilities=("NET_BIND_SERVICE",),
    runtimes=("", "runsc"),
)
SPEC = wanted_of(template(), alice()).spec

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an image that no glob names": ({"image": "evil:1"}, "CEILING_IMAGES"),
    "an image whose name only contains an allowed one": ({"image": "x/demo:1"}, "CEILING_IMAGES"),
    "more memory": ({"memory_bytes": (1 << 30) + 1}, "CEILING_MEMORY"),
    "more cpus": ({"cpus": 2.1}, "CEILING_CPUS"),
    "more processes": ({"pids": 513}, "CEILING_PIDS"),
    "more shared memory": ({"shm_bytes": (64 << 20) + 1}, "CEILING_SHM"),
    "memory without a limit": ({"memory_bytes": 0}, "memory 0 is no limit"),
    "cpus that round to no limit": ({"cpus": 1e-10}, "cpus 1e-10 is no limit"),
    "processes without a limit": ({"pids": 0}, "pids 0 is no limit"),
    "another capability": ({"cap_add": ("NET_BIND_SERVICE", "SYS_ADMIN")}, "CEILING_CAPABILITIES"),
    "another runtime": ({"runtime": "crun"}, "CEILING_RUNTIMES"),
    "root": ({"user": "0"}, "security.user"),
    "root spelled with more zeros": ({"user": "000:1000"}, "security.user"),
    "data over the image's programs": ({"data_mount_path": "/usr"}, "data.mountPath"),
    "data over the image's accounts": ({"data_mount_path": "/etc/"}, "data.mountPath"),
    "data over everything": ({"data_mount_path": "/"}, "data.mountPath"),
    "data over everything, spelled longer": ({"data_mount_path": "/app/.."}, "data.mountPath"),
    "data below the image's programs": ({"data_mount_path": "/usr/bin"}, "data.mountPath"),
    "data over devices, spelled longer": ({"data_mount_path": "//dev"}, "data.mountPath"),
}

ALLOWED: dict[str, dict[str, Any]] = {
    "the template as it is": {},
    "all that there is": {"memory_bytes": 1 << 30, "cpus": 2.0, "pids": 512, "shm_bytes": 64 << 20},
    "an allowed capability": {"cap_add": ("NET_BIND_SERVICE",)},
    "an allowed runtime": {"runtime": "runsc"},
    "an image of an allowed registry": {"image": "registry.example/team/app@sha256:00"},
    "data of its own": {"data_mount_path": "/app/data"},
    "data below a home directory": {"data_mount_path": "/home/user"},
    "data beside an image's programs": {"data_mount_path": "/usr/src/app"},
    "data that only begins like a refused path": {"data_mount_path": "/etcetera"},
    "no data": {"data_mount_path": ""},
    "a user and a group": {"user": "1000:0"},
}


@pytest.mark.parametrize(("change", "setting"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_is(change: dict[str, Any], setting: str) -> None:
    reasons = violations(replace(SPEC, **change), CEILING)
    assert len(reasons) == 1
    assert setting in reasons[0]


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED.keys())
def test_allowed_is(change: dict[str, Any]) -> None:
    assert violations(replace(SPEC, **change), CEILING) == ()


def test_every_reason_is_told_at_once() -> None:
    assert len(violations(replace(SPEC, image="evil:1", cpus=99.0, user="0"), CEILING)) == 3
