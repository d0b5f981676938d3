"""The change log and those who follow it, on every medium."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from state.kinds.app import App
from state.kinds.resource import Key
from state.kinds.user_container import UserContainer
from state.store import Limits
from state.store.errors import TooOld
from state.store.port import Batch, Store
from state.store.transaction import TRIM_EVERY_REVISIONS
from tests.state.store.conftest import Medium
from tests.state.store.objects import ACTOR, app, bumped, created, removed, user

PATIENCE_S = 20.0
KEPT_ROWS = 10


async def following(batches: AsyncIterator[Batch]) -> Batch:
    """The next batch; a test that hangs says so."""
    return await asyncio.wait_for(anext(batches), PATIENCE_S)


def names(batch: Batch) -> list[str]:
    return [obj.name for obj in batch.objects]


@pytest.fixture
async def batches(store: Store) -> AsyncIterator[AsyncGenerator[Batch, None]]:
    """A watch of UserContainers on ``store``, not begun yet."""
    async with aclosing(store.watch((UserContainer,))) as watch:
        yield watch


async def test_the_log_says_what_who_and_when(store: Store) -> None:
    await store.transact(lambda tx: (tx.create(user("alice")), tx.create(app("shop", "a"))), actor="ann")
    await bumped(store, "alice")
    await removed(store, "alice")
    changes = await store.changes(0, 100)
    told = [(one.revision, one.key.kind, one.key.name, one.removed, one.actor) for one in changes]
    assert told == [
        (1, "UserContainer", "alice", False, "ann"),
        (1, "App", "shop", False, "ann"),
        (2, "UserContainer", "alice", False, ACTOR),
        (3, "UserContainer", "alice", True, ACTOR),
    ]
    assert all(one.at.tzinfo is not None for one in changes)
    assert await store.changes(2, 100) == changes[3:]
    assert await store.changes(0, 2) == changes[:2]
    assert await store.changes(3, 100) == []


async def test_a_revision_that_never_was_is_too_old(store: Store) -> None:
    """A store that was restored from a backup is behind its readers."""
    await created(store, "alice")
    with pytest.raises(TooOld, match="list again"):
        await store.changes(2, 100)


async def test_the_log_is_trimmed_and_says_so(medium: Medium) -> None:
    store = await medium.open(Limits(change_log_rows_max=KEPT_ROWS))
    await created(store, "alice")
    for _ in range(TRIM_EVERY_REVISIONS):
        await bumped(store, "alice")
    newest = TRIM_EVERY_REVISIONS + 1
    with pytest.raises(TooOld, match="list again"):
        await store.changes(newest - KEPT_ROWS - 2, 100)
    kept = await store.changes(newest - KEPT_ROWS - 1, 100)
    assert [one.revision for one in kept] == list(range(newest - KEPT_ROWS, newest + 1))


async def test_the_first_batch_is_everything(store: Store, batches: AsyncIterator[Batch]) -> None:
    await created(store, "alice", "bob")
    await store.transact(lambda tx: tx.create(app("shop", "a")), actor=ACTOR)
    first = await following(batches)
    assert (names(first), first.revision, first.removed) == (["alice", "bob"], 3, ())


async def test_the_first_batch_of_an_empty_store_comes_too(batches: AsyncIterator[Batch]) -> None:
    assert await following(batches) == Batch(0, (), ())


async def test_later_batches_are_what_changed(store: Store, batches: AsyncIterator[Batch]) -> None:
    await created(store, "alice", "bob")
    await following(batches)
    bob = await bumped(store, "bob")
    assert await following(batches) == Batch(3, (bob,), ())
    await removed(store, "alice")
    assert await following(batches) == Batch(4, (), (Key(kind="UserContainer", name="alice"),))


async def test_a_waiting_reader_is_woken(store: Store, batches: AsyncIterator[Batch]) -> None:
    await following(batches)
    waiting = asyncio.create_task(following(batches))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await created(store, "alice")
    assert names(await waiting) == ["alice"]


async def test_a_burst_comes_once_and_as_it_is_now(store: Store, batches: AsyncIterator[Batch]) -> None:
    await created(store, "alice", "bob")
    await following(batches)
    await bumped(store, "alice")
    await created(store, "carol", "dave")
    await removed(store, "carol")
    await removed(store, "bob")
    await created(store, "bob")
    alice = await bumped(store, "alice")
    batch = await following(batches)
    assert sorted(names(batch)) == ["alice", "bob", "dave"]
    assert alice in batch.objects
    assert batch.removed == (Key(kind="UserContainer", name="carol"),)
    assert batch.revision == await store.revision()


async def test_other_kinds_move_the_revision_alone(store: Store, batches: AsyncIterator[Batch]) -> None:
    await following(batches)
    await store.transact(lambda tx: tx.create(app("shop", "a")), actor=ACTOR)
    assert await following(batches) == Batch(1, (), ())


async def test_several_kinds_come_together(store: Store) -> None:
    async with aclosing(store.watch((App, UserContainer))) as batches:
        await following(batches)
        await store.transact(lambda tx: (tx.create(app("shop", "a")), tx.create(user("al"))), actor=ACTOR)
        assert sorted(names(await following(batches))) == ["al", "shop"]


async def test_who_fell_behind_gets_everything_and_what_went(medium: Medium) -> None:
    store = await medium.open(Limits(change_log_rows_max=KEPT_ROWS))
    await created(store, "alice", "bob", "carol")
    async with aclosing(store.watch((UserContainer,))) as batches:
        await following(batches)
        await removed(store, "bob")
        for _ in range(2 * TRIM_EVERY_REVISIONS):
            await bumped(store, "alice")
        await created(store, "dave")
        batch = await following(batches)
        assert names(batch) == ["alice", "carol", "dave"]
        assert batch.removed == (Key(kind="UserContainer", name="bob"),)
        alice = await bumped(store, "alice")
        assert await following(batches) == Batch(alice.metadata.resource_version, (alice,), ())


async def test_a_second_store_on_the_same_rows_follows_too(medium: Medium) -> None:
    here, there = await medium.open(), await medium.open()
    async with aclosing(there.watch((UserContainer,))) as batches:
        await following(batches)
        for count in range(1, 6):
            await created(here, f"user-{count}")
            assert names(await following(batches)) == [f"user-{count}"]


async def test_nothing_is_missed_while_others_write(store: Store, batches: AsyncIterator[Batch]) -> None:
    wanted = [f"user-{number}" for number in range(40)]
    await following(batches)
    writing = asyncio.gather(*(created(store, name) for name in wanted))
    seen: set[str] = set()
    while len(seen) < len(wanted):
        seen.update(names(await following(batches)))
    await writing
    assert seen == set(wanted)
