"""The right to act: one holder at a time, and nobody acts past a lease."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reconciler.core.errors import TransientError
from reconciler.loop.leader import LEASE_MARGIN_S, LEASE_TTL_S, RENEW_PERIOD_S, Leader
from state.store.errors import Fenced, Unavailable
from state.store.memory import MemoryBackend
from state.store.port import Leadership
from state.store.rowstore import RowStore
from tests.virtual_time import clock_s


class LockableStore(RowStore):
    """Leadership cannot be asked for while ``locked``."""

    locked = False

    async def lead(self, holder: str, *, ttl_s: float, epoch_min: int = 0) -> Leadership:
        if self.locked:
            raise Unavailable("database is locked")
        return await super().lead(holder, ttl_s=ttl_s, epoch_min=epoch_min)


class Two:
    """Two reconcilers over one set of rows."""

    def __init__(self) -> None:
        rows = MemoryBackend(clock_s)
        self.stores = [LockableStore(rows), LockableStore(rows)]
        self.first, self.second = (
            Leader(store, f"holder-{number}", clock_s) for number, store in enumerate(self.stores)
        )


async def test_who_never_led_may_do_nothing() -> None:
    leader = Two().first
    assert not leader.is_leading
    with pytest.raises(TransientError):
        leader.require()


@pytest.mark.fault(19)
async def test_the_second_waits_until_the_first_resigns() -> None:
    two = Two()
    await two.first.acquire()
    waiting = asyncio.create_task(two.second.acquire())
    keeping = asyncio.create_task(two.first.keep())
    await asyncio.sleep(10 * LEASE_TTL_S)
    assert (two.first.is_leading, two.second.is_leading) == (True, False)
    keeping.cancel()
    await two.first.resign()
    await waiting
    assert (two.first.is_leading, two.second.is_leading) == (False, True)
    assert two.second.epoch > two.first.epoch


@pytest.mark.fault(19)
async def test_the_second_takes_over_from_a_dead_first_within_its_lease() -> None:
    two = Two()
    await two.first.acquire()
    began_s = clock_s()
    await two.second.acquire()
    assert clock_s() - began_s <= LEASE_TTL_S + RENEW_PERIOD_S
    with pytest.raises(Fenced):
        await two.stores[0].transact(lambda tx: tx.fence(two.first.epoch), actor="test")
    await two.stores[1].transact(lambda tx: tx.fence(two.second.epoch), actor="test")


@pytest.mark.fault(19)
async def test_at_no_moment_do_both_lead() -> None:
    two = Two()
    await two.first.acquire()
    waiting = asyncio.create_task(two.second.acquire())
    while not waiting.done():
        await asyncio.sleep(0.1)
        assert not (two.first.is_leading and two.second.is_leading)
    assert two.second.is_leading


async def test_nothing_is_begun_in_a_leases_last_second() -> None:
    leader = Two().first
    await leader.acquire()
    await asyncio.sleep(LEASE_TTL_S - LEASE_MARGIN_S - 0.001)
    leader.require()
    await asyncio.sleep(0.002)
    with pytest.raises(TransientError):
        leader.require()


async def lose_to_another(two: Two) -> None:
    two.stores[0].locked = True
    await two.second.acquire()
    two.stores[0].locked = False


async def lapse(two: Two) -> None:
    two.stores[0].locked = True
    await asyncio.sleep(LEASE_TTL_S + 1)
    two.stores[0].locked = False


LOSSES: dict[str, Callable[[Two], Awaitable[Any]]] = {
    "because another one leads": lose_to_another,
    "because its lease lapsed, though nobody took it": lapse,
}


@pytest.mark.fault(15)
@pytest.mark.fault(19)
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
async def test_who_lost_the_lead_stops_and_may_do_nothing(loss: Callable[[Two], Awaitable[Any]]) -> None:
    two = Two()
    await two.first.acquire()
    keeping = asyncio.create_task(two.first.keep())
    await loss(two)
    await asyncio.wait_for(keeping, 2 * RENEW_PERIOD_S)
    assert not two.first.is_leading


@pytest.mark.fault(15)
async def test_a_store_that_is_locked_for_a_moment_costs_nothing() -> None:
    two = Two()
    await two.first.acquire()
    keeping = asyncio.create_task(two.first.keep())
    for _ in range(20):
        two.stores[0].locked = True
        await asyncio.sleep(RENEW_PERIOD_S + 1)
        two.stores[0].locked = False
        await asyncio.sleep(RENEW_PERIOD_S + 1)
        assert two.first.is_leading
    assert two.first.epoch == 1
    keeping.cancel()


async def test_the_epoch_can_be_raised_and_never_sinks() -> None:
    two = Two()
    await two.first.acquire(epoch_min=40)
    assert two.first.epoch == 40
    await two.first.resign()
    await two.second.acquire()
    assert two.second.epoch == 41
