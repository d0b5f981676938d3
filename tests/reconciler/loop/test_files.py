"""Files in a directory that somebody else owns and tampers with: nothing outside of it is ever touched."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.core.actions import FileText
from reconciler.core.errors import TransientError
from reconciler.loop import files
from reconciler.loop.directories import HostDirectories
from reconciler.loop.files import write_files

USER = "1234:5678"
NEW = FileText("a/b/proxies.yaml", b"new")
FLAT = FileText("proxies.yaml", b"new")
ROUNDS = 300


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "data"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a workload would like to have overwritten, or given to it."""
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o700)
    (folder / "proxies.yaml").write_text("untouched")
    return folder


def is_untouched(outside: Path) -> bool:
    inside = outside / "proxies.yaml"
    owners = {outside.stat().st_uid, inside.stat().st_uid}
    return [one.name for one in outside.iterdir()] == ["proxies.yaml"] and (
        inside.read_text() == "untouched" and owners == {os.getuid()}
    )


def test_a_file_is_the_workloads_user_and_can_be_read_by_it(data: Path) -> None:
    assert write_files(data, [NEW], USER) == ""
    for path in (data / "a", data / "a" / "b", data / "a" / "b" / "proxies.yaml"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678), path
    file = data / "a" / "b" / "proxies.yaml"
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o644)
    assert [one.name for one in file.parent.iterdir()] == ["proxies.yaml"], "no draft is left"


def test_what_says_so_already_is_left_as_it_is(data: Path) -> None:
    write_files(data, [FLAT], USER)
    before = (data / "proxies.yaml").stat().st_ino
    write_files(data, [FLAT], USER)
    assert (data / "proxies.yaml").stat().st_ino == before
    write_files(data, [FileText("proxies.yaml", b"old")], USER)
    assert (data / "proxies.yaml").stat().st_ino != before


def link_to_the_file(data: Path, outside: Path) -> None:
    (data / "proxies.yaml").symlink_to(outside / "proxies.yaml")


def link_to_nothing(data: Path, outside: Path) -> None:
    (data / "proxies.yaml").symlink_to(outside / "none.yaml")


def hard_link(data: Path, outside: Path) -> None:
    (data / "proxies.yaml").hardlink_to(outside / "proxies.yaml")


def pipe(data: Path, outside: Path) -> None:
    del outside
    os.mkfifo(data / "proxies.yaml")


def link_to_a_directory(data: Path, outside: Path) -> None:
    (data / "proxies.yaml").symlink_to(outside)


@pytest.mark.parametrize("plant", [link_to_the_file, link_to_nothing, hard_link, pipe, link_to_a_directory])
def test_what_has_the_files_place_is_replaced_and_not_followed(
    data: Path, outside: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(data, outside)
    assert write_files(data, [FLAT], USER) == ""
    file = data / "proxies.yaml"
    assert file.read_bytes() == b"new"
    assert stat.S_ISREG(file.lstat().st_mode)
    assert is_untouched(outside)


def directory_in_place(data: Path, outside: Path) -> None:
    del outside
    (data / "a" / "b" / "proxies.yaml" / "x").mkdir(parents=True)


def link_on_the_way(data: Path, outside: Path) -> None:
    (data / "a").mkdir()
    (data / "a" / "b").symlink_to(outside)


def first_link_on_the_way(data: Path, outside: Path) -> None:
    (outside / "b").symlink_to(outside)
    (data / "a").symlink_to(outside)


def file_on_the_way(data: Path, outside: Path) -> None:
    del outside
    (data / "a").write_text("a file")


@pytest.mark.parametrize(
    "plant", [directory_in_place, link_on_the_way, first_link_on_the_way, file_on_the_way]
)
def test_what_stands_in_the_way_stays_and_is_said_and_the_others_are_written(
    data: Path, outside: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(data, outside)
    said = write_files(data, [NEW, FLAT], USER)
    assert said.startswith("a/b/proxies.yaml: ")
    assert "remove it" in said
    assert (data / "proxies.yaml").read_bytes() == b"new"
    (outside / "b").unlink(missing_ok=True)
    assert is_untouched(outside)


@contextmanager
def tampering(step: Callable[[], None]) -> Iterator[None]:
    """Somebody who repeats ``step`` as fast as they can, all the while."""
    over = threading.Event()

    def tamper() -> None:
        while not over.is_set():
            try:
                step()
            except OSError:
                continue

    busy = threading.Thread(target=tamper)
    busy.start()
    try:
        yield
    finally:
        over.set()
        busy.join()


def test_who_swaps_things_meanwhile_gets_nothing_of_the_outside(data: Path, outside: Path) -> None:
    """Directories, the file and the draft are exchanged for links while they are being written."""
    aside = data / "aside"

    def swap() -> None:
        way = data / "a"
        way.rename(aside)
        way.symlink_to(outside)
        for draft in data.rglob(".mcpgw-*"):
            draft.unlink()
            draft.symlink_to(outside / "proxies.yaml")
        way.unlink()
        aside.rename(way)

    (data / "a" / "b").mkdir(parents=True)
    with tampering(swap):
        for number in range(ROUNDS):
            write_files(data, [FileText("a/b/proxies.yaml", str(number).encode())], USER)
    assert is_untouched(outside)


DRAFT = f".mcpgw-{'0' * 24}"


def test_drafts_that_a_crash_left_are_removed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt  # nothing that is cleaned up after

    with monkeypatch.context() as crashing:
        crashing.setattr(os, "rename", crash)
        for file in (NEW, FLAT):
            with pytest.raises(KeyboardInterrupt):
                write_files(data, [file], USER)
    assert len(list(data.rglob(".mcpgw-*"))) == 2
    assert write_files(data, [NEW, FLAT], USER) == ""
    assert list(data.rglob(".mcpgw-*")) == []
    (data / DRAFT).touch()
    write_files(data, [FLAT], USER)
    assert not (data / DRAFT).exists(), "also where nothing is to be written"


def test_what_has_a_drafts_name_is_removed_and_never_followed(data: Path, outside: Path) -> None:
    (data / DRAFT).symlink_to(outside / "proxies.yaml")
    os.link(outside / "proxies.yaml", data / DRAFT.replace("0", "1"))
    (data / DRAFT.replace("0", "2")).symlink_to(outside)
    own = [data / DRAFT.replace("0", "3"), data / f"{DRAFT}.txt", data / ".mcpgw-notes"]
    own[0].mkdir()
    for one in own[1:]:
        one.touch()
    assert write_files(data, [FLAT], USER) == ""
    assert sorted(data.iterdir()) == sorted([*own, data / "proxies.yaml"])
    assert is_untouched(outside)


def test_a_folder_of_no_end_is_not_read_to_its_end(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ENTRIES_LOOKED_MAX", 5)
    for number in range(20):
        (data / f".mcpgw-{number:024x}").touch()
    assert write_files(data, [FLAT], USER) == ""
    assert len(list(data.glob(".mcpgw-*"))) == 15


def test_a_path_that_leads_out_is_never_begun(data: Path, outside: Path) -> None:
    for path in ("../outside/proxies.yaml", "a/../../outside/proxies.yaml", str(outside / "proxies.yaml")):
        with pytest.raises(AssertionError, match="stays below"):
            write_files(data, [FileText(path, b"new")], USER)
    assert is_untouched(outside)


def test_who_may_not_give_it_away_lets_it_be_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    assert write_files(data, [FLAT], USER) == ""
    assert stat.S_IMODE((data / "proxies.yaml").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "DiskFull"), (errno.EROFS, "DataDirectoryUnusable")]
)
async def test_a_disk_that_takes_nothing_is_said_and_leaves_the_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    directories, home = HostDirectories(tmp_path), "a" * 26
    data = tmp_path / home / "data"
    data.mkdir(parents=True)
    await directories.write(home, [FileText("proxies.yaml", b"old")], USER)

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TransientError) as raised:
        await directories.write(home, [FLAT], USER)
    assert raised.value.reason == reason
    assert (data / "proxies.yaml").read_bytes() == b"old"
    assert [one.name for one in data.iterdir()] == ["proxies.yaml"]


async def test_a_home_without_data_is_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="No such file"):
        await HostDirectories(tmp_path).write("a" * 26, [FLAT], USER)
