"""Each faulty engine fails in its one way, and keeps the contract in every other."""

import asyncio
import math
import random
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from reconciler.core.container import ContainerSpec, EngineEvent, Identity, Placement
from reconciler.core.errors import NameConflictError, OutcomeUnknownError, TransientError
from reconciler.engine.faulty import (
    DeafEngine,
    ExhaustedPortsEngine,
    FlakyEngine,
    ForgetfulEngine,
    FullDiskEngine,
    HangingEngine,
    PhantomNameEngine,
    SlowEngine,
    Verb,
)
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine
from reconciler.engine.port import CALL_TIMEOUT_S, SUBSCRIBED, Engine
from state.kinds.template import Pull

SPEC = ContainerSpec("test:1", (), (), 8080, "1000", 1 << 20, 1.0, 64, 1 << 20, False, (), "", "")


class Sleeper:
    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        await asyncio.sleep(0)


@pytest.fixture
def memory() -> MemoryEngine:
    return MemoryEngine(Machine(lambda: datetime.now(UTC)), "p")


async def _create(engine: Engine, home: str = "a") -> str:
    identity = Identity("p", home, f"uid-{home}", 1, "", 1)
    return await engine.create(SPEC, Placement(f"p-{home}", "10.0.0.1", ""), identity)


async def test_a_slow_engine_takes_its_time(memory: MemoryEngine) -> None:
    sleeper = Sleeper()
    engine = SlowEngine(memory, sleeper, lambda verb: 2.0 if verb is Verb.CREATE else 0.5)
    await _create(engine)
    assert len(await engine.list()) == 1
    assert sleeper.slept_s == [2.0, 0.5]


@pytest.mark.fault(2)
@pytest.mark.parametrize("reaches", [True, False])
async def test_a_hanging_engine_ends_at_its_deadline_with_or_without_effect(
    memory: MemoryEngine, reaches: bool
) -> None:
    sleeper = Sleeper()
    engine = HangingEngine(memory, sleeper, reaches=lambda _verb: reaches)
    with pytest.raises(OutcomeUnknownError):
        await _create(engine)
    assert sleeper.slept_s == [CALL_TIMEOUT_S]
    assert len(await memory.list()) == int(reaches)


async def test_a_forgetful_engine_does_it_and_says_nothing(memory: MemoryEngine) -> None:
    engine = ForgetfulEngine(memory)
    with pytest.raises(OutcomeUnknownError):
        await _create(engine)
    assert [one.name for one in await engine.list()] == ["p-a"]


async def test_a_flaky_engine_fails_the_same_for_the_same_seed() -> None:
    async def outcomes() -> list[str]:
        engine = FlakyEngine(
            MemoryEngine(Machine(lambda: datetime.now(UTC)), "p"), random.Random(7), share=0.5
        )
        seen = []
        for number in range(50):
            try:
                await _create(engine, f"h{number}")
                seen.append("done")
            except OutcomeUnknownError:
                seen.append("unknown")
        return [*seen, *(one.name for one in await engine.inner.list())]

    first = await outcomes()
    assert first == await outcomes()
    assert {"done", "unknown"} <= set(first)


@pytest.mark.fault(4)
async def test_a_deaf_engine_subscribes_and_hears_only_what_it_does_not_lose(memory: MemoryEngine) -> None:
    engine = DeafEngine(memory, loses=lambda event: event.home == "a")
    async with aclosing(engine.events()) as stream:
        assert await anext(stream) == SUBSCRIBED
        await _create(engine, "a")
        await _create(engine, "b")
        assert await anext(stream) == EngineEvent("p-b", "b")


@pytest.mark.fault(12)
async def test_a_phantom_name_is_refused_and_shows_nothing_until_it_was_removed_often_enough(
    memory: MemoryEngine,
) -> None:
    engine = PhantomNameEngine(memory, {"p-a": 2, "p-b": math.inf})
    for _ in range(2):
        with pytest.raises(NameConflictError):
            await _create(engine)
        assert await engine.inspect("p-a") is None
        await engine.remove("p-a")
    await _create(engine)
    await engine.remove("p-b")
    with pytest.raises(NameConflictError):
        await _create(engine, "b")


@pytest.mark.fault(14)
async def test_a_full_disk_lets_nothing_be_made_and_everything_be_removed(memory: MemoryEngine) -> None:
    container_id = await _create(memory)
    engine = FullDiskEngine(memory)
    for call in (_create(engine, "b"), engine.start(container_id), engine.ensure_image("x:1", Pull.ALWAYS)):
        with pytest.raises(TransientError) as caught:
            await call
        assert caught.value.reason == "DiskFull"
    await engine.remove(container_id)
    assert await engine.list() == []
    engine.is_full = False
    await _create(engine, "b")


@pytest.mark.fault(13)
async def test_exhausted_ports_are_told_at_the_start(memory: MemoryEngine) -> None:
    engine = ExhaustedPortsEngine(memory)
    container_id = await _create(engine)
    with pytest.raises(TransientError) as caught:
        await engine.start(container_id)
    assert caught.value.reason == "AddressesExhausted"
    engine.is_exhausted = False
    await engine.start(container_id)
