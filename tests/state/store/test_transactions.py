"""What a write means, on every medium: all or nothing, versions, generations, unique keys, finalizers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from state.kinds.app import App
from state.kinds.incarnation import Incarnation, IncarnationState
from state.kinds.resource import Metadata
from state.kinds.user_container import Power, UserContainer
from state.store.errors import AlreadyExists, Conflict, NotFound
from state.store.port import Store, Tx
from tests.state.store.objects import (
    ACTOR,
    app,
    bumped,
    created,
    incarnation,
    powered,
    removed,
    restarted,
    user,
)


async def stored(store: Store, name: str) -> UserContainer:
    obj = await store.read(lambda tx: tx.get(UserContainer, name))
    assert obj is not None
    return obj


async def test_a_new_object_gets_a_uid_generation_one_and_the_revision(store: Store) -> None:
    obj = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    assert obj.uid
    assert (obj.metadata.generation, obj.metadata.resource_version) == (1, 1)
    assert obj.metadata.created_at is not None
    assert abs(datetime.now(UTC) - obj.metadata.created_at) < timedelta(minutes=1)
    assert await stored(store, "alice") == obj
    assert await store.revision() == 1


async def test_recovery_may_bring_a_uid_that_nobody_has(store: Store) -> None:
    brought = user("alice").replaced(metadata=Metadata(name="alice", uid="the-uid"))
    await store.transact(lambda tx: tx.create(brought), actor=ACTOR)
    again = user("bob").replaced(metadata=Metadata(name="bob", uid="the-uid"))
    with pytest.raises(AlreadyExists, match="UserContainer alice has it"):
        await store.transact(lambda tx: tx.create(again), actor=ACTOR)


async def test_a_name_is_taken_once(store: Store) -> None:
    await created(store, "alice")
    with pytest.raises(AlreadyExists, match="UserContainer alice"):
        await created(store, "alice")


async def test_an_exception_leaves_nothing_behind(store: Store) -> None:
    await created(store, "alice", "bob")

    def half(tx: Tx) -> None:
        tx.create(user("carol"))
        alice, bob = tx.get(UserContainer, "alice"), tx.get(UserContainer, "bob")
        assert alice is not None
        assert bob is not None
        tx.delete(bob)
        tx.update_status(restarted(tx.update_spec(powered(alice, Power.STOPPED)), 3))
        raise ZeroDivisionError

    before = await store.read(lambda tx: tx.list(UserContainer))
    with pytest.raises(ZeroDivisionError):
        await store.transact(half, actor=ACTOR)
    assert await store.read(lambda tx: tx.list(UserContainer)) == before
    assert await store.revision() == 2
    assert len(await store.changes(0, 100)) == 2
    await created(store, "carol")  # its unique keys are free
    with pytest.raises(AlreadyExists):  # and those of bob are not
        await store.transact(
            lambda tx: tx.create(user("bob").replaced(metadata=Metadata(name="dave"))), actor=ACTOR
        )


async def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    def write(tx: Tx) -> None:
        obj = tx.create(user("alice"))
        assert tx.get(UserContainer, "alice") == obj
        assert tx.list(UserContainer) == [obj]
        changed = tx.update_status(restarted(obj, 1))
        assert tx.get(UserContainer, "alice") == changed
        assert tx.by_unique_key(UserContainer, "seat:github:alice/demo") == changed
        tx.delete(changed)
        assert tx.get(UserContainer, "alice") is None
        assert tx.by_unique_key(UserContainer, "seat:github:alice/demo") is None

    await store.transact(write, actor=ACTOR)
    assert await store.read(lambda tx: tx.list(UserContainer)) == []


async def test_everything_of_one_transaction_has_one_revision_and_one_time(store: Store) -> None:
    def write(tx: Tx) -> tuple[int, UserContainer, UserContainer]:
        return tx.revision, tx.create(user("alice")), tx.create(user("bob"))

    revision, alice, bob = await store.transact(write, actor=ACTOR)
    assert revision == alice.metadata.resource_version == bob.metadata.resource_version == 1
    assert alice.metadata.created_at == bob.metadata.created_at


async def test_the_generation_rises_with_the_spec_alone(store: Store) -> None:
    alice = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    alice = await bumped(store, "alice")
    assert (alice.metadata.generation, alice.metadata.resource_version) == (1, 2)
    alice = await store.transact(lambda tx: tx.update_spec(powered(alice, Power.STOPPED)), actor=ACTOR)
    assert (alice.metadata.generation, alice.metadata.resource_version) == (2, 3)
    kept = alice.replaced(metadata=alice.metadata.model_copy(update={"finalizers": ("data",)}))
    alice = await store.transact(lambda tx: tx.update_spec(kept), actor=ACTOR)
    assert (alice.metadata.generation, alice.metadata.resource_version) == (2, 4)
    assert alice.metadata.finalizers == ("data",)


async def test_spec_and_status_have_disjoint_writers(store: Store) -> None:
    alice = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    both = restarted(powered(alice, Power.STOPPED), 7)
    alice = await store.transact(lambda tx: tx.update_spec(both), actor=ACTOR)
    assert (alice.spec.power, alice.status.restart_count) == (Power.STOPPED, 0)
    both = restarted(powered(alice, Power.RUNNING), 7)
    alice = await store.transact(lambda tx: tx.update_status(both), actor=ACTOR)
    assert (alice.spec.power, alice.status.restart_count) == (Power.STOPPED, 7)


async def test_what_changes_nothing_writes_nothing(store: Store) -> None:
    alice = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)

    def again(tx: Tx) -> UserContainer:
        tx.update_spec(alice)
        tx.drop_finalizer(alice, "never-had")
        return tx.update_status(alice)

    assert await store.transact(again, actor=ACTOR) == alice
    assert await store.revision() == 1
    assert len(await store.changes(0, 100)) == 1


async def test_an_older_version_is_refused(store: Store) -> None:
    old = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    await bumped(store, "alice")
    for write in (
        lambda tx: tx.update_spec(powered(old, Power.STOPPED)),
        lambda tx: tx.update_status(restarted(old, 9)),
        lambda tx: tx.delete(old),
        lambda tx: tx.drop_finalizer(old, "data"),
    ):
        with pytest.raises(Conflict, match="UserContainer alice is at version 2, not 1"):
            await store.transact(write, actor=ACTOR)


@pytest.mark.fault(29)
async def test_the_same_name_again_is_another_object(store: Store) -> None:
    old = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    await removed(store, "alice")
    with pytest.raises(NotFound, match="UserContainer alice is gone"):
        await store.transact(lambda tx: tx.update_status(restarted(old, 1)), actor=ACTOR)
    new = await store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR)
    assert new.uid != old.uid
    with pytest.raises(NotFound, match="another one has its name"):
        await store.transact(lambda tx: tx.delete(old), actor=ACTOR)


async def test_a_unique_key_has_one_holder(store: Store) -> None:
    await store.transact(lambda tx: tx.create(app("shop", "a")), actor=ACTOR)
    with pytest.raises(AlreadyExists, match="App shop has it"):
        await store.transact(lambda tx: tx.create(app("other", "a")), actor=ACTOR)
    other = await store.transact(lambda tx: tx.create(app("other", "b")), actor=ACTOR)
    taking = other.replaced(spec=app("other", "a").spec)
    with pytest.raises(AlreadyExists):
        await store.transact(lambda tx: tx.update_spec(taking), actor=ACTOR)
    found = await store.read(lambda tx: tx.by_unique_key(App, f"key:{'b' * 64}"))
    assert found == other


async def test_unique_keys_are_counted_by_what_they_begin_with(store: Store) -> None:
    async def count(prefix: str) -> int:
        return await store.read(lambda tx: tx.count_unique_keys(UserContainer, prefix))

    await store.transact(lambda tx: [tx.create(user(name)) for name in ("al", "alice", "bob")], actor=ACTOR)
    await store.transact(lambda tx: tx.create(app("shop", "a")), actor=ACTOR)
    assert [await count(prefix) for prefix in ("seat:github:al", "seat:github:al/", "s", "t", "key:")] == [
        *(2, 1, 3, 0, 0)
    ]
    bob = await stored(store, "bob")
    await store.transact(lambda tx: tx.delete(bob), actor=ACTOR)
    still = await store.read(lambda tx: tx.get(UserContainer, "bob"))
    assert await count("seat:") == (2 if still is None else 3), "what has finalizers holds its keys still"


async def test_a_unique_key_follows_the_spec(store: Store) -> None:
    shop = await store.transact(lambda tx: tx.create(app("shop", "a")), actor=ACTOR)
    await store.transact(lambda tx: tx.update_spec(shop.replaced(spec=app("shop", "b").spec)), actor=ACTOR)
    assert await store.read(lambda tx: tx.by_unique_key(App, f"key:{'a' * 64}")) is None
    await store.transact(lambda tx: tx.create(app("other", "a")), actor=ACTOR)


async def test_a_unique_key_follows_the_status(store: Store) -> None:
    first = await store.transact(lambda tx: tx.create(incarnation("h-1", home="h")), actor=ACTOR)
    with pytest.raises(AlreadyExists, match="home:h: Incarnation h-1 has it"):
        await store.transact(lambda tx: tx.create(incarnation("h-2", home="h")), actor=ACTOR)
    gone = incarnation("h-1", home="h", state=IncarnationState.QUARANTINED).status
    first = await store.transact(lambda tx: tx.update_status(first.replaced(status=gone)), actor=ACTOR)
    await store.transact(lambda tx: tx.create(incarnation("h-2", home="h")), actor=ACTOR)
    live = incarnation("h-1", home="h", state=IncarnationState.STARTED).status
    with pytest.raises(AlreadyExists):
        await store.transact(lambda tx: tx.update_status(first.replaced(status=live)), actor=ACTOR)
    second = await store.read(lambda tx: tx.by_unique_key(Incarnation, "home:h"))
    assert second is not None
    assert second.name == "h-2"


async def test_finalizers_hold_a_deleted_object_and_its_keys(store: Store) -> None:
    alice = await store.transact(lambda tx: tx.create(user("alice", finalizers=("data", "x"))), actor=ACTOR)
    await removed(store, "alice")
    marked = await stored(store, "alice")
    assert marked.metadata.deleted_at is not None
    assert marked.metadata.generation == 1
    assert await store.read(lambda tx: tx.by_unique_key(UserContainer, alice.unique_keys()[0])) == marked
    await removed(store, "alice")  # again: nothing
    assert await store.revision() == 2
    left = await store.transact(lambda tx: tx.drop_finalizer(marked, "x"), actor=ACTOR)
    assert left is not None
    assert left.metadata.finalizers == ("data",)
    assert await store.transact(lambda tx: tx.drop_finalizer(left, "data"), actor=ACTOR) is None
    assert await store.read(lambda tx: tx.get(UserContainer, "alice")) is None
    await created(store, "alice")


async def test_the_last_finalizer_of_a_deleted_object_is_not_edited_away(store: Store) -> None:
    await store.transact(lambda tx: tx.create(user("alice", finalizers=("data",))), actor=ACTOR)
    await removed(store, "alice")
    marked = await stored(store, "alice")
    bare = marked.replaced(metadata=marked.metadata.model_copy(update={"finalizers": ()}))
    with pytest.raises(Conflict, match="drop_finalizer"):
        await store.transact(lambda tx: tx.update_spec(bare), actor=ACTOR)


async def test_dropping_a_finalizer_of_a_living_object_keeps_it(store: Store) -> None:
    alice = await store.transact(lambda tx: tx.create(user("alice", finalizers=("data",))), actor=ACTOR)
    kept = await store.transact(lambda tx: tx.drop_finalizer(alice, "data"), actor=ACTOR)
    assert kept is not None
    assert await stored(store, "alice") == kept


async def test_lists_are_by_name(store: Store) -> None:
    await created(store, "b", "a-b", "a", "ab", "0", "a1")
    names = [obj.name for obj in await store.read(lambda tx: tx.list(UserContainer))]
    assert names == sorted(names)
    assert len(names) == 6
    assert await store.read(lambda tx: tx.list(App)) == []


async def test_a_read_may_not_write(store: Store) -> None:
    await created(store, "alice")
    alice = await stored(store, "alice")
    for write in (
        lambda tx: tx.create(user("bob")),
        lambda tx: tx.update_spec(powered(alice, Power.STOPPED)),
        lambda tx: tx.update_status(restarted(alice, 1)),
        lambda tx: tx.delete(alice),
        lambda tx: tx.drop_finalizer(alice, "data"),
    ):
        with pytest.raises(AssertionError, match="transact"):
            await store.read(write)
    assert await store.read(lambda tx: tx.revision) == 1


async def test_transactions_side_by_side_take_turns(store: Store) -> None:
    await created(store, "alice")
    await asyncio.gather(*(bumped(store, "alice") for _ in range(50)))
    assert (await stored(store, "alice")).status.restart_count == 50
    assert await store.revision() == 51


async def test_a_cancelled_caller_leaves_the_store_whole(store: Store) -> None:
    await created(store, "alice")
    tasks = [asyncio.create_task(bumped(store, "alice")) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)
    alice = await bumped(store, "alice")
    assert alice.status.restart_count == alice.metadata.resource_version - 1
    assert alice.status.restart_count >= 11
