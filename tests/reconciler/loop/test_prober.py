"""Whether containers answer: when they are asked, and what is made of it."""

import asyncio
from typing import Any

import pytest

from reconciler.core.world import Health
from reconciler.loop.prober import PANIC_COUNT_MIN, Prober, Target
from state.kinds.template import Probes
from tests.virtual_time import clock_s, now

REFUSED = "connection refused"


class Containers:
    """Answers for every container: well, unless a test said otherwise."""

    def __init__(self) -> None:
        self.ready_at_s: dict[int, float] = {}
        self.sick: set[int] = set()
        self.asked: list[tuple[float, int, str]] = []

    async def __call__(self, host: str, port: int, path: str, timeout_s: float) -> str:
        self.asked.append((clock_s(), port, path))
        await asyncio.sleep(0)
        is_well = clock_s() >= self.ready_at_s.get(port, 0.0) and port not in self.sick
        return "" if is_well else REFUSED

    def times_s(self, port: int = 1) -> list[float]:
        return [round(at, 6) for at, asked, _ in self.asked if asked == port]


def target(port: int = 1, **probes: Any) -> Target:
    settings = {"liveness": {"http": "/live", "periodSeconds": 10}, **probes}
    return Target(f"i-{port}", "127.0.0.1", port, Probes.model_validate(settings))


class Bench:
    def __init__(self) -> None:
        self.containers = Containers()
        self.woken: list[str] = []
        self.prober = Prober(self.containers, now, self.woken.append)

    def health(self, port: int = 1) -> Health:
        health = self.prober.health(f"i-{port}")
        assert health is not None
        return health


async def test_what_was_never_watched_has_no_health() -> None:
    assert Bench().prober.health("i-1") is None


async def test_readiness_is_seen_soon_after_it_is_there() -> None:
    for ready_at_s in (0.0, 0.03, 0.5, 3.0, 40.0):
        bench = Bench()
        began_s = clock_s()
        bench.containers.ready_at_s[1] = began_s + ready_at_s
        bench.prober.watch(target())
        while not bench.woken:
            await asyncio.sleep(0.001)
        late_s = clock_s() - began_s - ready_at_s
        assert late_s <= max(0.03, 0.05 * ready_at_s)
        assert bench.health().passed_at is not None
        await bench.prober.close()


async def test_startup_probes_come_at_the_period_in_the_end() -> None:
    bench = Bench()
    bench.containers.ready_at_s[1] = 1e9
    bench.prober.watch(target(startup={"periodSeconds": 2}))
    await asyncio.sleep(300)
    times = bench.containers.times_s()
    assert times[-1] - times[-2] == pytest.approx(2)
    assert len(times) < 400
    assert (bench.health().passed_at, bench.health().message) == (None, REFUSED)
    await bench.prober.close()


async def test_liveness_probes_come_at_their_period_and_path() -> None:
    bench = Bench()
    bench.prober.watch(target(startup={"http": "/start"}))
    await asyncio.sleep(35)
    assert bench.containers.asked == [(0, 1, "/start"), (10, 1, "/live"), (20, 1, "/live"), (30, 1, "/live")]
    await bench.prober.close()


@pytest.mark.fault(26)
async def test_failures_in_a_row_are_counted_and_told_from_the_threshold_on() -> None:
    bench = Bench()
    bench.prober.watch(target())
    await asyncio.sleep(1)
    bench.woken.clear()
    bench.containers.sick.add(1)
    counts = []
    for _ in range(4):
        await asyncio.sleep(10)
        counts.append((bench.health().failures, len(bench.woken)))
    assert counts == [(1, 0), (2, 0), (3, 1), (4, 2)]
    assert bench.health().message == REFUSED
    bench.containers.sick.clear()
    await asyncio.sleep(10)
    assert (bench.health().failures, bench.health().message, len(bench.woken)) == (0, "", 3)
    await bench.prober.close()


async def test_the_same_target_again_changes_nothing_and_another_one_starts_over() -> None:
    bench = Bench()
    bench.prober.watch(target())
    await asyncio.sleep(5)
    passed = bench.health()
    bench.prober.watch(target())
    assert bench.health() is passed
    bench.prober.watch(Target("i-1", "127.0.0.1", 2, target().probes))
    assert bench.health().passed_at is None
    await asyncio.sleep(60)
    assert bench.containers.times_s(1) == [0]
    await bench.prober.close()


async def test_what_is_forgotten_is_asked_no_more() -> None:
    bench = Bench()
    bench.prober.watch(target())
    await asyncio.sleep(5)
    bench.prober.forget("i-1")
    bench.prober.forget("never seen")
    await asyncio.sleep(100)
    assert bench.containers.times_s() == [0]
    assert bench.prober.health("i-1") is None


SICK = {
    "a few of a few are suspicious only from five on": (4, 4, False),
    "five of five are suspicious": (5, 5, True),
    "half of them is not": (10, 5, False),
    "more than half is": (10, 6, True),
    "many of very many are not": (100, 40, False),
    "none is not": (10, 0, False),
}


@pytest.mark.fault(27)
@pytest.mark.parametrize(("count", "sick", "suspect"), SICK.values(), ids=SICK.keys())
async def test_the_prober_is_suspect_when_most_fail_at_once(count: int, sick: int, suspect: bool) -> None:
    bench = Bench()
    for port in range(count):
        bench.prober.watch(target(port))
    await asyncio.sleep(1)
    bench.containers.sick = set(range(sick))
    await asyncio.sleep(10)
    assert bench.prober.is_suspect() is suspect
    bench.containers.sick = set()
    await asyncio.sleep(10)
    assert not bench.prober.is_suspect()
    await bench.prober.close()


@pytest.mark.fault(27)
async def test_what_is_forgotten_fails_no_more() -> None:
    bench = Bench()
    for port in range(PANIC_COUNT_MIN):
        bench.prober.watch(target(port))
    await asyncio.sleep(1)
    bench.containers.sick = set(range(PANIC_COUNT_MIN))
    await asyncio.sleep(10)
    assert bench.prober.is_suspect()
    bench.prober.forget("i-0")
    assert not bench.prober.is_suspect()
    await bench.prober.close()
