"""What the in-memory machine adds to the contract: its clock, its worst cases, and its price."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.container import ContainerSpec, ContainerState, Identity, Placement
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import EVENTS_WAITING_MAX, Machine
from reconciler.engine.memory_profile import Profile, Workload, cluster_like, laptop_like
from reconciler.engine.port import SUBSCRIBED

SPEC = ContainerSpec("test:1", (), (), 8080, "1000", 1 << 20, 1.0, 64, 1 << 20, False, (), "", "/data")


class Clock:
    """Stands still until it is moved; whoever sleeps wakes when it passes."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self._sleepers: list[tuple[datetime, asyncio.Event]] = []

    def now(self) -> datetime:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        self._sleepers.append((self.at + timedelta(seconds=delay_s), woken))
        await woken.wait()

    async def move(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += timedelta(seconds=seconds)
        for due, woken in self._sleepers:
            if due <= self.at:
                woken.set()
        for _ in range(3):
            await asyncio.sleep(0)


def _machine(clock: Clock, profile: Profile | None = None, workload: Workload | None = None) -> Machine:
    return Machine(clock.now, clock.sleep, profile or laptop_like(), lambda _spec: workload or Workload())


async def _run(engine: MemoryEngine, home: str, address: str = "") -> str:
    identity = Identity("p", home, f"uid-{home}", 1, "", 1)
    container_id = await engine.create(SPEC, Placement(f"p-{home}", address, f"/homes/{home}"), identity)
    await engine.start(container_id)
    return container_id


async def test_a_probe_succeeds_only_after_the_workloads_own_start() -> None:
    clock = Clock()
    machine = _machine(clock, workload=Workload(startup_s=5.0))
    await _run(MemoryEngine(machine, "p"), "a", "10.0.0.1")
    assert not machine.probe("10.0.0.1", 8080)
    await clock.move(4.9)
    assert not machine.probe("10.0.0.1", 8080)
    await clock.move(0.1)
    assert machine.probe("10.0.0.1", 8080)
    assert not machine.probe("10.0.0.1", 8081)
    assert machine.home_at("10.0.0.1", 8080) == "a"


async def test_a_published_port_leads_to_its_container_alone() -> None:
    clock = Clock()
    machine = _machine(clock)
    engine = MemoryEngine(machine, "p")
    await _run(engine, "a", "127.0.0.1:21000")
    await _run(engine, "b", "127.0.0.1:21001")
    assert [machine.home_at("127.0.0.1", port) for port in (21000, 21001, 21002)] == ["a", "b", ""]


@pytest.mark.fault(37)
async def test_a_freed_address_is_the_next_one_given() -> None:
    clock = Clock()
    machine = _machine(clock, cluster_like(removal_s=10))
    engine = MemoryEngine(machine, "p")
    first = await _run(engine, "a")
    seen = await engine.inspect("p-a")
    assert seen is not None
    await engine.remove(first)
    await _run(engine, "b")
    assert machine.home_at(seen.endpoint_host, seen.endpoint_port) == "b"


async def test_an_asynchronous_removal_holds_the_name_until_it_is_over() -> None:
    clock = Clock()
    machine = _machine(clock, cluster_like(removal_s=10))
    engine = MemoryEngine(machine, "p")
    await engine.remove(await _run(engine, "a"))
    seen = await engine.inspect("p-a")
    assert seen is not None
    assert seen.state is ContainerState.REMOVING
    await clock.move(10)
    assert await engine.inspect("p-a") is None
    assert "p-a-data" in machine.volumes
    await engine.remove_data("p-a")
    assert machine.volumes == {}


async def test_a_program_that_ends_by_itself_ends_once_a_start() -> None:
    clock = Clock()
    machine = _machine(clock, workload=Workload(lives_s=10, exit_code=1))
    engine = MemoryEngine(machine, "p")
    container_id = await _run(engine, "a", "10.0.0.1")
    await clock.move(5)
    await engine.stop(container_id, 0)
    await engine.start(container_id)
    await clock.move(5)
    seen = await engine.inspect("p-a")
    assert seen is not None
    assert seen.state is ContainerState.RUNNING, "the first start's end is not the second's"
    await clock.move(5)
    seen = await engine.inspect("p-a")
    assert seen is not None
    assert (seen.state, seen.exit_code, seen.finished_at) == (ContainerState.EXITED, 1, clock.at)
    await machine.close()


async def test_a_machine_that_is_down_answers_nothing_and_keeps_everything() -> None:
    clock = Clock()
    machine = _machine(clock)
    engine = MemoryEngine(machine, "p")
    await _run(engine, "a", "10.0.0.1")
    machine.down = "somebody stopped it"
    with pytest.raises(OutcomeUnknownError, match="somebody stopped it"):
        await engine.list()
    machine.restart()
    machine.down = ""
    assert [one.state for one in await engine.list()] == [ContainerState.EXITED]


@pytest.mark.fault(5)
async def test_a_slow_listener_misses_events_and_none_is_kept_for_it() -> None:
    clock = Clock()
    machine = _machine(clock)
    engine = MemoryEngine(machine, "p")
    stream = engine.events()
    assert await anext(stream) == SUBSCRIBED
    for number in range(EVENTS_WAITING_MAX):
        await _run(engine, f"h{number}", f"10.0.1.{number}")
    machine.cut_events()
    heard = [event async for event in stream]
    assert 0 < len(heard) < 2 * EVENTS_WAITING_MAX


async def test_listing_ten_thousand_containers_builds_none_of_them_anew() -> None:
    clock = Clock()
    machine = _machine(clock)
    engine = MemoryEngine(machine, "p")
    for number in range(10_000):
        machine.create(
            SPEC,
            Placement(f"p-{number}", "", ""),
            Identity("p", str(number), "uid", 1, "", 1),
        )
    first, second = await engine.list(), await engine.list()
    assert len(first) == 10_000
    assert all(one is other for one, other in zip(first, second, strict=True))
