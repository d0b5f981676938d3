"""Engines that fail in one way each, around any engine. Named by failure; they stack.

For tests and the seeded simulation. Each is told by its caller when to fail, so one seed decides a whole
run; none reads a clock or draws a random number that was not handed in. What a wrapper raises is what the
contract allows the real thing to raise. Next: :mod:`reconciler.engine.port`.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import StrEnum
from typing import TypeVar

from reconciler.core.container import (
    Capabilities,
    ContainerSpec,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
)
from reconciler.core.errors import NameConflictError, OutcomeUnknownError, TransientError
from reconciler.engine.port import CALL_TIMEOUT_S, SUBSCRIBED, Engine, NetworkSpec
from state.kinds.template import Pull

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class Verb(StrEnum):
    VERSION = "version"
    ENSURE_NETWORK = "ensure_network"
    LIST = "list"
    INSPECT = "inspect"
    ENSURE_IMAGE = "ensure_image"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    REMOVE_DATA = "remove_data"
    LOGS = "logs"
    REMOVE_NETWORK = "remove_network"


MUTATIONS = frozenset(Verb) - {Verb.VERSION, Verb.LIST, Verb.INSPECT, Verb.LOGS}

When = Callable[[Verb], bool]


def always(_verb: Verb) -> bool:
    return True


class WrappedEngine:
    """Passes everything on. Subclasses come between by ``_pass``, or by a verb of their own."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 — for subclasses
        return await call()

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    async def version(self) -> str:
        return await self._pass(Verb.VERSION, self.inner.version)

    async def ensure_network(self, network: NetworkSpec) -> None:
        await self._pass(Verb.ENSURE_NETWORK, lambda: self.inner.ensure_network(network))

    async def list(self) -> list[ObservedContainer]:
        return await self._pass(Verb.LIST, self.inner.list)

    async def inspect(self, container_name: str) -> ObservedContainer | None:
        return await self._pass(Verb.INSPECT, lambda: self.inner.inspect(container_name))

    async def ensure_image(self, reference: str, pull: Pull) -> None:
        await self._pass(Verb.ENSURE_IMAGE, lambda: self.inner.ensure_image(reference, pull))

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        return await self._pass(Verb.CREATE, lambda: self.inner.create(spec, placement, identity))

    async def start(self, container_id: str) -> None:
        await self._pass(Verb.START, lambda: self.inner.start(container_id))

    async def stop(self, container_id: str, grace_s: float) -> None:
        await self._pass(Verb.STOP, lambda: self.inner.stop(container_id, grace_s))

    async def remove(self, container_id: str) -> None:
        await self._pass(Verb.REMOVE, lambda: self.inner.remove(container_id))

    async def remove_data(self, container_name: str) -> None:
        await self._pass(Verb.REMOVE_DATA, lambda: self.inner.remove_data(container_name))

    async def logs(self, container_id: str) -> str:
        return await self._pass(Verb.LOGS, lambda: self.inner.logs(container_id))

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        async with aclosing(self.inner.events()) as stream:
            async for event in stream:
                yield event

    async def remove_network(self, network: NetworkSpec) -> None:
        await self._pass(Verb.REMOVE_NETWORK, lambda: self.inner.remove_network(network))

    async def close(self) -> None:
        await self.inner.close()


class SlowEngine(WrappedEngine):
    """Every call takes ``delay_s(verb)`` longer."""

    def __init__(self, inner: Engine, sleep: Sleep, delay_s: Callable[[Verb], float]) -> None:
        super().__init__(inner)
        self._sleep = sleep
        self._delay_s = delay_s

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        await self._sleep(self._delay_s(verb))
        return await call()


class HangingEngine(WrappedEngine):
    """Calls go unanswered until their deadline. Whether they took effect first is ``reaches``' to say."""

    def __init__(self, inner: Engine, sleep: Sleep, hangs: When = always, reaches: When = always) -> None:
        super().__init__(inner)
        self._sleep = sleep
        self._hangs = hangs
        self._reaches = reaches

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        if not self._hangs(verb):
            return await call()
        if self._reaches(verb):
            await call()
        await self._sleep(CALL_TIMEOUT_S)
        raise OutcomeUnknownError("EngineTimeout", f"the engine did not answer {verb}")


class ForgetfulEngine(WrappedEngine):
    """Mutations take effect and their answers are lost."""

    def __init__(self, inner: Engine, forgets: When = always) -> None:
        super().__init__(inner)
        self._forgets = forgets

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        answer = await call()
        if verb in MUTATIONS and self._forgets(verb):
            raise OutcomeUnknownError("EngineConnectionLost", f"the connection broke during {verb}")
        return answer


class FlakyEngine(WrappedEngine):
    """Answers 500 to a share of all calls, half of them after the call took effect."""

    def __init__(self, inner: Engine, draw: random.Random, share: float) -> None:
        super().__init__(inner)
        self._draw = draw
        self._share = share

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        if self._draw.random() >= self._share:
            return await call()
        if self._draw.random() < 0.5:
            await call()
        raise OutcomeUnknownError("EngineError", f"the engine answered {verb}: 500 something is wrong")


class DeafEngine(WrappedEngine):
    """Events are lost, but the subscription stands: no end tells that it is silent."""

    def __init__(self, inner: Engine, loses: Callable[[EngineEvent], bool] = lambda _event: True) -> None:
        super().__init__(inner)
        self._loses = loses

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        async with aclosing(super().events()) as stream:
            async for event in stream:
                if event == SUBSCRIBED or not self._loses(event):
                    yield event


class PhantomNameEngine(WrappedEngine):
    """The engine refuses some names and shows nothing under them, until they were removed often enough."""

    def __init__(self, inner: Engine, removals_needed: dict[str, float]) -> None:
        """``removals_needed`` by name: how many removals free it, ``math.inf`` for never."""
        super().__init__(inner)
        self.removals_needed = removals_needed

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        name = placement.container_name
        if self.removals_needed.get(name, 0) > 0:
            raise NameConflictError("NameConflict", f"the name {name} is already in use by container 0000")
        return await super().create(spec, placement, identity)

    async def remove(self, container_id: str) -> None:
        if container_id in self.removals_needed:
            self.removals_needed[container_id] -= 1
        await super().remove(container_id)


class FullDiskEngine(WrappedEngine):
    """Nothing can be made or started while ``is_full``; stopping and removing go on."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.is_full = True

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        if self.is_full and verb is Verb.ENSURE_IMAGE:
            raise TransientError("DiskFull", "the image cannot be pulled: no space left on device")
        if self.is_full and verb in (Verb.CREATE, Verb.START):
            raise OutcomeUnknownError("DiskFull", "no space left on device")
        return await call()


class ExhaustedPortsEngine(WrappedEngine):
    """No port or address is left for a start while ``is_exhausted``."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.is_exhausted = True

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        if self.is_exhausted and verb is Verb.START:
            raise TransientError("AddressesExhausted", "all ports are allocated")
        return await call()
