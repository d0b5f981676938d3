"""The engine's mirror: events are hints, the list is the truth, and unknown is never absence."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from reconciler.core.container import ContainerState, ObservedContainer
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.faulty import DeafEngine
from reconciler.engine.memory_machine import EVENTS_WAITING_MAX
from reconciler.engine.port import Engine
from reconciler.engine.wrapped import Verb
from reconciler.loop.observer import LIST_PERIOD_S, LIST_PERIOD_TROUBLED_S, Observer
from tests.reconciler.loop.machines import HeldEngine, ScriptedEngine, engine_on, machine, put
from tests.virtual_time import clock_s


class Told:
    """What an observer reported, pass by pass."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, changed: Iterable[ObservedContainer]) -> None:
        self.names += [one.name for one in changed]


def names(observer: Observer) -> set[str]:
    return {one.name for one in observer.containers()}


@asynccontextmanager
async def running(engine: Engine, told: Told | None = None) -> AsyncIterator[Observer]:
    observer = Observer(engine, told or Told())
    task = asyncio.create_task(observer.run())
    try:
        yield observer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: "object", within_s: float) -> float:
    """How long it took; fails where it took longer."""
    began_s = clock_s()
    async with asyncio.timeout(within_s):
        while not condition():  # type: ignore[operator]  # a call without arguments
            await asyncio.sleep(0.01)
    return clock_s() - began_s


async def test_before_the_first_list_everything_is_unknown() -> None:
    observer = Observer(engine_on(machine()), Told())
    assert observer.view("p-a", "a", "u").containers is None


async def test_a_list_tells_what_is_there_and_what_is_gone() -> None:
    where, told = machine(), Told()
    observer = Observer(engine_on(where), told)
    await put(where, "p-a")
    await observer.list()
    assert names(observer) == set(told.names) == {"p-a"}
    told.names.clear()
    where.remove_by_hand("p-a")
    await observer.list()
    assert observer.view("p-a", "home-p-a", "uid-p-a").containers == ()
    assert told.names == ["p-a"]


async def test_a_list_that_tells_nothing_new_wakes_nobody() -> None:
    where, told = machine(), Told()
    observer = Observer(engine_on(where), told)
    await put(where, "p-a")
    await observer.list()
    told.names.clear()
    await observer.list()
    assert told.names == []


async def test_a_view_holds_the_name_the_home_and_the_owner() -> None:
    where = machine()
    observer = Observer(engine_on(where), Told())
    await put(where, "mine", home="h", owner="u")
    await put(where, "same-home", home="h", owner="other")
    await put(where, "same-owner", home="other", owner="u")
    await put(where, "nobody", home="x", owner="y")
    where.put_foreign("taken")
    await observer.list()
    await observer.look("taken")
    seen = observer.view("taken", "h", "u").containers
    assert {one.name for one in seen or ()} == {"mine", "same-home", "same-owner", "taken"}
    assert observer.view("absent", "absent", "absent").containers == ()


@pytest.mark.fault(3)
async def test_an_engine_that_fails_makes_everything_unknown_and_nothing_absent() -> None:
    where, told = machine(), Told()
    engine = ScriptedEngine(engine_on(where))
    observer = Observer(engine, told)
    await put(where, "p-a")
    await observer.list()
    engine.fails = {Verb.LIST: "500 something is wrong", Verb.INSPECT: "500 something is wrong"}
    await observer.list()
    view = observer.view("p-a", "home-p-a", "uid-p-a")
    assert (view.containers, view.message) == (None, "500 something is wrong")
    with pytest.raises(OutcomeUnknownError):
        await observer.look("p-a")
    assert names(observer) == {"p-a"}


@pytest.mark.fault(1)
async def test_losing_sight_and_regaining_it_wake_everybody_once() -> None:
    where, told = machine(), Told()
    engine = ScriptedEngine(engine_on(where))
    observer = Observer(engine, told)
    await put(where, "p-a")
    await observer.list()
    told.names.clear()
    engine.fails = {Verb.LIST: "down"}
    for _ in range(5):
        await observer.list()
    assert told.names == ["p-a"]
    engine.fails = {}
    await observer.list()
    assert told.names == ["p-a", "p-a"]


async def test_a_list_comes_often_while_the_engine_fails_and_seldom_while_it_is_well() -> None:
    engine = ScriptedEngine(engine_on(machine()))
    engine.fails = {Verb.LIST: "down"}
    async with running(engine):
        await asyncio.sleep(10.5 * LIST_PERIOD_TROUBLED_S)
        failed = engine.calls.count(Verb.LIST)
        engine.fails = {}
        await asyncio.sleep(LIST_PERIOD_TROUBLED_S)
        engine.calls.clear()
        await asyncio.sleep(10.5 * LIST_PERIOD_S)
        assert engine.calls.count(Verb.LIST) in (10, 11)
    assert failed in (11, 12)


async def test_an_event_is_seen_at_once() -> None:
    where, told = machine(), Told()
    async with running(engine_on(where), told) as observer:
        await asyncio.sleep(1)
        await put(where, "p-a")
        assert await until(lambda: names(observer) == {"p-a"}, within_s=1) < 0.1
        where.remove_by_hand("p-a")
        assert await until(lambda: not names(observer), within_s=1) < 0.1
    assert told.names == ["p-a", "p-a"]


@pytest.mark.fault(4)
@pytest.mark.fault(38)
async def test_with_every_event_lost_the_list_tells() -> None:
    where = machine()
    async with running(DeafEngine(engine_on(where))) as observer:
        await asyncio.sleep(1)
        await put(where, "p-a")
        await until(lambda: names(observer) == {"p-a"}, within_s=LIST_PERIOD_S + 1)
        where.remove_by_hand("p-a")
        await until(lambda: not names(observer), within_s=LIST_PERIOD_S + 1)


@pytest.mark.fault(4)
async def test_a_stream_that_breaks_is_followed_by_a_list_and_another_stream() -> None:
    where = machine()
    async with running(engine_on(where)) as observer:
        await asyncio.sleep(1)
        where.cut_events()
        await asyncio.sleep(0.5)
        await put(where, "unheard")
        assert await until(lambda: names(observer) == {"unheard"}, within_s=5) < 2
        await put(where, "heard", port=21001)
        assert await until(lambda: "heard" in names(observer), within_s=5) < 0.1


@pytest.mark.fault(5)
async def test_more_events_than_the_engine_keeps_leave_the_same_picture_as_the_list() -> None:
    where = machine()
    engine = HeldEngine(engine_on(where))
    async with running(engine) as observer:
        await asyncio.sleep(1)
        engine.holding = True
        for number in range(EVENTS_WAITING_MAX + 20):
            await put(where, f"p-{number}", port=22000 + number)
        engine.holding = False
        for _, door in engine.held:
            door.set()
        await asyncio.sleep(LIST_PERIOD_S + 1)
        fresh = Observer(engine_on(where), Told())
        await fresh.list()
        assert {one.name: one for one in observer.containers()} == {
            one.name: one for one in fresh.containers()
        }


async def test_a_look_that_was_asked_earlier_does_not_overrule_a_later_one() -> None:
    where = machine()
    engine = HeldEngine(engine_on(where))
    observer = Observer(engine, Told())
    await observer.list()
    engine.holding = True
    earlier = asyncio.create_task(observer.look("p-a"))
    await engine.until_held(1)
    await put(where, "p-a")
    later = asyncio.create_task(observer.look("p-a"))
    await engine.until_held(2)
    for _, door in reversed(engine.held):
        door.set()
        await asyncio.sleep(0.01)
    assert (await earlier, (await later) is not None) == (None, True)
    assert names(observer) == {"p-a"}


async def test_a_look_that_was_asked_later_is_not_overruled_by_a_list() -> None:
    where = machine()
    engine = HeldEngine(engine_on(where))
    observer = Observer(engine, Told())
    engine.holding = True
    listing = asyncio.create_task(observer.list())
    await engine.until_held(1)
    engine.holding = False
    await put(where, "p-a")
    await observer.look("p-a")
    engine.held[0][1].set()
    await listing
    assert names(observer) == {"p-a"}


async def test_a_look_that_was_asked_earlier_is_overruled_by_a_list() -> None:
    where = machine()
    engine = HeldEngine(engine_on(where))
    observer = Observer(engine, Told())
    engine.holding = True
    looking = asyncio.create_task(observer.look("p-a"))
    await engine.until_held(1)
    engine.holding = False
    await put(where, "p-a")
    await observer.list()
    engine.held[0][1].set()
    await looking
    assert names(observer) == {"p-a"}


async def test_a_changed_state_is_seen_by_a_list() -> None:
    where, told = machine(), Told()
    observer = Observer(engine_on(where), told)
    container_id = await put(where, "p-a")
    await observer.list()
    told.names.clear()
    await engine_on(where).start(container_id)
    await observer.list()
    assert [one.state for one in observer.containers()] == [ContainerState.RUNNING]
    assert told.names == ["p-a"]
