"""Disks: data that takes more than it may, a disk that fills, and directories that cannot be written."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template, user_manifest, user_of
from state.kinds.resource import ConditionType, Metadata
from state.kinds.template import ContainerTemplate
from state.kinds.user_container import DATA_FINALIZER, UserContainer, UserContainerSpec
from state.store.port import Tx
from tests.e2e.conftest import HOLD_S, Opener, opened
from tests.e2e.test_bad_input import refused
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

MIB = 1 << 20
LOOKED_S_MAX = 150.0  # two rounds over everybody's data, and what follows, on a machine that is busy
QUIET_S = 5.0


def limited_to(image: str, disk: str) -> str:
    return demo_template(image).replace("shm: 16Mi", f"shm: 16Mi, disk: {disk}")


@pytest.fixture
def limited_house(real_engine: RealEngine, tmp_path: Path) -> Iterator[House]:
    """Where data may take 8 MiB."""
    with opened(real_engine, tmp_path, begin="nothing") as house:
        house.write_manifest("demo.yaml", limited_to(house.image, "8Mi"))
        house.start()
        yield house


def says(house: House, user: str, of: ConditionType, words: str) -> Callable[[], bool]:
    return lambda: house.reason(user, of) == words


def test_who_takes_too_much_sleeps_keeps_the_data_and_wakes_to_free_some(limited_house: House) -> None:
    house = limited_house
    house.serve("alice")
    home = house.home("alice")
    assert home is not None
    blob = house.homes / home.name / "data" / "blob"
    blob.write_bytes(os.urandom(16 * MIB))
    until(
        says(house, "alice", ConditionType.READY, "False OverDiskLimit"),
        "alice is put to sleep",
        LOOKED_S_MAX,
    )
    until(says(house, "alice", ConditionType.HIBERNATED, "True PutToSleep"), "nothing runs", LOOKED_S_MAX)
    assert blob.stat().st_size == 16 * MIB
    alice = house.user_container("alice")
    assert alice is not None
    assert "10 minutes" in house.mcpgw("explain", alice.name).stdout
    house.serve("alice")
    until(
        says(house, "alice", ConditionType.DEGRADED, "True OverDiskLimit"),
        "alice is told again",
        LOOKED_S_MAX,
    )
    assert house.reason("alice", ConditionType.READY) == "True Answers", "in the time that they have"
    blob.unlink()
    until(says(house, "alice", ConditionType.DEGRADED, "False AsExpected"), "it is well again", LOOKED_S_MAX)
    assert house.reason("alice", ConditionType.READY) == "True Answers"


def bring_without_template(house: House, user: str) -> None:
    """A user whose template is deleted once their container serves."""

    def come(tx: Tx) -> None:
        demo = tx.get(ContainerTemplate, "demo")
        assert demo is not None
        tx.create(ContainerTemplate(metadata=Metadata(name="brief"), spec=demo.spec))
        spec = UserContainerSpec(user=user_of(user), template="brief")
        tx.create(UserContainer(metadata=Metadata(name=user, finalizers=(DATA_FINALIZER,)), spec=spec))

    def go(tx: Tx) -> None:
        template = tx.get(ContainerTemplate, "brief")
        assert template is not None
        tx.delete(template)

    house.write(come)
    house.serve(user)
    house.write(go)


def test_neither_power_nor_a_template_that_is_gone_keeps_anybody_up_above_the_ceiling(
    open_house: Opener,
) -> None:
    with open_house({"CEILING_DISK": "8Mi"}) as house:
        house.write_manifest("alice.yaml", user_manifest("alice", power="Running"))
        until(lambda: house.user_container("alice"), "alice is declared")
        house.serve("alice")
        bring_without_template(house, "bob")
        for user in ("alice", "bob"):
            home = house.home(user)
            assert home is not None
            (house.homes / home.name / "data" / "blob").write_bytes(os.urandom(16 * MIB))
        for user in ("alice", "bob"):
            asleep = says(house, user, ConditionType.HIBERNATED, "True PutToSleep")
            until(asleep, f"{user} sleeps", LOOKED_S_MAX)
            assert house.reason(user, ConditionType.READY) == "False OverDiskLimit"
        assert "CEILING_DISK" in house.mcpgw("explain", "alice").stdout
        house.reconciler.kill()  # what it had counted is forgotten
        house.reconciler.start()
        house.wait_ready()
        time.sleep(QUIET_S)
        assert house.reason("alice", ConditionType.HIBERNATED) == "True PutToSleep"
        assert not house.incarnations("alice")
        house.serve("alice")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)


@pytest.mark.fault(14)
def test_on_a_disk_that_fills_nothing_is_made_all_runs_on_and_users_can_be_deleted(
    open_house: Opener, tmp_path: Path
) -> None:
    settings = {"CEILING_DISK_FREE_MIN": "32Mi", "HOLD_TIMEOUT_S": str(HOLD_S)}
    with (
        small_disk(tmp_path / "disk") as disk,
        open_house({**settings, "HOST_DATA_DIR": str(disk / "homes")}) as house,
    ):
        served = house.serve("alice")
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(40 * MIB))
        said = lambda: house.reconcilers_condition(ConditionType.DEGRADED)  # noqa: E731 (read again and again)
        until(lambda: said().startswith("True DiskFull"), "the full disk is told", LOOKED_S_MAX)
        assert "CEILING_DISK_FREE_MIN" in said()
        told = house.call("bob", "whoami")
        assert (told.status, told.message["reason"]) == (503, "DiskFull")
        assert house.serve("alice") == served, "who has a container keeps it"
        alice, home = house.user_container("alice"), house.home("alice")
        assert alice is not None and home is not None
        house.delete_users(alice.name)
        until(lambda: house.user_container("alice") is None, "alice is deleted", LOOKED_S_MAX)
        assert (house.homes / home.name / "data").is_dir(), "what was kept is put aside, not pruned"
        ballast.unlink()
        house.serve("bob")


def within_mounted(folder: Path, options: str, then: str = "true") -> tuple[str, ...]:
    """What runs a command where ``folder`` is a file system of its own, in a mount namespace of its own."""
    script = f'mount -t tmpfs -o {options} tmpfs {folder} && {then or "true"}; exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


@pytest.fixture
def idle_house(docker_engine: RealEngine, tmp_path: Path) -> Iterator[House]:
    """A house of which nothing runs: no engine matters to it."""
    with opened(docker_engine, tmp_path, begin="nothing") as house:
        yield house


@pytest.mark.parametrize("setting", ["HOST_DATA_DIR", "STATE_DIR"])
def test_a_read_only_disk_is_named_with_its_setting(idle_house: House, tmp_path: Path, setting: str) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    line = refused(idle_house, "reconciler", within_mounted(folder, "ro"), **{setting: str(folder)})
    assert f"{setting}=" in line
    assert "cannot be written (Read-only file system); make it writable" in line


def test_a_full_disk_is_named_with_its_setting(idle_house: House, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    filled = f"dd if=/dev/zero of={folder}/ballast bs=4k 2>/dev/null"
    prefix = within_mounted(folder, "size=64k", filled)
    line = refused(idle_house, "reconciler", prefix, HOST_DATA_DIR=str(folder))
    assert "the disk is full; free some room where HOST_DATA_DIR is" in line
