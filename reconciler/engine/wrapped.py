"""An engine around an engine: what comes between inherits from here and overrides what it changes.

Next: :mod:`reconciler.engine.installation`, which keeps neighbours apart, and
:mod:`reconciler.engine.faulty`, whose engines fail on purpose.
"""

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
from reconciler.engine.port import Engine, NetworkSpec
from state.kinds.template import Pull

T = TypeVar("T")


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
    LAYER_BYTES = "layer_bytes"
    PING = "ping"
    REMOVE_NETWORK = "remove_network"


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

    async def logs(self, container_id: str, lines_max: int) -> str:
        return await self._pass(Verb.LOGS, lambda: self.inner.logs(container_id, lines_max))

    async def layer_bytes(self, container_id: str) -> int | None:
        return await self._pass(Verb.LAYER_BYTES, lambda: self.inner.layer_bytes(container_id))

    async def ping(self) -> None:
        await self._pass(Verb.PING, self.inner.ping)

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        async with aclosing(self.inner.events()) as stream:
            async for event in stream:
                yield event

    async def remove_network(self, network: NetworkSpec) -> None:
        await self._pass(Verb.REMOVE_NETWORK, lambda: self.inner.remove_network(network))

    async def close(self) -> None:
        await self.inner.close()
