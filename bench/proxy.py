"""The proxy beside nginx and configurable-http-proxy, in one run and on the same work.

Requests per second come from interleaved bursts of wrk, so that what the machine does meanwhile falls on all
alike; a ratio is taken within a round. Next: :mod:`bench.fronts` (who is measured), :mod:`bench.streams`
(what is measured of streams).
"""

import platform
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bench import streams
from bench.fronts import Fronts, fronts, prepare
from bench.load import Burst, burst
from bench.own_network import in_own_network, is_own_network
from bench.results import Sample

CONNECTIONS = (1, 32, 256)
FRONTS = ("direct", "nginx", "chp", "gateway")
ROUNDS, ROUNDS_QUICK = 7, 1
BURST_S, BURST_QUICK_S = 3, 1
WARM_UP_S = 2
HOW = (
    f"223-byte MCP call, 336-byte answer, one worker on one core, Python {platform.python_version()} "
    f"({platform.python_compiler()}), {{rounds}} interleaved rounds of {{seconds}} s"
)


@dataclass
class Rounds:
    """Every burst, by front and number of connections, in the order of the rounds."""

    bursts: dict[tuple[str, int], list[Burst]] = field(default_factory=lambda: defaultdict(list))

    def per_s(self, front: str, connections: int) -> list[float]:
        return [one.per_s for one in self.bursts[front, connections]]

    def ratios(self, other: str, connections: int) -> tuple[float, ...]:
        ours, theirs = self.per_s("gateway", connections), self.per_s(other, connections)
        return tuple(mine / its for mine, its in zip(ours, theirs, strict=True))

    def added_ms(self) -> tuple[float, ...]:
        ours, direct = self.bursts["gateway", 1], self.bursts["direct", 1]
        return tuple(mine.p50_ms - its.p50_ms for mine, its in zip(ours, direct, strict=True))

    def rates(self, connections: int) -> dict[str, tuple[float, ...]]:
        return {f"{front} req/s": tuple(self.per_s(front, connections)) for front in FRONTS}

    def latencies(self, connections: int) -> dict[str, tuple[float, ...]]:
        return {
            f"{front} p50 ms": tuple(one.p50_ms for one in self.bursts[front, connections])
            for front in FRONTS
        }

    def failed(self) -> dict[str, tuple[float, ...]]:
        return {
            f"c{connections} failed requests": tuple(
                float(one.failed) for one in self.bursts["gateway", connections]
            )
            for connections in CONNECTIONS
        }


def run(_out: Path, *, quick: bool) -> list[Sample]:
    return in_own_network(_measured, prepare(), quick)


def _measured(modules: Path, quick: bool) -> list[Sample]:
    count = ROUNDS_QUICK if quick else ROUNDS
    seconds = BURST_QUICK_S if quick else BURST_S
    with tempfile.TemporaryDirectory() as folder, fronts(Path(folder), modules) as standing:
        streamed = streams.run(standing, quick=quick)
        rounds = _rounds(standing, count, seconds)
    how = HOW.format(rounds=count, seconds=seconds)
    how += ", in a network namespace of their own" if is_own_network() else ", in the machine's network"
    return [*_samples(rounds, how), *streamed]


def _samples(rounds: Rounds, how: str) -> list[Sample]:
    failed = rounds.failed()
    compared = (
        ("proxy.vs_chp.c32", "chp", 32),
        ("proxy.vs_chp.c256", "chp", 256),
        ("proxy.vs_nginx.c32", "nginx", 32),
    )
    return [
        *(
            Sample(name, rounds.ratios(other, at), f"{how}; {_rates(rounds, at)}", rounds.rates(at))
            for name, other, at in compared
        ),
        Sample(
            "proxy.added_ms.c1",
            rounds.added_ms(),
            f"median latency over direct, c=1; {_rates(rounds, 1)}",
            {**rounds.latencies(1), **rounds.rates(1)},
        ),
        Sample(
            "proxy.failed_requests",
            (sum(map(sum, failed.values())),),
            f"in the gateway's {sum(map(len, failed.values()))} bursts",
            failed,
        ),
    ]


def _rounds(standing: Fronts, count: int, seconds: int) -> Rounds:
    ports = {
        "direct": standing.direct,
        "nginx": standing.nginx,
        "chp": standing.chp,
        "gateway": standing.gateway,
    }
    for port in ports.values():
        burst(standing.load, port, 32, WARM_UP_S)
    rounds = Rounds()
    for _ in range(count):
        for connections in CONNECTIONS:
            for front, port in ports.items():
                rounds.bursts[front, connections].append(burst(standing.load, port, connections, seconds))
    return rounds


def _rates(rounds: Rounds, connections: int) -> str:
    """Median requests a second of each, for a reader."""
    rates = {front: sorted(rounds.per_s(front, connections)) for front in FRONTS}
    return "req/s " + ", ".join(f"{front} {rate[len(rate) // 2]:,.0f}" for front, rate in rates.items())
