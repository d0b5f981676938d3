"""A whole operator over the in-memory engine and store, with as many settled users as asked for."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network

from reconciler.core.actions import FileText
from reconciler.core.addresses import AddressPool
from reconciler.core.ceiling import Ceiling
from reconciler.core.world import Site
from reconciler.core.zones import zones
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine
from reconciler.engine.memory_profile import laptop_like
from reconciler.engine.port import NetworkSpec
from reconciler.loop.directories import Claim
from reconciler.loop.gate import StartGate
from reconciler.operator import Operator, Surroundings
from state.kinds.resource import Metadata
from state.kinds.template import ContainerTemplate, ContainerTemplateSpec, Egress
from state.kinds.user_container import DATA_FINALIZER, Overrides, UserContainer, UserContainerSpec
from state.sealing import PrivateKey
from state.store.memory import memory_store
from state.store.port import Store, Tx

IMAGE = "bench:1"
PROJECT = "bench"
SETTLED_S_MAX = 300.0
PORTS = range(10_000, 60_000)
ZONES = zones(PROJECT, IPv4Network("10.0.0.0/16"))


class NoDirectories:
    """Homes without a disk: what is measured is the reconciler."""

    async def prepare(self, claim: Claim, user: str) -> str:
        del user
        return f"/{claim.home}"

    async def write(self, home: str, files: Iterable[FileText], user: str) -> str:
        del home, files, user
        return ""

    async def record(self, claim: Claim) -> None:
        del claim

    async def claims(self) -> list[Claim]:
        return []

    async def claimed(self) -> set[str]:
        return set()

    async def purge(self, home: str, now: datetime) -> None:
        del home, now

    def close(self) -> None:
        pass


async def answers_well(host: str, port: int, path: str, timeout_s: float) -> str:
    del host, port, path, timeout_s
    return ""


@dataclass(slots=True)
class World:
    store: Store
    operator: Operator
    machine: Machine
    running: "asyncio.Task[None]"
    users: int

    async def edit_one(self, number: int) -> None:
        """Change one user's container spec."""
        name = user_name(number % self.users)

        def edit(tx: Tx) -> None:
            user = tx.get(UserContainer, name)
            assert user is not None, f"{name} is there"
            overrides = Overrides(env={"EDIT": str(number)})
            tx.update_spec(user.replaced(spec=user.spec.model_copy(update={"overrides": overrides})))

        await self.store.transact(edit, actor="bench")

    async def until_settled(self) -> None:
        """Every user routed at the wanted generation, and nobody waiting for a turn."""
        async with asyncio.timeout(SETTLED_S_MAX):
            while not await self._is_settled():
                await asyncio.sleep(0)

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.machine.close()
        await self.store.close()

    async def _is_settled(self) -> bool:
        """The mirror has everything that the store says, and every key had its turns."""
        for _ in range(20):  # let the watch and the probes deliver what is on its way
            await asyncio.sleep(0)
            if not self.operator.is_settled():
                return False
        return True


def user_name(number: int) -> str:
    return f"user-{number}"


async def settled_world(users: int) -> World:
    """An operator whose ``users`` users all have their container."""
    machine = Machine(now=lambda: datetime.now(UTC), profile=laptop_like())
    store = memory_store()
    await store.transact(lambda tx: _fill(tx, users), actor="bench")
    around = Surroundings(
        store=store,
        engine=MemoryEngine(machine, PROJECT),
        directories=NoDirectories(),
        ask=answers_well,
        site=Site(PROJECT, _ceiling()),
        pools=dict.fromkeys(Egress, AddressPool("publish", ports=PORTS)),
        networks={egress: NetworkSpec.of(zone, PROJECT) for egress, zone in ZONES.items()},
        gate=StartGate(64, 2),
        holder="bench",
        key=PrivateKey(bytes(32)),
    )
    operator = Operator(around)
    world = World(store, operator, machine, asyncio.create_task(operator.run()), users)
    async with asyncio.timeout(SETTLED_S_MAX):
        while sum(one.status.endpoint is not None for one in operator.cache.all(UserContainer)) < users:
            await asyncio.sleep(0.05)
    await world.until_settled()
    return world


def _fill(tx: Tx, users: int) -> None:
    tx.create(
        ContainerTemplate(metadata=Metadata(name="demo"), spec=ContainerTemplateSpec(image=IMAGE, port=8080))
    )
    for number in range(users):
        tx.create(
            UserContainer(
                metadata=Metadata(name=user_name(number), finalizers=(DATA_FINALIZER,)),
                spec=UserContainerSpec(user=f"bench:{number}", template="demo"),
            )
        )


def _ceiling() -> Ceiling:
    return Ceiling(
        images=("*",),
        memory_bytes_max=1 << 40,
        cpus_max=64,
        pids_max=4096,
        shm_bytes_max=1 << 40,
        containers_max=1_000_000,
        creates_per_minute_max=10_000_000,
    )
