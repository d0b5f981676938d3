"""The fence's report as the reconciler follows it: read again and again, told when it says something else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network

from reconciler.core.isolation import FenceAsked
from reconciler.loop.fence import LOOK_PERIOD_S, READ_S_MAX, Fence, ReadFence, no_fence
from state.fence import FenceReport, FenceUnreadable, boot_id
from tests.virtual_time import VirtualLoop, clock_s

SUBNETS = (IPv4Network("10.211.7.0/24"),)


class Changes:
    """When something was told."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def __call__(self) -> None:
        self.at_s.append(clock_s())


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def report(*, kept: bool = True) -> FenceReport:
    return FenceReport(boot_id=boot_id(), subnets=SUBNETS, trusted=(), kept=kept, written_at=loop().now())


@asynccontextmanager
async def looking(read: ReadFence) -> AsyncIterator[tuple[Fence, Changes]]:
    """Somebody who has looked once and goes on looking."""
    changes = Changes()
    fence = Fence(read, FenceAsked(frozenset(SUBNETS)), loop().now, on_change=changes)
    await fence.look()
    task = asyncio.create_task(fence.run())
    try:
        yield fence, changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_fence_that_is_renewed_is_told_once() -> None:
    async def read() -> FenceReport:
        return report()

    async with looking(read) as (fence, changes):
        await asyncio.sleep(600)
        assert fence.isolation.is_fenced
        assert len(changes.at_s) == 1


async def test_a_fence_that_nobody_renews_is_believed_for_ninety_seconds() -> None:
    last = report()

    async def read() -> FenceReport:
        return last

    async with looking(read) as (fence, changes):
        await asyncio.sleep(90)
        assert fence.isolation.is_fenced
        await asyncio.sleep(LOOK_PERIOD_S + 1)
        assert fence.isolation.reason == "FenceUnkept"
        assert len(changes.at_s) == 2


async def test_a_fence_that_comes_and_goes_is_told_within_a_look() -> None:
    there: list[FenceReport] = []

    async def read() -> FenceReport | None:
        return there[0] if there else None

    async with looking(read) as (fence, changes):
        assert fence.isolation.reason == "NotFenced"
        for stands in (True, False):
            if stands:
                there.append(report(kept=False))
            else:
                there.clear()
            before_s = clock_s()
            await asyncio.sleep(LOOK_PERIOD_S + 0.1)
            assert fence.isolation.is_fenced is stands
            assert changes.at_s[-1] - before_s <= LOOK_PERIOD_S


async def test_a_report_that_cannot_be_read_is_no_fence_and_says_why() -> None:
    async def read() -> FenceReport:
        raise FenceUnreadable("fence.json is no fence's report; remove it")

    async with looking(read) as (fence, changes):
        assert fence.isolation.reason == "FenceUnreadable"
        assert "fence.json is no fence's report" in fence.isolation.message
        await asyncio.sleep(100)
        assert len(changes.at_s) == 1


async def test_a_disk_that_hangs_is_waited_for_so_long_and_asked_again() -> None:
    asked: list[float] = []

    async def read() -> FenceReport:
        asked.append(clock_s())
        await asyncio.sleep(timedelta(days=1).total_seconds())
        return report()

    began_s = clock_s()
    async with looking(read) as (fence, _):
        assert clock_s() - began_s == READ_S_MAX
        assert fence.isolation.reason == "FenceUnreadable"
        await asyncio.sleep(2 * (LOOK_PERIOD_S + READ_S_MAX))
        assert len(asked) == 3


async def test_where_nobody_writes_reports_there_is_no_fence() -> None:
    async with looking(no_fence) as (fence, _):
        assert fence.isolation.reason == "NotFenced"
