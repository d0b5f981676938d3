"""Root opens another user's store with that user's rights: what lies there is followed no further."""

import asyncio
import ctypes
import os
import sqlite3
import stat
import struct
from contextlib import closing, suppress
from pathlib import Path

import pytest

from state.settings import usable_directory
from state.store import open_store, rights
from state.store.errors import StoreError
from state.store.opening import DOORBELLS
from tests.state.store.objects import created

OWNER = 10001
MAGIC = bytes.fromhex("d9d505f920a163d7")
SECTOR_BYTES = 512
PENDING_BYTE = 0x40000000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state's folder, another user's, where everybody can get to it."""
    for one in (tmp_path, *tmp_path.parents):
        if one.is_relative_to("/tmp") and one != Path("/tmp"):
            one.chmod(0o711)
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, OWNER, OWNER)
    folder.chmod(0o2770)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """What root alone may touch."""
    homes = tmp_path / "homes"
    homes.mkdir(mode=0o700)
    claim = homes / "claim.json"
    claim.write_text("whose it is")
    claim.chmod(0o600)
    return claim


async def made(folder: Path) -> str:
    url = f"sqlite:///{folder}/state.db"
    await (await open_store(url)).close()
    return url


def hot_journal(database: Path, doomed: Path) -> bytes:
    """A journal whose rollback ends with the deletion of ``doomed``.

    Source: https://www.sqlite.org/fileformat.html, "The Rollback Journal", with a super-journal's name.
    """
    with closing(sqlite3.connect(database)) as connection:
        ((page_bytes,),) = connection.execute("PRAGMA page_size").fetchall()
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    head = MAGIC + struct.pack(">IIIII", 0, 0, pages, SECTOR_BYTES, page_bytes)
    name = os.fsencode(doomed)
    names = struct.pack(">I", PENDING_BYTE // page_bytes + 1) + name
    names += struct.pack(">II", len(name), sum(name)) + MAGIC
    return head.ljust(SECTOR_BYTES, b"\0") + names


async def opened_with_journal(folder: Path, kept: Path) -> None:
    url = await made(folder)
    journal = folder / "state.db-journal"
    journal.write_bytes(hot_journal(folder / "state.db", kept))
    os.chown(journal, OWNER, OWNER)
    with suppress(StoreError):  # who owns the folder may break their own store
        await (await open_store(url)).close()


async def test_a_journal_deletes_nothing_that_its_owner_could_not(folder: Path, kept: Path) -> None:
    await opened_with_journal(folder, kept)
    assert kept.read_text() == "whose it is"


async def test_without_laying_rights_down_it_would(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "_ROOT", -1)  # nobody is root
    await opened_with_journal(folder, kept)
    assert not kept.exists()


async def test_a_link_in_the_doorbells_place_is_not_followed(folder: Path, kept: Path) -> None:
    url = await made(folder)
    for one in (folder / DOORBELLS).iterdir():
        one.unlink()
    (folder / DOORBELLS).rmdir()
    (folder / DOORBELLS).symlink_to(kept.parent)
    store = await open_store(url)
    assert list(kept.parent.iterdir()) == [kept]
    await store.close()


async def test_all_that_is_made_belongs_to_the_folders_owner(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        store = await open_store(f"sqlite:///{folder}/state.db")
        await created(store, "alice")
    finally:
        os.umask(before)
    found = [*folder.iterdir(), *(folder / DOORBELLS).iterdir()]
    assert {one.name for one in found} >= {"state.db", "state.db-wal", "state.db-shm", DOORBELLS}
    assert {one.stat().st_uid for one in found} == {OWNER}
    assert {stat.S_IMODE(one.stat().st_mode) for one in found if one.is_file()} == {0o660}
    await store.close()


async def test_root_has_its_rights_back_afterwards(folder: Path, kept: Path) -> None:
    store = await open_store(f"sqlite:///{folder}/state.db")
    assert kept.read_text() == "whose it is"
    assert await asyncio.to_thread(kept.read_text) == "whose it is"
    await store.close()
    assert kept.read_text() == "whose it is"


async def test_who_cannot_lay_them_down_is_told_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "_set", lambda user: 0)
    with pytest.raises(StoreError, match=f"belongs to user {OWNER}.*SETUID"):
        await open_store(f"sqlite:///{folder}/state.db")


@pytest.mark.parametrize("taken", [False, True], ids=["missing", "a file"])
async def test_a_folder_that_cannot_be_is_one_line_for_root_too(tmp_path: Path, taken: bool) -> None:
    above = tmp_path / "above"
    if taken:
        above.touch()
    else:
        above.symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(StoreError, match="set STATE_DIR to a directory"):
        await open_store(f"sqlite:///{above}/state/state.db")


async def test_a_folder_that_went_away_ends_quietly(folder: Path) -> None:
    store = await open_store(f"sqlite:///{folder}/state.db")
    folder.rename(folder.with_name("away"))
    with pytest.raises(StoreError):
        await created(store, "alice")
    await store.close()


async def test_what_a_parents_death_sends_is_not_lost(folder: Path) -> None:
    """The supervisor asks for it, so that no process outlives it."""
    libc, signal = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(1, 15)
    try:
        await (await open_store(f"sqlite:///{folder}/state.db")).close()
        libc.prctl(2, ctypes.byref(signal))
    finally:
        libc.prctl(1, 0)
    assert signal.value == 15


def test_a_folder_is_tried_without_following_what_lies_there(folder: Path, kept: Path) -> None:
    before = kept.stat()
    for number in range(100):
        (folder / f".writable-{number}").symlink_to(kept.parent / f"made-{number}")
    usable_directory("STATE_DIR", folder)
    assert list(kept.parent.iterdir()) == [kept]
    assert kept.stat().st_mtime_ns == before.st_mtime_ns
