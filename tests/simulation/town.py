"""The world of a simulation: one machine, one store, one disk, and the processes that share them.

Everything in it is drawn from one seed and runs on virtual time, so a seed is a history.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from typing import TypeVar

import structlog

from reconciler.core.addresses import AddressPool
from reconciler.core.ceiling import Ceiling
from reconciler.core.container import ContainerSpec
from reconciler.core.world import Site
from reconciler.core.zones import Zone, zones
from reconciler.engine.faulty import DeafEngine
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_profile import Profile, Workload, cluster_like, laptop_like
from reconciler.engine.port import NetworkSpec
from reconciler.loop.gate import StartGate
from reconciler.operator import Operator, Surroundings
from state.fence import FenceReport, boot_id
from state.kinds.resource import Resource
from state.sealing import PrivateKey
from state.store.memory import MemoryBackend
from state.store.port import Tx
from state.store.rowstore import RowStore
from tests.simulation.edges import Disk, ProcessAsk, ProcessDirectories, ProcessEngine
from tests.simulation.gateways import GatewayWorker
from tests.simulation.history import History
from tests.simulation.judge import PROJECT, Judge, JudgedMachine
from tests.simulation.processes import Process, ProcessStore, task_factory
from tests.simulation.reconcilers import Reconciler
from tests.simulation.weather import Weather, WeatheredEngine
from tests.virtual_time import VirtualLoop

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
KEY = PrivateKey(b"k" * 32)  # of the machine, like the disk
PORTS = range(21000, 21012)  # few, so that addresses are wanted again soon
CONTAINERS_MAX = 8
# How a program behaves is written in its environment.
BEHAVIOURS = {
    "": Workload(startup_s=0.2),
    "slow": Workload(startup_s=7.0),
    "never": Workload(startup_s=1e9),
    "crashes": Workload(lives_s=0.3, exit_code=1),
    "crashes later": Workload(startup_s=0.1, lives_s=45.0, exit_code=1),
    "ends": Workload(startup_s=0.1, lives_s=200.0),
    "eats memory": Workload(lives_s=0.3, oom=True),
    "cannot run": Workload(can_run=False),
    "ignores SIGTERM": Workload(startup_s=0.1, stops_s=1e9),
}
ZONES = zones(PROJECT, IPv4Network("10.211.7.0/24"))
CEILING = Ceiling(
    images=("demo:*",),
    memory_bytes_max=1 << 40,
    cpus_max=64,
    pids_max=65536,
    shm_bytes_max=1 << 40,
    containers_max=CONTAINERS_MAX,
    creates_per_minute_max=60,
)
PROFILES: dict[str, Callable[[], Profile]] = {
    "laptop": lambda: laptop_like(call_s=0.01, start_s=0.3),
    "cluster": lambda: cluster_like(call_s=0.01, start_s=0.3, removal_s=2.0),
}


class Town:
    def __init__(self, seed: int, profile: str) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "a town needs virtual time"
        self.loop = loop
        self.draw = random.Random(seed)
        self.history = History()
        self.weather = Weather(random.Random(seed + 1))
        self.disk = Disk()
        self.backend = MemoryBackend(loop.time)
        self.rows = self.backend._rows
        self.judge = Judge(self.history, self.rows, loop.time)
        self.machine = JudgedMachine(loop.now, profile=PROFILES[profile](), workload_of=behaviour)
        self.machine.judge, self.judge.machine = self.judge, self.machine
        self.judge.weather = self.weather
        self.judge.keeps_addresses = self.machine.profile.capabilities.fixed_address
        self._uids = iter(range(1, 1_000_000))
        self.store = RowStore(self.backend, now=loop.now, new_uid=self._uid)
        self.pool = AddressPool("publish", ports=PORTS)
        if not self.judge.keeps_addresses:
            self.pool = AddressPool("engine")
        self.reconcilers: list[Reconciler] = []
        self._gateways = 0

    def reconciler(self) -> Reconciler:
        """Another slot for a reconciler; it does not begin by itself."""
        slot = Reconciler(f"r{len(self.reconcilers)}", self._operator, self.history)
        self.reconcilers.append(slot)
        return slot

    def gateway(self) -> GatewayWorker:
        """A gateway worker that begins at once."""
        process = Process(f"g{self._gateways}", self.history)
        self._gateways += 1
        draw = random.Random(self.draw.random())
        worker = GatewayWorker(
            process, self._store_of(process), self.history, draw, self.judge.routes_are_right
        )
        self.judge.workers.append(worker)
        process.spawn(worker.run())
        return worker

    def all(self, kind: type[R]) -> list[R]:
        """What stands in the store, seen at once."""
        return self.rows.list(kind)

    async def write(self, fn: Callable[[Tx], T]) -> T:
        return await self.store.transact(fn, actor="people")

    async def close(self) -> None:
        for slot in self.reconcilers:
            await slot.end()
        for worker in self.judge.workers:
            worker.process.kill()
            await worker.process.buried()
        await self.weather.close()
        await self.machine.close()

    def _operator(self, process: Process) -> Operator:
        """One reconciler process's operator, every edge of it gated."""
        operator: Operator | None = None

        def epoch() -> int:
            return operator.leader.epoch if operator is not None else 0

        engine = DeafEngine(
            WeatheredEngine(MemoryEngine(self.machine, PROJECT), self.weather),
            loses=lambda _event: self.weather.is_deaf,
        )
        around = Surroundings(
            store=self._store_of(process),
            engine=ProcessEngine(engine, process, self.judge, self.machine, epoch),
            directories=ProcessDirectories(self.disk, process, self.judge, self.machine, self.weather),
            ask=ProcessAsk(process, self.machine, self.weather),
            site=Site(PROJECT, CEILING, requires_isolation=True),
            pools={egress: self._pool_of(zone) for egress, zone in ZONES.items()},
            networks={egress: NetworkSpec.of(zone, PROJECT) for egress, zone in ZONES.items()},
            gate=StartGate(4, 1),
            holder=process.name,
            key=KEY,
            read_fence=lambda: self._fence(process),
            egress_refused=lambda: self.weather.egress_refused,
            now=self.loop.now,
            lease_clock=self.loop.time,
            jitter=self.draw.random,
        )
        operator = Operator(around)
        operator.hands.random_bytes = self.draw.randbytes
        return operator

    def _pool_of(self, zone: Zone) -> AddressPool:
        if self.pool.kind == "engine" or not zone.is_internal:
            return self.pool
        return AddressPool("network", subnet=str(zone.subnet))

    async def _fence(self, process: Process) -> FenceReport | None:
        """What the fence says of itself, kept by somebody who never dies."""
        process.gate()
        if self.weather.unfenced_since_s is not None:
            return None
        subnets = tuple(zone.subnet for zone in ZONES.values())
        return FenceReport(
            boot_id=boot_id(), subnets=subnets, trusted=(), kept=True, written_at=self.loop.now()
        )

    def _store_of(self, process: Process) -> ProcessStore:
        return ProcessStore(self.backend, process, self.weather, self._uid, self.loop.now)

    def _uid(self) -> str:
        return f"uid-{next(self._uids)}"


def behaviour(spec: ContainerSpec) -> Workload:
    return BEHAVIOURS[dict(spec.env).get("BEHAVIOUR", "")]


@asynccontextmanager
async def town(seed: int = 0, profile: str = "laptop") -> AsyncIterator[Town]:
    """A town whose log is its history, and whose breaches fail the test."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(task_factory)
    made = Town(seed, profile)

    def told(_logger: object, level: str, event: dict[str, object]) -> dict[str, object]:
        made.history.now_s = loop.time()
        return dict(made.history.log(_logger, level, event))

    def unhandled(_loop: object, context: dict[str, object]) -> None:
        made.history.breach(f"unhandled: {context.get('message')} {context.get('exception')!r}")

    loop.set_exception_handler(unhandled)
    processors = structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [structlog.contextvars.merge_contextvars, told]
    try:
        yield made
    finally:
        await made.close()
        processors[:] = before
        loop.set_exception_handler(None)
    assert not made.history.breaches, breaches(made)


def breaches(made: Town) -> str:
    """What must not have been, and the events that led to the first of it."""
    return "\n".join([*made.history.breaches[:5], "", made.history.before_the_first_breach])
