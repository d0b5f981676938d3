"""The engine's own disk, which all containers share: its quotas hold, and it is told that it fills.

On btrfs, which both engines know how to limit a layer on, and whose quotas every kernel of Debian's has.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from mcpgw.bootstrap import debian
from mcpgw.bootstrap.command import found
from mcpgw.testing.house import until
from mcpgw.testing.workload import demo_template
from state.kinds.resource import ConditionType
from tests.e2e.conftest import HOLD_S, opened
from tests.e2e.hand import API_VERSION, hand_at
from tests.e2e.own_engine import own_engine
from tests.isolation.conftest import BOB, MALLORY, Ward

pytestmark = pytest.mark.engine

MIB = 1 << 20
DISK_MIB, FREE_MIN_MIB = 2048, 512
LIMIT_MIB, OVER_MIB = 32, 128
COMMAND_S_MAX = 60.0
LOOKED_S_MAX = 60.0
FILL = """
def fill():
    with open("/tmp/fill", "wb", buffering=0) as file:
        for written in range(over_mib):
            said["mebibytes"] = str(written)
            file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
attempt("fill", fill)
os.unlink("/tmp/fill")
"""


@contextmanager
def btrfs_at(folder: Path, image: Path) -> Iterator[None]:
    """A file system of its own, in a file."""
    folder.mkdir()
    if found("mkfs.btrfs") is None:
        debian.install(("btrfs-progs",), why="a disk with quotas")
    with image.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    for command in (("mkfs.btrfs", "--quiet", image), ("mount", "-o", "loop", image, folder)):
        subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_S_MAX)
    try:
        yield
    finally:  # the engine has unmounted what is below its folder, and this with it
        subprocess.run(("umount", "--lazy", "--quiet", folder), check=False, timeout=COMMAND_S_MAX)
        image.unlink()


@pytest.fixture(scope="module", params=["docker", "podman"])
def ward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Where a template leaves the root writable."""
    folder = tmp_path_factory.mktemp("engine")
    with (
        btrfs_at(folder / "data", folder / "disk"),
        own_engine(request.param, folder, "--storage-driver=btrfs") as engine,
    ):
        settings = {
            "CONTAINER_ADDRESSING": "network",
            "CONTAINER_SUBNET_PREFIX": engine.subnet_prefix,
            "CEILING_DISK_FREE_MIN": f"{FREE_MIN_MIB}Mi",
            "HOLD_TIMEOUT_S": str(HOLD_S),
        }
        with (
            opened(engine.engine, tmp_path_factory.mktemp("own"), settings, begin="nothing") as house,
            hand_at(engine.engine) as hand,
        ):
            text = demo_template(house.image).replace("shm: 16Mi", f"shm: 16Mi, disk: {LIMIT_MIB}Mi")
            house.write_manifest("demo.yaml", text.replace("readOnlyRoot: true", "readOnlyRoot: false"))
            house.start()
            until(lambda: hand.has_network(house.project), "the project's network stands")
            engine.route()
            api = docker.APIClient(base_url=engine.url, version=API_VERSION, timeout=120)
            try:
                yield Ward(house, api)
            finally:
                api.close()


def test_what_a_container_writes_outside_of_its_data_ends_at_the_engines_quota(ward: Ward) -> None:
    """A limit that is smaller than the image itself, which btrfs counts as well."""
    bobs = ward.house.serve(BOB)
    ward.house.serve(MALLORY)
    image_bytes = ward.api.inspect_image(ward.inspect(MALLORY)["Image"])["Size"]
    assert image_bytes > LIMIT_MIB * MIB
    told = ward.inside(FILL, over_mib=OVER_MIB)
    assert told["fill"] == "refused: EDQUOT"
    assert LIMIT_MIB / 2 < int(told["mebibytes"]) <= LIMIT_MIB + image_bytes / MIB / 8
    ward.neighbour_is_well(bobs)
    ward.is_served_again()


@pytest.mark.fault(14)
def test_an_engines_disk_that_fills_is_named_and_nothing_is_made_on_it(ward: Ward) -> None:
    house, engine_disk = ward.house, Path(ward.api.info()["DockerRootDir"])
    served = house.serve(BOB)
    said = lambda: house.reconcilers_condition(ConditionType.DEGRADED)  # noqa: E731 (read again and again)
    ballast = engine_disk / "ballast"
    with ballast.open("wb") as file:
        free_bytes = os.statvfs(engine_disk).f_bavail * os.statvfs(engine_disk).f_frsize
        os.posix_fallocate(file.fileno(), 0, free_bytes - FREE_MIN_MIB // 2 * MIB)
    until(lambda: said().startswith("True DiskFull"), "the full disk is told", LOOKED_S_MAX)
    assert f"left where the engine keeps its containers ({engine_disk})" in said()
    assert "CEILING_DISK_FREE_MIN" in said()
    told = house.call("carol", "whoami")
    assert (told.status, told.message["reason"]) == (503, "DiskFull")
    assert house.serve(BOB) == served, "who has a container keeps it"
    ballast.unlink()
    house.serve("carol")
