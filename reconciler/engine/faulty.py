"""Engines that fail in one way each, around any engine. Named by failure; they stack.

For tests and the seeded simulation. Each is told by its caller when to fail, so one seed decides a whole
run; none reads a clock or draws a random number that was not handed in. What a wrapper raises is what the
contract allows the real thing to raise. Next: :mod:`reconciler.engine.port`.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from reconciler.core.container import (
    ContainerSpec,
    EngineEvent,
    Identity,
    Placement,
)
from reconciler.core.errors import NameConflictError, OutcomeUnknownError, TransientError
from reconciler.engine.port import CALL_TIMEOUT_S, ENGINE_TIMEOUT, SUBSCRIBED, Engine
from reconciler.engine.wrapped import Verb, WrappedEngine

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


MUTATIONS = frozenset(Verb) - {Verb.VERSION, Verb.LIST, Verb.INSPECT, Verb.LOGS, Verb.LAYER_BYTES, Verb.PING}

When = Callable[[Verb], bool]


def always(_verb: Verb) -> bool:
    return True


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
        raise OutcomeUnknownError(ENGINE_TIMEOUT, f"the engine did not answer {verb}")


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
