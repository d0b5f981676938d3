"""Events: hints that something changed, and an end when the connection ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from reconciler.core.container import EngineEvent, Identity
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.port import SUBSCRIBED, Engine
from tests.reconciler.engine.rig import (
    HOME,
    OTHER_HOME,
    PATIENCE_S,
    Program,
    Rig,
    created,
    exited,
    seat,
    started,
)


class Ear:
    """Collects an engine's events beside the test."""

    def __init__(self, engine: Engine) -> None:
        self.heard: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self.ended = asyncio.Event()
        self._engine = engine

    async def listen(self) -> None:
        try:
            async with aclosing(self._engine.events()) as stream:
                async for event in stream:
                    self.heard.put_nowait(event)
        except OutcomeUnknownError:
            pass  # one of the two ways to end that the contract allows
        self.ended.set()

    async def next(self) -> EngineEvent:
        async with asyncio.timeout(PATIENCE_S):
            return await self.heard.get()

    def rest(self) -> list[EngineEvent]:
        return [self.heard.get_nowait() for _ in range(self.heard.qsize())]


@asynccontextmanager
async def ear(engine: Engine) -> AsyncIterator[Ear]:
    """Stands when the block begins."""
    one = Ear(engine)
    listening = asyncio.create_task(one.listen())
    try:
        assert await one.next() == SUBSCRIBED
        yield one
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.fault(38)
async def test_start_death_and_removal_by_hand_are_heard(rig: Rig) -> None:
    one = seat(rig)
    hint = EngineEvent(one.name, HOME)
    async with ear(rig.engine) as events:
        await created(rig, one)
        assert await events.next() == hint
        events.rest()
        await rig.engine.start(one.name)
        assert await events.next() == hint
        await asyncio.sleep(0)
        events.rest()
        await rig.remove_by_hand(one.name)
        assert await events.next() == hint


async def test_a_programs_own_end_is_heard(rig: Rig) -> None:
    one = seat(rig, Program.CRASH)
    await created(rig, one)
    async with ear(rig.engine) as events:
        await rig.engine.start(one.name)
        await exited(rig, one)
        assert await events.next() == EngineEvent(one.name, HOME)


async def test_nothing_is_heard_of_what_is_not_ours(rig: Rig) -> None:
    ours, theirs = seat(rig), seat(rig, home=OTHER_HOME)
    async with ear(rig.engine) as events:
        await rig.put_foreign(f"{rig.project}-foreign")
        identity = Identity(rig.other_project, OTHER_HOME, "uid-bbbb", 1, "", 1)
        await rig.other_engine.create(theirs.spec, theirs.placement, identity)
        await created(rig, ours)
        assert await events.next() == EngineEvent(ours.name, HOME)


@pytest.mark.fault(4)
async def test_the_stream_ends_when_the_connection_does(rig: Rig) -> None:
    async with ear(rig.engine) as events:
        await started(rig, seat(rig))
        await events.next()
        await rig.cut_events()
        async with asyncio.timeout(PATIENCE_S):
            await events.ended.wait()


@pytest.mark.fault(4)
async def test_a_silent_stream_ends_when_the_connection_does(rig: Rig) -> None:
    """No event ever came, so an engine may not even have answered yet."""
    async with ear(rig.engine) as events:
        await rig.cut_events()
        async with asyncio.timeout(PATIENCE_S):
            await events.ended.wait()


async def test_two_may_listen_and_one_may_leave(rig: Rig) -> None:
    one = seat(rig)
    async with ear(rig.engine) as stays:
        async with ear(rig.engine):
            pass
        await created(rig, one)
        assert await stays.next() == EngineEvent(one.name, HOME)
