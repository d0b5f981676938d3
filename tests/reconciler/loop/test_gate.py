"""How many start at once, how many are made in a minute, and how many there are at all."""

import asyncio

import pytest

from reconciler.core.errors import TransientError
from reconciler.loop.gate import CreationRate, Creations, StartGate
from state.kinds.incarnation import Incarnation, IncarnationNames, IncarnationSpec, IncarnationStatus
from state.kinds.resource import Metadata
from tests.virtual_time import clock_s


class Crowd:
    """Starts that take ten seconds each."""

    def __init__(self, gate: StartGate) -> None:
        self._gate = gate
        self._now = 0
        self.most = 0
        self.began_at_s: dict[str, float] = {}

    async def start(self, name: str, *, urgent: bool) -> None:
        async with self._gate.place(urgent=urgent):
            self.began_at_s[name] = clock_s()
            self._now += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(10)
            self._now -= 1


async def test_never_more_than_the_places_there_are() -> None:
    crowd = Crowd(StartGate(at_once=8, reserved=2))
    await asyncio.gather(*(crowd.start(str(n), urgent=n % 3 == 0) for n in range(60)))
    assert crowd.most == 8
    assert len(crowd.began_at_s) == 60


async def test_who_is_not_urgent_leaves_the_reserved_places_free() -> None:
    crowd = Crowd(StartGate(at_once=8, reserved=2))
    await asyncio.gather(*(crowd.start(str(n), urgent=False) for n in range(60)))
    assert crowd.most == 6


async def test_who_is_urgent_is_never_behind_a_whole_rollout() -> None:
    crowd = Crowd(StartGate(at_once=8, reserved=2))
    rollout = [asyncio.create_task(crowd.start(str(n), urgent=False)) for n in range(60)]
    await asyncio.sleep(1)
    await crowd.start("urgent", urgent=True)
    assert crowd.began_at_s["urgent"] == 1
    await asyncio.gather(*rollout)


async def test_places_are_given_in_the_order_of_asking() -> None:
    crowd = Crowd(StartGate(at_once=2, reserved=1))
    await asyncio.gather(*(crowd.start(str(n), urgent=False) for n in range(6)))
    assert [crowd.began_at_s[str(n)] for n in range(6)] == [0, 10, 20, 30, 40, 50]


async def test_who_gives_up_waiting_takes_no_place() -> None:
    crowd = Crowd(StartGate(at_once=2, reserved=1))
    first = asyncio.create_task(crowd.start("first", urgent=False))
    await asyncio.sleep(1)
    for urgent in (False, True):
        waiting = [asyncio.create_task(crowd.start(str(n), urgent=urgent)) for n in range(5)]
        await asyncio.sleep(1)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    await first
    await asyncio.gather(crowd.start("a", urgent=False), crowd.start("b", urgent=True))
    assert crowd.began_at_s["a"] == crowd.began_at_s["b"] == clock_s() - 10


def test_a_gate_without_a_place_for_the_many_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        StartGate(at_once=2, reserved=2)


async def test_a_minute_has_room_for_so_many_creations() -> None:
    rate = CreationRate(3, clock_s)
    for _ in range(3):
        rate.spend()
        await asyncio.sleep(10)
    with pytest.raises(TransientError) as refused:
        rate.spend()
    assert (refused.value.reason, refused.value.retry_after_s) == ("CreationRate", 30)
    await asyncio.sleep(30)
    rate.spend()
    with pytest.raises(TransientError):
        rate.spend()
    await asyncio.sleep(10)
    rate.spend()


def intent(home: str = "a" * 26, number: int = 1) -> Incarnation:
    spec = IncarnationSpec(
        home=home,
        user_container="uid",
        number=number,
        spec_hash="",
        container_name="",
        port=8080,
        epoch=1,
    )
    name = IncarnationNames.record(home, number)
    return Incarnation(metadata=Metadata(name=name), spec=spec, status=IncarnationStatus())


def test_an_intent_that_nobody_here_wrote_spends_the_rate_once() -> None:
    rate, creations = CreationRate(2, lambda: 0.0), Creations()
    for _ in range(3):  # it is tried again and again
        creations.begin(intent(), 0, 10, rate)
        creations.end()
    creations.begin(intent("b" * 26), 1, 10, rate)
    creations.end()
    with pytest.raises(TransientError) as refused:
        creations.begin(intent("c" * 26), 2, 10, rate)
    assert refused.value.reason == "CreationRate"


def test_an_intent_of_our_own_has_spent_it() -> None:
    rate, creations = CreationRate(1, lambda: 0.0), Creations()
    rate.spend()
    creations.intended("a" * 26, 1)
    creations.begin(intent(), 0, 10, rate)


def test_what_the_engine_shows_and_what_is_under_way_fill_the_ceiling() -> None:
    rate, creations = CreationRate(100, lambda: 0.0), Creations()
    creations.begin(intent("a" * 26), 8, 10, rate)
    creations.begin(intent("b" * 26), 8, 10, rate)
    with pytest.raises(TransientError) as refused:
        creations.begin(intent("c" * 26), 8, 10, rate)
    assert refused.value.reason == "CapacityReached"
    creations.end()
    creations.begin(intent("c" * 26), 8, 10, rate)
