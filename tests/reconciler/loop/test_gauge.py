"""What data takes, counted on a real disk: every block once, no link followed, hostile trees in bounds."""

import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from reconciler.core.world import DiskUse
from reconciler.loop import gauge
from reconciler.loop.gauge import DEPTH_MAX, HostGauge, counted

MIB = 1 << 20
NO_LIMIT = 1 << 50
HOME = "a" * 26


def fill(path: Path, size_bytes: int) -> Path:
    path.write_bytes(os.urandom(size_bytes))
    return path


def bytes_of(root: Path, bytes_max: int = NO_LIMIT) -> int:
    use = counted(root, bytes_max)
    assert use is not None
    assert not use.beyond
    return use.bytes_used


def test_every_directory_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    fill(tmp_path / "x", MIB)
    fill(tmp_path / "a" / "y", MIB)
    fill(tmp_path / "a" / "b" / "z", MIB)
    assert 3 * MIB <= bytes_of(tmp_path) < 4 * MIB


def test_a_file_with_holes_takes_what_it_has(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert bytes_of(tmp_path) < MIB


def test_a_file_of_several_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "one", MIB)
    for number in range(20):
        os.link(tmp_path / "one", tmp_path / f"two-{number}")
    assert bytes_of(tmp_path) < 2 * MIB


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    fill(outside / "secret", 4 * MIB)
    (root / "directory").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "loop").symlink_to(root)
    assert bytes_of(root) < MIB
    assert counted(root / "directory", NO_LIMIT) is None, "nor is one in the place of the data itself"


def test_a_directory_that_turns_into_a_link_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between being seen and being opened, as a workload may do at any moment."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    fill(outside / "secret", 4 * MIB)
    (root / "a").mkdir(parents=True)
    enter = gauge._Level.below

    def swapped(level: gauge._Level, name: str) -> list[gauge._Level]:
        (root / name).rmdir()
        (root / name).symlink_to(outside)
        return enter(level, name)

    monkeypatch.setattr(gauge._Level, "below", swapped)
    assert bytes_of(root) < MIB
    assert (root / "a").is_symlink(), "it was swapped"


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert bytes_of(tmp_path) < MIB


def test_counting_ends_a_little_over_the_limit(tmp_path: Path) -> None:
    for number in range(50):
        fill(tmp_path / f"{number}", 64 << 10)
    use = counted(tmp_path, MIB)
    assert use is not None
    assert MIB < use.bytes_used <= MIB + (64 << 10) + 4096


def test_more_entries_than_can_be_counted_are_too_many(tmp_path: Path) -> None:
    for number in range(101):
        (tmp_path / f"{number}").touch()
    enough = counted(tmp_path, NO_LIMIT, entries_max=101)
    assert enough is not None
    assert not enough.beyond
    use = counted(tmp_path, NO_LIMIT, entries_max=100)
    assert use is not None
    assert use.beyond == "more than 100 files and directories"


@pytest.fixture
def out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody counts anything in time, and a hundred entries are many."""
    seen = itertools.count()

    def late() -> float:
        """The deadline's own look at the clock, then one for each entry: time is over with the sixtieth."""
        return 0.0 if next(seen) < 60 else gauge.COUNT_S_MAX + 1

    monkeypatch.setattr(gauge.time, "monotonic", late)


@pytest.mark.usefixtures("out_of_time")
def test_many_files_that_are_not_counted_in_time_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        (tmp_path / f"{number}").touch()
    monkeypatch.setattr(gauge, "ENTRIES_SLOW_MIN", 50)
    use = counted(tmp_path, NO_LIMIT)
    assert use is not None
    assert use.beyond == "more files than can be counted in 120 s"


@pytest.mark.usefixtures("out_of_time")
def test_few_files_that_are_not_counted_in_time_are_unknown(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}").touch()
    assert counted(tmp_path, NO_LIMIT) is None, "the disk is slow, which is not their doing"


async def test_what_the_count_says_at_its_deadline_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauge, "COUNT_S_MAX", 0.05)

    def ends_at_its_deadline(*_: object, **__: object) -> DiskUse:
        time.sleep(0.2)
        return DiskUse(1, "more files than can be counted")

    monkeypatch.setattr(gauge, "counted", ends_at_its_deadline)
    host = HostGauge(tmp_path)
    try:
        use = await host.use(HOME, NO_LIMIT)
    finally:
        host.close()
    assert use == DiskUse(1, "more files than can be counted")


def test_more_depth_than_can_be_counted_is_too_much(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEPTH_MAX + 1):  # deeper than any path can say
        os.mkdir("d" * 200, dir_fd=descriptor)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    before = _open_count()
    use = counted(tmp_path, NO_LIMIT)
    assert use is not None
    assert f"{DEPTH_MAX} directories" in use.beyond
    assert _open_count() == before, "every level was closed"


def test_data_that_was_removed_by_hand_takes_nothing(tmp_path: Path) -> None:
    assert counted(tmp_path / "data", NO_LIMIT) == DiskUse(0)


def test_what_is_not_there_with_its_home_is_unknown(tmp_path: Path) -> None:
    assert counted(tmp_path / "home" / "data", NO_LIMIT) is None


def test_counting_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert counted(tmp_path, NO_LIMIT, is_over=lambda: True) is None


async def test_a_home_is_measured_by_its_data_alone(tmp_path: Path) -> None:
    data = tmp_path / HOME / "data"
    data.mkdir(parents=True)
    fill(tmp_path / HOME / "claim.json", 2 * MIB)
    fill(data / "x", MIB)
    host = HostGauge(tmp_path)
    use, [room] = await host.use(HOME, NO_LIMIT), await host.rooms()
    host.close()
    assert use is not None
    assert MIB <= use.bytes_used < 2 * MIB
    assert "HOST_DATA_DIR" in room.where
    assert room.free_bytes > 0


async def rooms_where(said: str, tmp_path: Path) -> list[str]:
    host = HostGauge(tmp_path, lambda: said)
    try:
        return [one.where for one in await host.rooms()]
    finally:
        host.close()


async def test_the_engines_disk_has_to_have_room_as_well(tmp_path: Path) -> None:
    assert await rooms_where("", tmp_path) == [gauge.OF_DATA]
    layers = tmp_path / "layers"
    layers.mkdir()
    assert await rooms_where(str(layers), tmp_path) == [gauge.OF_DATA, gauge.OF_LAYERS.format(layers)]


async def test_in_a_container_its_own_root_is_on_the_engines_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen, mark = str(tmp_path / "unseen"), tmp_path / "mark"
    monkeypatch.setattr(gauge, "MARKS_OF_A_CONTAINER", (mark,))
    assert await rooms_where(unseen, tmp_path) == [gauge.OF_DATA], "elsewhere nobody can tell"
    assert await rooms_where(unseen, tmp_path / "no data") == [], "nor of data"
    mark.touch()
    assert await rooms_where(unseen, tmp_path / "no data") == [gauge.OF_LAYERS.format(unseen)]
    assert await rooms_where(unseen, tmp_path) == [gauge.OF_DATA, gauge.OF_LAYERS.format(unseen)]


async def test_a_disk_that_hangs_is_unknown_and_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = threading.Event()

    def hangs(*_: object, **__: object) -> None:
        mended.wait(60)

    monkeypatch.setattr(gauge, "COUNT_S_MAX", 0.05)
    monkeypatch.setattr(gauge, "ANSWER_S_MAX", 0.0)
    monkeypatch.setattr(gauge, "counted", hangs)
    host = HostGauge(tmp_path)
    before = threading.active_count()
    try:
        assert [await host.use(HOME, NO_LIMIT) for _ in range(5)] == [None] * 5
        assert await host.rooms(), "whether there is room is asked elsewhere"
        assert threading.active_count() <= before + 2
    finally:
        mended.set()
        host.close()


def _open_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
