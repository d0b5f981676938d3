"""Whose turn it is."""

import asyncio

import pytest

from reconciler.loop.queue import KeyQueue, Priority
from tests.virtual_time import clock_s

URGENT, CREATE, RESYNC = Priority.URGENT, Priority.CREATE, Priority.RESYNC


async def taken(queue: KeyQueue[str], count: int) -> list[tuple[str, Priority]]:
    return [await queue.take() for _ in range(count)]


async def taken_within(queue: KeyQueue[str], seconds: float) -> str | None:
    """The next key, if there is one within that time."""
    try:
        async with asyncio.timeout(seconds):
            return (await queue.take())[0]
    except TimeoutError:
        return None


async def test_a_key_is_in_the_queue_once() -> None:
    queue: KeyQueue[str] = KeyQueue()
    for _ in range(3):
        queue.add("a", CREATE)
    assert len(queue) == 1
    assert await taken(queue, 1) == [("a", CREATE)]
    assert await taken_within(queue, 60) is None


async def test_the_urgent_come_first_and_equals_in_the_order_of_asking() -> None:
    queue: KeyQueue[str] = KeyQueue()
    for key, priority in (("a", RESYNC), ("b", CREATE), ("c", URGENT), ("d", CREATE), ("e", URGENT)):
        queue.add(key, priority)
    assert [key for key, _ in await taken(queue, 5)] == ["c", "e", "b", "d", "a"]


async def test_the_more_urgent_of_two_entries_counts() -> None:
    queue: KeyQueue[str] = KeyQueue()
    for key, priority in (("a", RESYNC), ("b", CREATE), ("a", URGENT), ("b", RESYNC)):
        queue.add(key, priority)
    assert await taken(queue, 2) == [("a", URGENT), ("b", CREATE)]
    assert await taken_within(queue, 60) is None


async def test_a_key_has_one_worker_and_another_turn_if_it_was_added_meanwhile() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a", CREATE)
    await queue.take()
    queue.add("a", RESYNC)
    queue.add("a", URGENT)
    assert await taken_within(queue, 60) is None
    queue.done("a")
    assert await taken(queue, 1) == [("a", URGENT)]
    queue.done("a")
    assert await taken_within(queue, 60) is None


async def test_two_workers_have_two_keys() -> None:
    queue: KeyQueue[str] = KeyQueue()
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(1)
    queue.add("a", CREATE)
    queue.add("b", CREATE)
    done, waiting = await asyncio.wait(workers, timeout=1)
    assert sorted(task.result()[0] for task in done) == ["a", "b"]
    assert len(waiting) == 1
    waiting.pop().cancel()


async def test_a_worker_that_leaves_just_as_its_key_comes_loses_nothing() -> None:
    queue: KeyQueue[str] = KeyQueue()
    leaving = asyncio.create_task(queue.take())
    staying = asyncio.create_task(queue.take())
    await asyncio.sleep(1)
    queue.add("a", CREATE)
    leaving.cancel()
    assert await staying == ("a", CREATE)


async def test_a_worker_that_left_is_not_woken() -> None:
    queue: KeyQueue[str] = KeyQueue()
    leaving = asyncio.create_task(queue.take())
    await asyncio.sleep(1)
    leaving.cancel()
    await asyncio.sleep(1)
    queue.add("a", CREATE)
    assert await taken(queue, 1) == [("a", CREATE)]


async def test_a_key_comes_after_exactly_its_delay() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add_after("a", 12.5, URGENT)
    assert queue.is_idle()
    assert await queue.take() == ("a", URGENT)
    assert clock_s() == 12.5


DELAYS = {"an earlier one comes instead": (5, 5), "a later one changes nothing": (50, 10)}


@pytest.mark.parametrize(("second_s", "comes_at_s"), DELAYS.values(), ids=DELAYS.keys())
async def test_of_two_delays(second_s: float, comes_at_s: float) -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add_after("a", 10, CREATE)
    queue.add_after("a", second_s, CREATE)
    await queue.take()
    assert clock_s() == comes_at_s
    queue.done("a")
    assert await taken_within(queue, 100) is None


async def test_a_delay_that_is_over_is_no_delay() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add_after("a", -5, CREATE)
    assert await taken_within(queue, 1) == "a"
    assert clock_s() == 0


@pytest.mark.parametrize("drop", [lambda queue: queue.forget("a"), lambda queue: queue.close()])
async def test_a_delay_that_was_dropped_never_comes(drop: "object") -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add_after("a", 5, CREATE)
    drop(queue)  # type: ignore[operator]  # a table of calls
    assert await taken_within(queue, 100) is None


async def test_the_queue_is_idle_once_nobody_waits_or_works() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a", CREATE)
    assert not queue.is_idle()
    await queue.take()
    assert not queue.is_idle()
    queue.done("a")
    assert queue.is_idle()
