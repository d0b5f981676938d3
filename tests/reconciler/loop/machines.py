"""A pretend machine on virtual time, and an engine on it whose answers a test can hold back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from reconciler.core.container import Identity, Placement
from reconciler.core.effective import wanted_of
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine
from reconciler.engine.memory_profile import Workload
from reconciler.engine.wrapped import Verb, WrappedEngine
from tests.reconciler.core.worlds import PROJECT, alice, template
from tests.virtual_time import now

T = TypeVar("T")
SPEC = wanted_of(template(), alice()).spec


def machine(workload: Workload | None = None) -> Machine:
    return Machine(now, workload_of=lambda _spec: workload or Workload())


def engine_on(where: Machine) -> MemoryEngine:
    return MemoryEngine(where, PROJECT)


async def put(where: Machine, name: str, *, home: str = "", owner: str = "", port: int = 21000) -> str:
    """A created container of ours."""
    identity = Identity(PROJECT, home or f"home-{name}", owner or f"uid-{name}", 1, "hash", 1)
    placement = Placement(name, f"127.0.0.1:{port}", "")
    return await engine_on(where).create(replace(SPEC, port=8080), placement, identity)


class HeldEngine(WrappedEngine):
    """Looks at once and answers when the test lets it: answers can overtake each other."""

    def __init__(self, inner: MemoryEngine) -> None:
        super().__init__(inner)
        self.holding = False
        self.held: list[tuple[Verb, asyncio.Event]] = []

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        answer = await call()
        if self.holding:
            door = asyncio.Event()
            self.held.append((verb, door))
            await door.wait()
        return answer

    async def until_held(self, count: int) -> None:
        while len(self.held) < count:
            await asyncio.sleep(0.001)


class ScriptedEngine(WrappedEngine):
    """Fails the verbs that a test names, in its words."""

    def __init__(self, inner: MemoryEngine) -> None:
        super().__init__(inner)
        self.fails: dict[Verb, str] = {}
        self.calls: list[Verb] = []

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(verb)
        if verb in self.fails:
            raise OutcomeUnknownError("EngineError", self.fails[verb])
        return await call()
