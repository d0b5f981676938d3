"""What the contract suite needs of an engine beyond the contract: programs to run, and another hand.

The other hand pauses, removes and makes foreign things as somebody else on the machine would. ``real.py``
and ``pretend.py`` are the two kinds of rig.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from reconciler.core.container import ContainerSpec, Identity, ObservedContainer, Placement, spec_hash
from reconciler.engine.port import Engine, NetworkSpec
from state.kinds.template import Egress

PATIENCE_S = 30.0
POLL_S = 0.02
PORT = 8080
MOUNT = "/data"
HOME = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
OTHER_HOME = "bbbbbbbbbbbbbbbbbbbbbbbbbb"


class Program(StrEnum):
    SERVE = "answers GET on PORT with 200"
    IGNORE_TERM = "serves, and ignores SIGTERM"
    PRINT = "prints 20 lines and another to stderr, and stays"
    CRASH = "ends at once with exit code 3"
    EAT_MEMORY = "allocates until the kernel kills it"
    MISSING = "there is no such command"


@dataclass(frozen=True)
class Seat:
    """One Home's container: what it is made of, and how it is named."""

    spec: ContainerSpec
    placement: Placement
    identity: Identity

    @property
    def name(self) -> str:
        return self.placement.container_name


class Rig(Protocol):
    @property
    def project(self) -> str: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def other_project(self) -> str: ...
    @property
    def other_engine(self) -> Engine:
        """Of the other project, on the same machine."""
        ...

    @property
    def network(self) -> NetworkSpec:
        """Of the internet's zone."""
        ...

    @property
    def networks(self) -> Mapping[Egress, NetworkSpec]: ...

    def spec(self, program: Program = Program.SERVE) -> ContainerSpec: ...
    def address(self, egress: Egress = Egress.INTERNET) -> str:
        """A free one of the zone, different at every call."""
        ...

    def data_path(self, home: str) -> str: ...
    async def answers(self, host: str, port: int) -> bool: ...
    async def pause(self, name: str) -> None: ...
    async def remove_by_hand(self, name: str) -> None: ...
    async def put_foreign(self, name: str) -> str: ...
    async def put_foreign_network(self, name: str, subnet: str) -> None: ...
    async def network_names(self) -> set[str]: ...
    async def foreign_is_untouched(self, name: str, container_id: str) -> bool: ...
    async def write_data(self, name: str, text: str) -> None: ...
    async def read_data(self, name: str) -> str: ...
    async def write_layer(self, name: str, bytes_count: int) -> None:
        """Have the running container write that much outside of its mounts."""
        ...

    async def occupy(self, address: str) -> None:
        """Take that address for somebody else."""
        ...

    async def cut_events(self) -> None:
        """Break the connection of every event stream."""
        ...


def seat(rig: Rig, program: Program = Program.SERVE, home: str = HOME, **changes: object) -> Seat:
    spec = replace(rig.spec(program), **changes)  # type: ignore[arg-type]  # test-side convenience
    return Seat(
        spec,
        Placement(f"{rig.project}-{home}", rig.address(spec.egress), rig.data_path(home)),
        Identity(rig.project, home, f"uid-{home[:4]}", 1, spec_hash(spec), 7),
    )


async def created(rig: Rig, one: Seat, engine: Engine | None = None) -> str:
    return await (engine or rig.engine).create(one.spec, one.placement, one.identity)


async def started(rig: Rig, one: Seat) -> ObservedContainer:
    container_id = await created(rig, one)
    await rig.engine.start(container_id)
    return await shown(rig, one)


async def shown(rig: Rig, one: Seat) -> ObservedContainer:
    seen = await rig.engine.inspect(one.name)
    assert seen is not None, f"{one.name} is not there"
    return seen


async def listed(engine: Engine) -> dict[str, ObservedContainer]:
    return {one.name: one for one in await engine.list()}


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait, generously, for something that must happen."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(POLL_S)


async def gone(rig: Rig, one: Seat) -> None:
    async def absent() -> bool:
        return await rig.engine.inspect(one.name) is None

    await until(absent, f"{one.name} goes away")


async def answering(rig: Rig, one: Seat) -> ObservedContainer:
    async def answers() -> bool:
        seen = await shown(rig, one)
        return await rig.answers(seen.endpoint_host, seen.endpoint_port)

    await until(answers, f"{one.name} answers")
    return await shown(rig, one)


async def exited(rig: Rig, one: Seat) -> ObservedContainer:
    async def over() -> bool:
        return (await shown(rig, one)).state == "exited"

    await until(over, f"{one.name} ends")
    return await shown(rig, one)
