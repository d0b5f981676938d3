"""Signing in at real gateways, each a process: many people at once, and a program among many.

``auth.signins.200``: how many of 200 people who sign in at once do not end at their account page.
``auth.clients.50000``: a program's whole first connection at a gateway where 50,000 programs are registered,
over the same where 10 are. Next: :mod:`bench.visitor`, who signs in.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.gateways import Processes, settings_of, until_ready
from bench.issuer import Issuer, issuing
from bench.load import LOAD_CORE
from bench.people import register, settle, subject_of, user_of
from bench.results import Sample
from bench.visitor import Astray, Visitor, connect, programs
from mcpgw.testing.ports import free_ports

PEOPLE = 200
CLIENTS_FEW = 10
CLIENTS_MANY, CLIENTS_MANY_QUICK = 50_000, 5_000
WARM_UPS = 3
# A registration each: an address may do 200 at once, and then five a second.
ROUNDS, ROUNDS_QUICK = 120, 20


@dataclass(frozen=True, slots=True)
class Gateways:
    """Two that differ in how many programs are registered; the first person has a container at both."""

    few: str  # origins
    many: str


def measured(quick: bool) -> list[Sample]:
    os.sched_setaffinity(0, {int(LOAD_CORE)})  # the gateways have the other one to themselves
    return asyncio.run(_measured(quick))


async def _measured(quick: bool) -> list[Sample]:
    clients = CLIENTS_MANY_QUICK if quick else CLIENTS_MANY
    async with issuing() as issuer, _gateways(issuer, clients) as standing:
        return [
            await _sign_ins(standing.few),
            await _connections(standing, clients, ROUNDS_QUICK if quick else ROUNDS),
        ]


@asynccontextmanager
async def _gateways(issuer: Issuer, clients: int) -> AsyncIterator[Gateways]:
    first = free_ports(5)
    upstream, few, few_private, many, many_private = range(first, first + 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = Processes(folder)
        try:
            processes.start_upstream(upstream)
            for port, private, count in ((few, few_private, CLIENTS_FEW), (many, many_private, clients)):
                settings = settings_of(folder / str(port), port, private) | issuer.settings
                await settle(settings, [user_of(0)], upstream=upstream)
                await register(settings, count)
                processes.start_gateway(settings)
            for private in (few_private, many_private):
                await asyncio.to_thread(until_ready, private)
            yield Gateways(f"http://localhost:{few}", f"http://localhost:{many}")
        finally:
            await asyncio.to_thread(processes.stop)


# Many people


async def _sign_ins(origin: str) -> Sample:
    began_at = time.monotonic()
    arrived = await asyncio.gather(*(_sign_in(origin, number) for number in range(1, PEOPLE + 1)))
    took_s = time.monotonic() - began_at
    failures = Counter(why for _, why in arrived if why)
    how = f"{PEOPLE} people at once from one address, one worker on one core, all in {took_s:.1f} s"
    if failures:
        [(why, count)] = failures.most_common(1)
        how += f"; {count} of those that failed: {why}"
    beside = {"each s": tuple(took for took, _ in arrived), "all s": (took_s,)}
    return Sample("auth.signins.200", (float(failures.total()),), how, beside)


async def _sign_in(origin: str, number: int) -> tuple[float, str]:
    """Seconds, and what went wrong."""
    began_at, why = time.monotonic(), ""
    async with Visitor(origin, subject_of(number)) as visitor:
        try:
            await visitor.sign_in()
        except Astray as astray:
            why = str(astray)
        except (aiohttp.ClientError, TimeoutError) as error:
            why = type(error).__name__
    return time.monotonic() - began_at, why


# A program among many


async def _connections(standing: Gateways, clients: int, rounds: int) -> Sample:
    person = subject_of(0)
    async with (
        Visitor(standing.few, person) as at_few,
        Visitor(standing.many, person) as at_many,
        programs() as program,
    ):
        ends = ((standing.few, at_few), (standing.many, at_many))
        for origin, visitor in ends:
            await visitor.sign_in()
            for _ in range(WARM_UPS):
                await connect(program, visitor, origin)
        took: dict[str, list[float]] = {standing.few: [], standing.many: []}
        for number in range(rounds):
            for origin, visitor in ends if number % 2 else ends[::-1]:
                began_at = time.perf_counter()
                await connect(program, visitor, origin)
                took[origin].append(time.perf_counter() - began_at)
    return _compared(took[standing.few], took[standing.many], clients)


def _compared(few_s: Sequence[float], many_s: Sequence[float], clients: int) -> Sample:
    ratios = tuple(many / few for few, many in zip(few_s, many_s, strict=True))
    how = (
        f"register, consent, token and first call with {clients:,} registered programs "
        f"({statistics.median(many_s) * 1000:.1f} ms) over the same with {CLIENTS_FEW} "
        f"({statistics.median(few_s) * 1000:.1f} ms), {len(ratios)} interleaved rounds"
    )
    beside = {f"{CLIENTS_FEW} programs s": tuple(few_s), f"{clients:,} programs s": tuple(many_s)}
    return Sample("auth.clients.50000", ratios, how, beside)
