"""Whether limits hold, by what engines say of themselves: answers of ``/info``, seen or documented."""

import pytest

from reconciler.core.confinement import Confinement
from reconciler.engine.cgroups import confinement
from reconciler.engine.client import Json

EVERYTHING = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
SECCOMP = "name=seccomp,profile=default"

# Seen: Docker 20.10.24 and Podman 4.3.1, as root under cgroup v1.
DOCKER_V1 = {**EVERYTHING, "CgroupVersion": "1", "CgroupDriver": "cgroupfs", "SecurityOptions": [SECCOMP]}
PODMAN_V1 = {**DOCKER_V1, "Rootless": False}
# Seen: Podman 4.3.1 of a user's. It says of limits what root would get.
PODMAN_V1_ROOTLESS = {**PODMAN_V1, "Rootless": True}
# Seen by others: Docker 26.1 as root under systemd; the options of a rootless one, docs.docker.com.
DOCKER_V2 = {
    **EVERYTHING,
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "SecurityOptions": [SECCOMP, "name=cgroupns"],
}
DOCKER_V2_ROOTLESS = {**DOCKER_V2, "CpuCfsQuota": False, "SecurityOptions": [SECCOMP, "name=rootless"]}
DOCKER_V1_ROOTLESS = {
    "CgroupVersion": "1",
    "CgroupDriver": "none",
    **dict.fromkeys(EVERYTHING, False),
    "SecurityOptions": [SECCOMP, "name=rootless"],
}
PODMAN_V2_ROOTLESS = {**PODMAN_V1, "Rootless": True, "CgroupVersion": "2", "CgroupDriver": "systemd"}

ALL = ("memory", "cpus", "pids")


@pytest.mark.parametrize(
    ("info", "found", "can_freeze", "reason"),
    [
        pytest.param(DOCKER_V1, Confinement(False, "1"), True, "Enforced", id="Docker, root, v1"),
        pytest.param(DOCKER_V2, Confinement(False, "2"), True, "Enforced", id="Docker, root, v2"),
        pytest.param(PODMAN_V1, Confinement(False, "1"), True, "Enforced", id="Podman, root, v1"),
        pytest.param(
            PODMAN_V1_ROOTLESS,
            Confinement(True, "1", ALL),
            False,
            "RootlessCgroupV1",
            id="Podman, rootless, v1",
        ),
        pytest.param(PODMAN_V2_ROOTLESS, Confinement(True, "2"), True, "Enforced", id="Podman, rootless, v2"),
        pytest.param(
            DOCKER_V1_ROOTLESS,
            Confinement(True, "1", ALL),
            False,
            "RootlessCgroupV1",
            id="Docker, rootless, v1",
        ),
        pytest.param(
            DOCKER_V2_ROOTLESS,
            Confinement(True, "2", ("cpus",)),
            True,
            "RootlessUndelegated",
            id="no cpu for the user",
        ),
        pytest.param(
            {**DOCKER_V1, "MemoryLimit": False},
            Confinement(False, "1", ("memory",)),
            True,
            "ControllersMissing",
            id="no memory",
        ),
        pytest.param({}, Confinement(), True, "Enforced", id="says nothing"),
        pytest.param(
            {"SecurityOptions": None, "CgroupVersion": None}, Confinement(), True, "Enforced", id="says null"
        ),
    ],
)
def test_what_holds_is_read_from_the_engines_own_word(
    info: Json, found: Confinement, can_freeze: bool, reason: str
) -> None:
    assert confinement(info) == found
    assert found.can_freeze is can_freeze
    assert found.reason == reason
    assert all(name in found.message for name in found.unlimited)
    assert bool(found.message) is bool(found.unlimited)
