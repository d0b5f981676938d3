"""The engine, the disk and the prober as one reconciler process reaches them: through its gates.

What is about to be asked of the engine is judged first: who leads, and what stands on record.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import TypeVar

from reconciler.core.actions import FileText
from reconciler.core.container import ContainerSpec, EngineEvent, Identity, Placement
from reconciler.core.errors import TransientError
from reconciler.engine.faulty import MUTATIONS
from reconciler.engine.memory_machine import Machine
from reconciler.engine.port import Engine
from reconciler.engine.wrapped import Verb, WrappedEngine
from reconciler.loop.directories import Claim, refuse_contradiction, refuse_early_end
from tests.simulation.judge import Judge
from tests.simulation.processes import Process
from tests.simulation.weather import Weather

T = TypeVar("T")


class ProcessEngine(WrappedEngine):
    def __init__(
        self, inner: Engine, process: Process, judge: Judge, machine: Machine, epoch: Callable[[], int]
    ) -> None:
        super().__init__(inner)
        self._process = process
        self._judge = judge
        self._machine = machine
        self._epoch = epoch

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        if verb in MUTATIONS:
            return await self._process.over_the_wire(call)
        return await self._process.through(call)

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        if not self._process.is_dead:
            self._leads(Verb.CREATE)
            self._judge.is_fenced(Verb.CREATE)
            self._judge.intends_create(identity.spec_hash, identity)
        return await super().create(spec, placement, identity)

    async def start(self, container_id: str) -> None:
        if not self._process.is_dead:
            self._leads(Verb.START)
            self._judge.is_fenced(Verb.START)
            self._judge.intends_start(self._machine.box(container_id))
        await super().start(container_id)

    async def stop(self, container_id: str, grace_s: float) -> None:
        if not self._process.is_dead:
            self._leads(Verb.STOP)
            self._judge.intends_end(self._machine.box(container_id), "stop")
        await super().stop(container_id, grace_s)

    async def remove(self, container_id: str) -> None:
        if not self._process.is_dead:
            self._leads(Verb.REMOVE)
            self._judge.intends_end(self._machine.box(container_id), "removal")
        await super().remove(container_id)

    async def remove_data(self, container_name: str) -> None:
        if not self._process.is_dead:
            self._leads(Verb.REMOVE_DATA)
        await super().remove_data(container_name)

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        self._process.gate()
        async with aclosing(super().events()) as stream:
            async for event in stream:
                self._process.gate()
                yield event

    def _leads(self, verb: Verb) -> None:
        self._judge.is_leading(self._process.name, self._epoch(), verb)


class Disk:
    """Homes' directories, which outlive every process: home → its claim, None while it is only half made."""

    def __init__(self) -> None:
        self.seats: dict[str, Claim | None] = {}
        self.files: dict[str, dict[str, bytes]] = {}  # home → what was written into its data, by path

    @staticmethod
    def path(home: str) -> str:
        return f"/homes/{home}"


class ProcessDirectories:
    """Implements Directories. Makes the directory first and writes the claim then, as on a real disk."""

    def __init__(
        self, disk: Disk, process: Process, judge: Judge, machine: Machine, weather: Weather
    ) -> None:
        self._disk = disk
        self._process = process
        self._judge = judge
        self._machine = machine
        self._weather = weather

    async def prepare(self, claim: Claim, user: str) -> str:
        del user
        await self.record(claim)
        return self._disk.path(claim.home)

    async def write(self, home: str, files: Iterable[FileText], user: str) -> str:
        del user
        return await self._process.through(lambda: self._put(home, files))

    async def record(self, claim: Claim) -> None:
        await self._process.through(lambda: self._make(claim.home))
        await self._process.through(lambda: self._write(claim))

    async def claims(self) -> list[Claim]:
        return await self._process.through(self._read)

    async def claimed(self) -> set[str]:
        return {claim.home for claim in await self.claims()}

    def close(self) -> None:
        pass

    async def purge(self, home: str, now: datetime) -> None:
        await self._process.through(lambda: self._purge(home, now))

    async def _make(self, home: str) -> None:
        await asyncio.sleep(0)
        if self._weather.is_disk_full:
            raise TransientError("DiskFull", "the disk is full", retry_after_s=30.0)
        self._disk.seats.setdefault(home, None)

    async def _write(self, claim: Claim) -> None:
        await asyncio.sleep(0)
        if self._weather.is_disk_full:
            raise TransientError("DiskFull", "the disk is full", retry_after_s=30.0)
        standing = self._disk.seats.get(claim.home)
        if standing is not None:
            refuse_contradiction(standing, claim)
        self._disk.seats[claim.home] = claim

    async def _put(self, home: str, files: Iterable[FileText]) -> str:
        await asyncio.sleep(0)
        if self._weather.is_disk_full:
            raise TransientError("DiskFull", "the disk is full", retry_after_s=30.0)
        self._judge.written(home)
        self._disk.files.setdefault(home, {}).update({one.path: one.content for one in files})
        return ""

    async def _read(self) -> list[Claim]:
        await asyncio.sleep(0)
        return [claim for claim in self._disk.seats.values() if claim is not None]

    async def _purge(self, home: str, now: datetime) -> None:
        await asyncio.sleep(0)
        if home in self._disk.seats:
            refuse_early_end(home, self._disk.seats[home], now)
        self._judge.purged(home)
        self._disk.seats.pop(home, None)
        self._disk.files.pop(home, None)
        self._machine.volumes.pop(self._disk.path(home), None)


class ProcessAsk:
    """A prober's question to whatever is at an address."""

    def __init__(self, process: Process, machine: Machine, weather: Weather) -> None:
        self._process = process
        self._machine = machine
        self._weather = weather

    async def __call__(self, host: str, port: int, path: str, timeout_s: float) -> str:
        del path, timeout_s
        await asyncio.sleep(0.002)
        self._process.gate()
        if self._weather.probes_fail:
            return "no route to host"
        return "" if self._machine.probe(host, port) else "connection refused"
