"""Workers' leases, the barrier, and the reconciler's leadership, on every medium."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from typing import TypeVar

import pytest

from state.kinds.user_container import UserContainer
from state.store.errors import BarrierTimeout, Conflict, Fenced, NotFound, StoreError
from state.store.leases import EPOCH_MAX
from state.store.port import Batch, Presence, Store
from tests.state.store.conftest import Medium
from tests.state.store.objects import ACTOR, created, user

T = TypeVar("T")

PATIENCE_S = 20.0
LONG_S = 60.0  # a lease that never ends by itself in these tests
SHORT_S = 0.3  # one that does
BRIEFLY_S = 0.2


async def soon(awaited: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaited, PATIENCE_S)


async def applying(store: Store, worker: str, batches: AsyncIterator[Batch]) -> None:
    """A worker's life: apply, acknowledge, look again."""
    async for batch in batches:
        await store.acknowledge(worker, batch.revision)


@pytest.fixture
async def batches(store: Store) -> AsyncIterator[AsyncGenerator[Batch, None]]:
    async with aclosing(store.watch((UserContainer,))) as watch:
        yield watch


async def test_without_workers_nobody_waits(store: Store) -> None:
    await created(store, "alice")
    await soon(store.barrier(1, PATIENCE_S))


async def test_a_worker_that_has_not_applied_is_named(store: Store) -> None:
    await store.join("gateway-1", ttl_s=LONG_S)
    await created(store, "alice")
    with pytest.raises(BarrierTimeout, match="revision 1 is not applied yet by gateway-1"):
        await store.barrier(1, BRIEFLY_S)


async def test_a_worker_that_applies_later_lets_the_barrier_go(medium: Medium) -> None:
    gateway, reconciler = await medium.open(), await medium.open()
    await gateway.join("gateway-1", ttl_s=LONG_S)
    await created(reconciler, "alice")
    waiting = asyncio.create_task(reconciler.barrier(1, PATIENCE_S))
    await asyncio.sleep(BRIEFLY_S)
    assert not waiting.done()
    async with aclosing(gateway.watch((UserContainer,))) as batches:
        life = asyncio.create_task(applying(gateway, "gateway-1", batches))
        await soon(waiting)
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def test_a_worker_that_applied_before_is_asked_again(medium: Medium) -> None:
    """Its acknowledgement was not worth a write: nobody waited yet."""
    gateway, reconciler = await medium.open(), await medium.open()
    await gateway.join("gateway-1", ttl_s=LONG_S)
    async with aclosing(gateway.watch((UserContainer,))) as batches:
        life = asyncio.create_task(applying(gateway, "gateway-1", batches))
        for number in range(5):
            await created(reconciler, f"user-{number}")
            await soon(reconciler.barrier(await reconciler.revision(), PATIENCE_S))
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def test_every_worker_counts(medium: Medium) -> None:
    one, two = await medium.open(), await medium.open()
    await one.join("gateway-1", ttl_s=LONG_S)
    await two.join("gateway-2", ttl_s=LONG_S)
    await created(one, "alice")
    await one.acknowledge("gateway-1", 1)
    await one.join("gateway-1", ttl_s=LONG_S)  # a renewal puts it on record
    with pytest.raises(BarrierTimeout, match="by gateway-2;"):
        await one.barrier(1, BRIEFLY_S)
    await two.acknowledge("gateway-2", 1)
    await two.join("gateway-2", ttl_s=LONG_S)
    await soon(one.barrier(1, PATIENCE_S))


async def test_a_renewal_alone_puts_progress_on_record(store: Store) -> None:
    """Also for a worker that has no watch open at the moment."""
    await store.join("gateway-1", ttl_s=LONG_S)
    await created(store, "alice")
    await store.acknowledge("gateway-1", 1)
    await store.join("gateway-1", ttl_s=LONG_S)
    await soon(store.barrier(1, PATIENCE_S))


async def test_acknowledging_costs_no_write_while_nobody_waits(sqlite: Medium) -> None:
    gateway, other = await sqlite.open(), await sqlite.open()
    await gateway.join("gateway-1", ttl_s=LONG_S)
    await created(other, "alice")
    await gateway.acknowledge("gateway-1", 1)
    with pytest.raises(BarrierTimeout):  # no watch is open: nobody sees that somebody waits
        await other.barrier(1, BRIEFLY_S)


async def test_a_dead_workers_lease_ends_first(store: Store) -> None:
    await store.join("gateway-1", ttl_s=SHORT_S)
    await created(store, "alice")
    with pytest.raises(BarrierTimeout):
        await store.barrier(1, SHORT_S / 10)
    await soon(store.barrier(1, PATIENCE_S))


async def test_a_worker_that_leaves_is_not_waited_for(store: Store) -> None:
    await store.join("gateway-1", ttl_s=LONG_S)
    await created(store, "alice")
    waiting = asyncio.create_task(store.barrier(1, PATIENCE_S))
    await asyncio.sleep(BRIEFLY_S)
    await store.leave("gateway-1")
    await soon(waiting)


async def test_a_lease_that_ran_out_is_not_renewed(store: Store) -> None:
    lease = await store.join("gateway-1", ttl_s=SHORT_S)
    await created(store, "alice")
    while store.clock_s() <= lease.expires_s + SHORT_S:
        await asyncio.sleep(SHORT_S)
    with pytest.raises(NotFound, match="join again"):
        await store.join("gateway-1", ttl_s=LONG_S)
    with pytest.raises(NotFound, match="join first"):
        await store.acknowledge("gateway-1", 1)
    await store.join("gateway-1", ttl_s=LONG_S)  # from the start: nothing is applied
    with pytest.raises(BarrierTimeout):
        await store.barrier(1, BRIEFLY_S)


async def test_a_loss_that_a_watch_noticed_is_told_at_the_next_join(medium: Medium) -> None:
    """Else the worker would go on with what it read before, under a lease that looks unbroken."""
    gateway, reconciler = await medium.open(), await medium.open()
    await gateway.join("gateway-1", ttl_s=SHORT_S)
    await created(reconciler, "alice")
    await gateway.acknowledge("gateway-1", 1)
    await soon(reconciler.barrier(1, PATIENCE_S))  # it asked, nobody looked, and the lease ran out
    async with aclosing(gateway.watch((UserContainer,))) as batches:
        await soon(anext(batches))
    with pytest.raises(NotFound, match="join again"):
        await gateway.acknowledge("gateway-1", 1)
    with pytest.raises(NotFound, match="join again"):
        await gateway.join("gateway-1", ttl_s=LONG_S)
    await gateway.join("gateway-1", ttl_s=LONG_S)  # once: now it knows, and has applied nothing
    with pytest.raises(BarrierTimeout):
        await reconciler.barrier(1, BRIEFLY_S)


async def test_a_successor_by_the_same_name_has_applied_nothing(medium: Medium) -> None:
    before, after = await medium.open(), await medium.open()
    await created(before, "alice")
    await before.join("gateway-1", ttl_s=LONG_S)
    await before.acknowledge("gateway-1", 1)
    await before.join("gateway-1", ttl_s=LONG_S)
    await after.join("gateway-1", ttl_s=LONG_S)
    with pytest.raises(BarrierTimeout):
        await after.barrier(1, BRIEFLY_S)


async def test_a_lease_names_its_end_on_the_stores_clock(store: Store) -> None:
    before_s = store.clock_s()
    lease = await store.join("gateway-1", ttl_s=LONG_S)
    assert before_s + LONG_S <= lease.expires_s <= store.clock_s() + LONG_S


# --- leadership ---------------------------------------------------------------------------------------


async def test_a_leader_renews_its_epoch(store: Store) -> None:
    first = await store.lead("one", ttl_s=LONG_S)
    again = await store.lead("one", ttl_s=LONG_S)
    assert (first.epoch, again.epoch) == (1, 1)
    assert again.expires_s >= first.expires_s


@pytest.mark.fault(19)
async def test_a_second_reconciler_waits_for_the_first_ones_lease(medium: Medium) -> None:
    one, two = await medium.open(), await medium.open()
    first = await one.lead("one", ttl_s=SHORT_S)
    with pytest.raises(Conflict, match="one leads with epoch 1"):
        await two.lead("two", ttl_s=LONG_S)
    while two.clock_s() <= first.expires_s + SHORT_S:
        await asyncio.sleep(SHORT_S)
    assert (await two.lead("two", ttl_s=LONG_S)).epoch == 2
    with pytest.raises(Conflict, match="two leads with epoch 2"):
        await one.lead("one", ttl_s=LONG_S)


@pytest.mark.fault(19)
async def test_an_older_epoch_writes_nothing(medium: Medium) -> None:
    one, two = await medium.open(), await medium.open()
    old = (await one.lead("one", ttl_s=LONG_S)).epoch
    await one.resign("one")
    new = (await two.lead("two", ttl_s=LONG_S)).epoch
    with pytest.raises(Fenced, match="epoch 1 is over: epoch 2"):
        await one.transact(lambda tx: (tx.create(user("alice")), tx.fence(old)), actor=ACTOR)
    assert await one.revision() == 0
    await two.transact(lambda tx: (tx.fence(new), tx.create(user("alice"))), actor=ACTOR)


async def test_a_lease_renewed_too_late_is_a_new_leadership(store: Store) -> None:
    first = await store.lead("one", ttl_s=SHORT_S)
    while store.clock_s() <= first.expires_s + SHORT_S:
        await asyncio.sleep(SHORT_S)
    assert (await store.lead("one", ttl_s=LONG_S)).epoch == 2


@pytest.mark.parametrize("asked", [EPOCH_MAX + 1, 2**63, 2**4000])
async def test_an_epoch_that_no_row_holds_is_refused_with_the_mend(store: Store, asked: int) -> None:
    with pytest.raises(StoreError, match="put back a backup"):
        await store.lead("one", ttl_s=LONG_S, epoch_min=asked)
    assert (await store.lead("one", ttl_s=LONG_S)).epoch == 1


async def test_the_same_name_in_another_process_is_another_holder(medium: Medium) -> None:
    one, two = await medium.open(), await medium.open()
    await one.lead("same", ttl_s=LONG_S)
    with pytest.raises(Conflict):
        await two.lead("same", ttl_s=LONG_S)
    await two.resign("same")  # not its own to give back
    assert (await one.lead("same", ttl_s=LONG_S)).epoch == 1


async def test_the_next_epoch_may_be_asked_to_be_higher(store: Store) -> None:
    assert (await store.lead("one", ttl_s=LONG_S, epoch_min=7)).epoch == 7
    await store.resign("one")
    assert (await store.lead("two", ttl_s=LONG_S, epoch_min=3)).epoch == 8


async def test_presence_names_who_is_alive_and_who_leads(medium: Medium) -> None:
    store, elsewhere = await medium.open(), await medium.open()
    assert await elsewhere.presence() == Presence(workers=(), leader="")
    await store.join("gateway-2", ttl_s=LONG_S)
    await store.join("gateway-1", ttl_s=LONG_S)
    await store.lead("reconciler-1", ttl_s=LONG_S)
    assert await elsewhere.presence() == Presence(workers=("gateway-1", "gateway-2"), leader="reconciler-1")
    await store.leave("gateway-1")
    await store.resign("reconciler-1")
    assert await elsewhere.presence() == Presence(workers=("gateway-2",), leader="")


async def test_whoever_let_their_lease_run_out_is_not_present(store: Store) -> None:
    await store.join("gateway-1", ttl_s=SHORT_S)
    await store.lead("reconciler-1", ttl_s=SHORT_S)
    await asyncio.sleep(SHORT_S * 1.5)
    assert await store.presence() == Presence(workers=(), leader="")
