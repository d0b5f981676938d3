"""A folder that is followed: every edit arrives, by whatever way it is made, and nothing else does."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from state.kinds.report import ManifestFile, manifest_file_name
from state.kinds.user_container import UserContainer
from state.manifests.folder import FolderReader
from state.manifests.follow import Pace, follow
from state.manifests.watch import FolderWatch
from state.store.errors import Fenced, Unavailable
from state.store.memory import memory_store
from state.store.port import Store
from tests.state.manifests.rig import VARIABLES, Desk, user, users

WAIT_S_MAX = 30.0
# Hints alone: the poll comes after every test has ended. And the poll alone: it comes at once.
BY_HINTS = Pace(debounce_s=0.02, poll_s=600, absence_s=0.2, retry_s=0.1)
BY_POLL = Pace(debounce_s=0.02, poll_s=0.05, absence_s=0.2, retry_s=0.1)


@asynccontextmanager
async def following(desk: Desk, pace: Pace = BY_HINTS) -> AsyncIterator[None]:
    """Follow until the block ends; what the follower raises is raised here."""
    stop, first_pass = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        follow(desk.folder, desk.store, VARIABLES, stop=stop, first_pass=first_pass, pace=pace)
    )
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            await first_pass.wait()
            yield
            stop.set()
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(check: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while not await check():
            await asyncio.sleep(0.02)


async def until_names(desk: Desk, *names: str) -> None:
    async def are_there() -> bool:
        return await desk.names(UserContainer) == sorted(names)

    await until(are_there)


async def until_applied(desk: Desk, path: str, reason: str) -> None:
    async def says_so() -> bool:
        name = manifest_file_name(path)
        record = await desk.store.read(lambda tx: tx.get(ManifestFile, name))
        return record is not None and [one.reason for one in record.status.conditions] == [reason]

    await until(says_so)


async def test_what_is_there_at_the_start_is_applied(desk: Desk) -> None:
    desk.save(a=user("alice"))
    async with following(desk):
        await until_names(desk, "alice")


async def test_a_new_file_is_applied(desk: Desk) -> None:
    async with following(desk):
        desk.save(a=user("alice"))
        await until_names(desk, "alice")


async def test_an_edit_in_place_is_applied(desk: Desk) -> None:
    desk.save(a=user("alice"))
    async with following(desk):
        desk.save(a=user("alice") + "---\n" + user("bob"))
        await until_names(desk, "alice", "bob")


async def test_a_save_by_rename_is_applied(desk: Desk) -> None:
    desk.save(a=user("alice"))
    async with following(desk):
        beside = desk.folder / ".a.yaml.swp"
        beside.write_text(user("alice") + "---\n" + user("bob"))
        beside.replace(desk.folder / "a.yaml")
        await until_names(desk, "alice", "bob")


@pytest.mark.fault(22)
async def test_a_save_that_takes_the_file_away_for_a_moment_deletes_nobody(desk: Desk) -> None:
    """As an editor does that moves the old file aside and then writes the new one."""
    desk.save(a=user("alice"), b=user("zoe"))
    async with following(desk, Pace(debounce_s=0.02, poll_s=0.05, absence_s=600)):
        before = await desk.get(UserContainer, "alice")
        (desk.folder / "a.yaml").rename(desk.folder / "a.yaml~")
        desk.save(b=user("zoe") + "---\n" + user("yan"))
        await until_names(desk, "alice", "yan", "zoe")
        desk.save(a=user("alice", power="Stopped"))
        await until_applied(desk, "a.yaml", "Applied")

        async def is_stopped() -> bool:
            return (await desk.get(UserContainer, "alice")).spec.power == "Stopped"

        await until(is_stopped)
        assert (await desk.get(UserContainer, "alice")).uid == before.uid


async def test_a_file_that_stays_away_takes_its_objects_with_it(desk: Desk) -> None:
    desk.save(a=user("alice"), b=user("bob"))
    async with following(desk):
        desk.remove("a")
        await until_names(desk, "bob")


@pytest.mark.fault(22)
async def test_a_half_saved_file_is_refused_until_the_rest_comes(desk: Desk) -> None:
    whole = user("alice") + "---\n" + user("bob")
    desk.save(a=user("alice"))
    async with following(desk):
        with capture_logs() as logs:
            desk.save(a=whole[:-15])
            await until_applied(desk, "a.yaml", "Refused")
            assert await desk.names(UserContainer) == ["alice"]
            desk.save(a=whole)
            await until_names(desk, "alice", "bob")
            await until_applied(desk, "a.yaml", "Applied")
    events = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert events == ["manifest.refused", "manifest.applied"]


@pytest.mark.fault(23)
async def test_a_folder_that_vanishes_and_returns_loses_nobody(desk: Desk) -> None:
    desk.save(a=users(3))
    async with following(desk, BY_POLL):
        before = await desk.all(UserContainer)
        away = desk.folder.with_name("away")
        desk.folder.rename(away)
        await until_applied(desk, ".", "Refused")
        away.rename(desk.folder)
        await until_applied(desk, ".", "Applied")
        assert await desk.all(UserContainer) == before


@pytest.mark.fault(23)
async def test_a_folder_that_is_emptied_loses_nobody(desk: Desk) -> None:
    desk.save(a=users(3))
    async with following(desk):
        before = await desk.all(UserContainer)
        desk.remove("a")
        await until_applied(desk, ".", "MassDelete")
        assert await desk.all(UserContainer) == before


async def test_a_folder_that_is_missing_at_the_start_is_awaited(desk: Desk) -> None:
    desk.folder.rmdir()
    async with following(desk, BY_POLL):
        await until_applied(desk, ".", "Refused")
        desk.folder.mkdir()
        desk.save(a=user("alice"))
        await until_names(desk, "alice")


async def test_a_folder_made_anew_is_found_by_the_poll(desk: Desk) -> None:
    desk.save(a=user("alice"))
    async with following(desk, BY_POLL):
        desk.folder.rename(desk.folder.with_name("old"))
        desk.folder.mkdir()
        desk.save(a=user("alice"), b=user("bob"))
        await until_names(desk, "alice", "bob")


async def test_a_folder_made_anew_is_watched_anew(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    bell = asyncio.Event()
    watch = FolderWatch(folder, bell, debounce_s=0.02)
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            for number in range(3):
                folder.mkdir()
                found = folder.stat()
                watch.renew((found.st_dev, found.st_ino))
                await bell.wait()  # the new watch stands
                bell.clear()
                (folder / "a.yaml").write_text("")
                await bell.wait()
                folder.rename(tmp_path / f"old-{number}")
    finally:
        await watch.end()


async def test_a_symlink_turned_elsewhere_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: files are links through ``..data``, which is turned in one step."""
    folder = tmp_path / "mounted"
    for version, text in (("..1", user("alice")), ("..2", user("alice") + "---\n" + user("bob"))):
        (folder / version).mkdir(parents=True)
        (folder / version / "a.yaml").write_text(text)
    (folder / "..data").symlink_to("..1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    desk = Desk(folder, memory_store())
    async with following(desk):
        await until_names(desk, "alice")
        (folder / "..data_tmp").symlink_to("..2")
        (folder / "..data_tmp").replace(folder / "..data")
        await until_names(desk, "alice", "bob")


async def test_a_link_to_the_folder_turned_elsewhere_is_followed_by_the_poll(tmp_path: Path) -> None:
    for version, name in (("one", "alice"), ("two", "bob")):
        (tmp_path / version).mkdir()
        (tmp_path / version / f"{name}.yaml").write_text(user(name))
    link = tmp_path / "current"
    link.symlink_to("one")
    desk = Desk(link, memory_store())
    async with following(desk, BY_POLL):
        await until_names(desk, "alice")
        turned = tmp_path / "turned"
        turned.symlink_to("two")
        turned.replace(link)
        await until_names(desk, "bob")


async def test_a_store_that_does_not_answer_is_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = desk.store.read
    refusals = 3

    async def sometimes(fn: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise Unavailable("the store is locked")
        return await read(fn)

    desk.save(a=user("alice"))
    monkeypatch.setattr(desk.store, "read", sometimes)
    with capture_logs() as logs:
        async with following(desk, BY_POLL):
            await until_names(desk, "alice")
    assert [line["event"] for line in logs].count("manifests.delayed") == 1


async def test_losing_the_lead_ends_it(desk: Desk) -> None:
    old = await desk.store.lead("one", ttl_s=60)
    await desk.store.resign("one")
    await desk.store.lead("two", ttl_s=60)
    desk.save(a=user("alice"))
    with pytest.raises(Fenced):
        async with asyncio.timeout(WAIT_S_MAX):
            await follow(desk.folder, desk.store, VARIABLES, epoch=lambda: old.epoch, pace=BY_POLL)


async def test_a_cancelled_follower_is_gone_at_once(desk: Desk) -> None:
    task = asyncio.create_task(follow(desk.folder, desk.store, VARIABLES))
    await asyncio.sleep(0.2)
    task.cancel()
    async with asyncio.timeout(WAIT_S_MAX):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_without_watches_the_poll_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("state.manifests.watch.awatch", none_left)
    async with following(desk, BY_POLL):
        desk.save(a=user("alice"))
        await until_names(desk, "alice")


async def test_an_unchanged_folder_leaves_the_store_alone(desk: Desk) -> None:
    """Polls read files; only a change, something that waits, or the resync reads the store."""
    reads = 0
    store: Store = desk.store
    read = store.read

    async def counted(fn: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(fn)

    desk.save(a=user("alice"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", counted)
        async with following(desk, BY_POLL):
            await asyncio.sleep(0.5)
    assert reads == 1


async def test_a_folder_that_hangs_is_told_and_read_again_when_it_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe in place of a slow disk: reading it blocks until the test lets go."""
    listed = os.pipe()

    def slowly(_self: object) -> Any:
        os.read(listed[0], 1)
        return original(_self)

    original = FolderReader.read
    monkeypatch.setattr(FolderReader, "read", slowly)
    monkeypatch.setattr("state.manifests.follow.READ_TIMEOUT_S", 0.05)
    desk.save(a=user("alice"))
    try:
        async with following(desk, BY_POLL):
            await until_applied(desk, ".", "Refused")
            assert "does not answer" in (await desk.applied(".")).message
            os.write(listed[1], b"." * 10_000)
            await until_names(desk, "alice")
    finally:
        os.close(listed[1])
