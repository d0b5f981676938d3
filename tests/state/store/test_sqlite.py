"""What is particular to the SQLite file: modes, locks, upgrades, damage, doorbells, kernels."""

import asyncio
import os
import socket
import sqlite3
import stat
import tempfile
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from state.kinds.user_container import UserContainer
from state.store import kernel, open_store
from state.store.errors import Conflict, Replaced, StoreError, Unavailable
from state.store.opening import DOORBELLS
from state.store.schema import STATE_SCHEMA
from tests.state.store.conftest import PATIENCE_S, Medium, Start, said
from tests.state.store.objects import created

LONG_S = 60.0


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def execute(url: str, statement: str) -> None:
    """Edit the file behind the store's back."""
    with closing(sqlite3.connect(path_of(url))) as connection, connection:
        connection.execute(statement)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_file_is_its_groups_and_nobody_elses(sqlite: Medium) -> None:
    before = os.umask(0o077)
    try:
        await created(await sqlite.open(), "alice")
    finally:
        os.umask(before)
    path = path_of(sqlite.url)
    assert mode(path.parent) == 0o2770
    assert mode(path.parent / DOORBELLS) == 0o2770
    for suffix in ("", "-wal", "-shm"):
        assert mode(path.with_name(path.name + suffix)) == 0o660
    assert [mode(one) for one in (path.parent / DOORBELLS).iterdir()] == [0o660]


async def test_a_store_outlives_its_processes(sqlite: Medium) -> None:
    first = await sqlite.open()
    await created(first, "alice")
    await first.close()
    second = await sqlite.open()
    assert [obj.name for obj in await second.read(lambda tx: tx.list(UserContainer))] == ["alice"]
    await created(second, "bob")
    assert await second.revision() == 2


async def test_a_current_file_is_not_upgraded_again(sqlite: Medium) -> None:
    await (await sqlite.open()).close()
    before = path_of(sqlite.url).read_bytes()
    await (await sqlite.open()).close()
    assert path_of(sqlite.url).read_bytes() == before


async def test_an_empty_file_is_a_new_store(sqlite: Medium) -> None:
    path = path_of(sqlite.url)
    path.parent.mkdir()
    path.touch()
    await created(await sqlite.open(), "alice")


async def test_many_processes_may_make_the_file_at_once(sqlite_url: str, elsewhere: Start) -> None:
    processes = [await elsewhere("open-and-write", sqlite_url) for _ in range(4)]
    lines = sorted([await said(process) for process in processes])
    assert lines[-1] == "written"
    assert all(line.startswith("AlreadyExists: UserContainer alice") for line in lines[:-1])


async def test_a_newer_schema_is_refused_with_its_mend(sqlite: Medium) -> None:
    await (await sqlite.open()).close()
    execute(sqlite.url, "UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(StoreError) as refused:
        await sqlite.open()
    told = str(refused.value)
    assert f"state.db has schema 0999, this program knows {STATE_SCHEMA}" in told
    assert "run that version" in told
    assert "\n" not in told


async def test_a_file_that_is_no_database_is_refused(sqlite: Medium) -> None:
    path = path_of(sqlite.url)
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, but it is long enough to be asked whether it is one " * 20)
    with pytest.raises(StoreError, match=r"state\.db is damaged .* restore a backup"):
        await sqlite.open()


async def test_a_damaged_file_is_told_apart_from_a_locked_one(sqlite: Medium) -> None:
    store = await sqlite.open()
    await created(store, *(f"user-{number}" for number in range(50)))
    await store.close()
    path = path_of(sqlite.url)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match="is damaged"):
        await (await sqlite.open()).read(lambda tx: tx.list(UserContainer))


async def test_an_object_of_another_version_is_named(sqlite: Medium) -> None:
    store = await sqlite.open()
    await created(store, "alice")
    execute(sqlite.url, """UPDATE objects SET document = json_set(document, '$.spec.novelty', 1)""")
    with pytest.raises(StoreError, match=r"UserContainer alice cannot be read \(spec.novelty: Extra inputs"):
        await store.read(lambda tx: tx.get(UserContainer, "alice"))


@pytest.mark.parametrize("made_before", [False, True], ids=["no file yet", "another's file"])
async def test_what_may_not_be_written_is_one_line(elsewhere: Start, made_before: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's, which nobody may enter
        path = Path(folder) / "state.db"
        if made_before:
            await (await open_store(f"sqlite:///{path}")).close()
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        process = await elsewhere("open-as-nobody", f"sqlite:///{path}")
        assert await said(process) == (
            f"StoreError: {path} cannot be opened (Permission denied): "
            "let this user write there, or set STATE_DIR to a directory that it may write"
        )


async def test_a_file_on_a_network_disk_is_refused(
    sqlite: Medium, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(kernel, "_MOUNTS", mounts)
    with pytest.raises(StoreError, match="is on nfs4"):
        await sqlite.open()


async def test_another_kernel_shuts_the_first_one_out(sqlite: Medium) -> None:
    store = await sqlite.open()
    await created(store, "alice")
    execute(sqlite.url, "UPDATE counter SET boot = 'another'")
    with pytest.raises(StoreError, match="in use from another machine"):
        await created(store, "bob")


async def test_a_file_that_was_removed_is_missed_until_it_is_back(sqlite: Medium, tmp_path: Path) -> None:
    store = await sqlite.open()
    await created(store, "alice")
    path_of(sqlite.url).rename(tmp_path / "aside.db")
    with pytest.raises(Unavailable, match="was removed while it was in use; put it back"):
        await created(store, "bob")
    assert not path_of(sqlite.url).exists()
    (tmp_path / "aside.db").rename(path_of(sqlite.url))
    await created(store, "bob")
    assert len(await store.read(lambda tx: tx.list(UserContainer))) == 2


async def test_a_file_that_was_replaced_is_neither_read_nor_written(sqlite: Medium, tmp_path: Path) -> None:
    store = await sqlite.open()
    await created(store, "alice")
    backup = tmp_path / "backup.db"
    execute(sqlite.url, f"VACUUM INTO '{backup}'")
    backup.replace(path_of(sqlite.url))
    with pytest.raises(Replaced, match=r"replaced while it was in use.*both processes stopped"):
        await created(store, "bob")
    with pytest.raises(Replaced):
        await store.read(lambda tx: tx.list(UserContainer))
    with pytest.raises(Replaced):
        await store.join("gateway-1", ttl_s=LONG_S)


async def test_leases_of_an_earlier_boot_are_void(sqlite: Medium) -> None:
    before = await sqlite.open()
    await before.join("gateway-1", ttl_s=LONG_S)
    assert (await before.lead("one", ttl_s=LONG_S)).epoch == 1
    await created(before, "alice")
    execute(sqlite.url, "UPDATE leases SET boot = 'earlier'")
    execute(sqlite.url, "UPDATE leader SET boot = 'earlier'")
    after = await sqlite.open()
    await asyncio.wait_for(after.barrier(1, PATIENCE_S), PATIENCE_S)
    assert (await after.lead("two", ttl_s=LONG_S)).epoch == 2
    with pytest.raises(Conflict):
        await before.lead("one", ttl_s=LONG_S)


# --- doorbells ------------------------------------------------------------------------------------------


async def test_what_the_dead_left_at_the_door_is_swept(sqlite: Medium) -> None:
    store = await sqlite.open()
    folder = path_of(sqlite.url).parent / DOORBELLS
    left = folder / "1-dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(left))
    assert left.exists()
    await created(store, "alice")
    assert not left.exists()
    await store.close()
    assert list(folder.iterdir()) == []


async def test_without_doorbells_the_poll_sees_the_change(sqlite: Medium) -> None:
    folder = path_of(sqlite.url).parent
    folder.mkdir()
    (folder / DOORBELLS).write_text("in the way")
    here, there = await sqlite.open(), await sqlite.open()
    async with aclosing(there.watch((UserContainer,))) as batches:
        await anext(batches)
        await created(here, "alice")
        batch = await asyncio.wait_for(anext(batches), PATIENCE_S)
    assert [obj.name for obj in batch.objects] == ["alice"]


async def test_doorbells_ring_below_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    url = f"sqlite:///{folder}/state.db"
    here, there = await open_store(url), await open_store(url)
    assert len(list((folder / DOORBELLS).iterdir())) == 2
    async with aclosing(there.watch((UserContainer,))) as batches:
        await anext(batches)
        await created(here, "alice")
        await asyncio.wait_for(anext(batches), PATIENCE_S)
    await here.close()
    await there.close()


async def test_a_full_doorbell_holds_nobody_up(sqlite: Medium) -> None:
    store = await sqlite.open()
    deaf = path_of(sqlite.url).parent / DOORBELLS / "1-deaf.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as socket_of_the_deaf:
        socket_of_the_deaf.bind(str(deaf))
        await asyncio.wait_for(created(store, *(f"user-{n}" for n in range(600))), PATIENCE_S)
    assert await store.revision() == 600


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(StoreError, match="'mysql' is no store: write sqlite:///"):
        await open_store("mysql://somewhere")
