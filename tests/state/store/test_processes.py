"""Several real processes on one store: rings, turns, death."""

import asyncio
from contextlib import aclosing

import pytest

from state.kinds.user_container import UserContainer
from state.store import Limits
from state.store.errors import BarrierTimeout, Unavailable
from tests.state.store.conftest import PATIENCE_S, Medium, Start, said
from tests.state.store.objects import bumped, created

LEASE_S = 3.0
BRIEFLY_S = 0.2


async def test_a_change_is_seen_in_another_process(shared_medium: Medium, elsewhere: Start) -> None:
    store = await shared_medium.open()
    reader = await elsewhere("watch", shared_medium.url)
    await said(reader)
    for number in range(5):
        await created(store, f"user-{number}")
        assert (await said(reader)).endswith(f" {number + 1} user-{number}")


async def test_a_change_of_another_process_is_seen_here(shared_medium: Medium, elsewhere: Start) -> None:
    store = await shared_medium.open()
    await created(store, "shared")
    async with aclosing(store.watch((UserContainer,))) as batches:
        await anext(batches)
        writer = await elsewhere("write", shared_medium.url, "theirs", "3")
        seen: set[str] = set()
        while "theirs-2" not in seen:
            batch = await asyncio.wait_for(anext(batches), PATIENCE_S)
            seen.update(obj.name for obj in batch.objects)
        await asyncio.wait_for(writer.wait(), PATIENCE_S)
    assert seen == {"theirs-0", "theirs-1", "theirs-2", "shared"}


async def test_two_processes_write_side_by_side(shared_medium: Medium, elsewhere: Start) -> None:
    store = await shared_medium.open()
    await created(store, "shared")
    writers = [await elsewhere("write", shared_medium.url, prefix, "40") for prefix in ("one", "two")]
    for number in range(40):
        await created(store, f"here-{number}")
        await bumped(store, "shared")
    for writer in writers:
        assert await asyncio.wait_for(writer.wait(), PATIENCE_S) == 0
    shared = await store.read(lambda tx: tx.get(UserContainer, "shared"))
    assert shared is not None
    assert shared.status.restart_count == 120
    revisions = [one.revision for one in await store.changes(0, 1000)]
    assert revisions == list(range(1, 242))


@pytest.mark.fault(17)
async def test_a_writer_killed_inside_a_transaction_wrote_nothing(
    shared_medium: Medium, elsewhere: Start
) -> None:
    store = await shared_medium.open()
    await created(store, "alice")
    writer = await elsewhere("die-writing", shared_medium.url)
    assert await said(writer) == "inside"
    assert await store.read(lambda tx: tx.get(UserContainer, "half")) is None
    writer.kill()
    await writer.wait()
    await created(store, "bob")
    assert [obj.name for obj in await store.read(lambda tx: tx.list(UserContainer))] == ["alice", "bob"]
    assert await store.revision() == 2


@pytest.mark.fault(15)
async def test_a_locked_store_is_waited_for_and_then_unavailable(
    shared_medium: Medium, elsewhere: Start
) -> None:
    store = await shared_medium.open(Limits(transact_timeout_s=1.0))
    await created(store, "alice")
    holder = await elsewhere("die-writing", shared_medium.url)
    await said(holder)
    with pytest.raises(Unavailable, match=r"locked by another|no turn within"):
        await created(store, "bob")
    assert [obj.name for obj in await store.read(lambda tx: tx.list(UserContainer))] == ["alice"]
    holder.kill()
    await holder.wait()
    await created(store, "carol")
    names = [obj.name for obj in await store.read(lambda tx: tx.list(UserContainer))]
    assert names == ["alice", "carol"]
    assert [one.key.name for one in await store.changes(0, 10)] == names


async def test_a_store_that_is_locked_for_a_while_is_waited_for(sqlite: Medium, elsewhere: Start) -> None:
    store = await sqlite.open()
    await created(store, "alice")
    holder = await elsewhere("lock", sqlite.url.removeprefix("sqlite:///"), "0.5")
    assert await said(holder) == "locked"
    await created(store, "bob")
    assert await store.revision() == 2


async def test_a_barrier_waits_for_a_worker_of_another_process(
    shared_medium: Medium, elsewhere: Start
) -> None:
    store = await shared_medium.open()
    worker = await elsewhere("work", shared_medium.url, "gateway-1", str(PATIENCE_S))
    await said(worker)
    for number in range(3):
        await created(store, f"user-{number}")
        await asyncio.wait_for(store.barrier(number + 1, PATIENCE_S), PATIENCE_S)


@pytest.mark.fault(37)
async def test_a_killed_workers_lease_ends_before_the_barrier(
    shared_medium: Medium, elsewhere: Start
) -> None:
    store = await shared_medium.open()
    worker = await elsewhere("work", shared_medium.url, "gateway-1", str(LEASE_S))
    await said(worker)
    worker.kill()
    await worker.wait()
    await created(store, "alice")
    with pytest.raises(BarrierTimeout, match="gateway-1"):
        await store.barrier(1, BRIEFLY_S)
    await asyncio.wait_for(store.barrier(1, PATIENCE_S), PATIENCE_S)
