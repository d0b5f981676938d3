"""Podman without root, and the whole gateway run by the same user: it works, and what is missing is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.testing.house import House, until
from reconciler.core.confinement import Confinement
from reconciler.core.errors import TransientError
from reconciler.engine.port import Addressing
from state.kinds.resource import ConditionType
from tests.e2e.conftest import opened
from tests.e2e.hand import hand_at
from tests.other_user import open_folder
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import created, seat
from tests.rootless import RootlessPodman, rootless_podman

pytestmark = pytest.mark.engine

SERVED_S_MAX = 240.0  # without fuse, each container is a copy of the image


@pytest.fixture(scope="module")
def podman() -> Iterator[RootlessPodman]:
    with open_folder() as folder, rootless_podman(folder) as service:
        yield service


@pytest.fixture(scope="module")
def house(podman: RootlessPodman) -> Iterator[House]:
    """Run by the user, who finds their own socket as a sign-in says where."""
    settings = {**podman.environment, podman.engine.setting: "", "REQUIRE_ISOLATION": "false"}
    with open_folder() as folder, opened(podman.engine, folder, settings, begin="nothing") as built:
        podman.user.give(folder)
        for program in (built.gateway, built.reconciler):
            program.prefix = podman.user.words
        built.start()
        yield built


def test_a_user_without_root_has_containers_with_data_that_stays(
    house: House, podman: RootlessPodman
) -> None:
    until(lambda: house.call("alice", "disk", text="kept").status == 200, "alice is served", SERVED_S_MAX)
    name = house.container_name("alice")
    with hand_at(podman.engine) as hand:
        before = hand.id_of(name)
        hand.remove(name)
        until(lambda: hand.id_of(name) not in (None, before), "there is another container", SERVED_S_MAX)
    until(lambda: house.call("alice", "whoami").status == 200, "alice is served again", SERVED_S_MAX)
    assert house.call("alice", "disk").result["result"] == "kept"


def test_what_no_user_gets_from_the_machine_is_told(house: House, podman: RootlessPodman) -> None:
    """No fence around it; and limits as its cgroups allow."""
    told = house.mcpgw("status").stdout
    assert "RootlessEngine: " in told
    said = house.reconcilers_condition(ConditionType.LIMITS_ENFORCED)
    with hand_at(podman.engine) as hand:
        version = str(hand.about()["CgroupVersion"])
    if Confinement(is_rootless=True, cgroup_version=version).can_freeze:
        assert said.startswith(("True Enforced", "False RootlessUndelegated"))
    else:
        assert said.startswith("False RootlessCgroupV1")
        assert "memory, cpus, pids of containers are not limited" in told


async def test_data_that_the_engines_user_may_not_enter_is_a_reason(
    podman: RootlessPodman, project_name: str, tmp_path: Path
) -> None:
    """As where somebody else runs the reconciler."""
    tmp_path.chmod(0o700)
    rig = RealRig(podman.engine, project_name, Addressing.PUBLISH, tmp_path)
    await rig.open()
    try:
        with pytest.raises(TransientError) as caught:
            await created(rig, seat(rig))
    finally:
        await rig.close()
    assert caught.value.reason == "DataPathForbidden"
    assert "has to be its user's who runs the reconciler" in str(caught.value)
