"""The in-memory engine: the port's contract kept by a pretend machine, for tests, simulation and benchmarks.

One suite holds it to what the real ones do. It is complete where decisions depend on it (names, addresses,
endings, events, volumes) and made up where they do not (what a log or an image holds). A mutation
awaits before and after it takes effect, so a crash may fall on either side.
Next: :mod:`reconciler.engine.memory_machine`.
"""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from reconciler.core.container import (
    Capabilities,
    ContainerSpec,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
)
from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.engine.memory_machine import EXIT_KILLED, EXIT_TERMINATED, Box, Machine
from reconciler.engine.networks import check_own, check_room, network_body, own_network
from reconciler.engine.port import SUBSCRIBED, NetworkSpec
from state.kinds.template import Pull

T = TypeVar("T")


class MemoryEngine:
    """One project's view of a Machine."""

    def __init__(self, machine: Machine, project: str) -> None:
        self.machine = machine
        self._project = project

    @property
    def capabilities(self) -> Capabilities:
        return self.machine.profile.capabilities

    async def version(self) -> str:
        return await self._read(lambda: "memory 1.0")

    async def ensure_network(self, network: NetworkSpec) -> None:
        def ensure() -> None:
            standing = self.machine.networks
            if (own := own_network(standing, network)) is not None:
                check_own(own, network)
                return
            check_room(standing, [], network)
            standing.append(network_body(network, {}))

        await self._change(ensure)

    async def list(self) -> list[ObservedContainer]:
        return await self._read(lambda: self.machine.containers(self._project))

    async def inspect(self, container_name: str) -> ObservedContainer | None:
        def look() -> ObservedContainer | None:
            box = self.machine.named(container_name)
            if box is None:
                return None
            return box.shown if box.project == self._project else box.as_foreign()

        return await self._read(look)

    async def ensure_image(self, reference: str, pull: Pull) -> None:
        def look() -> None:
            images = self.machine.images
            if images is not None and reference not in images:
                reason = "ImageMissing" if pull is Pull.NEVER else "ImagePullFailed"
                raise TransientError(reason, f"{reference} is nowhere to be found")

        await self._change(look)

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        return await self._change(lambda: self.machine.create(spec, placement, identity))

    async def start(self, container_id: str) -> None:
        def start() -> None:
            box = self.machine.box(container_id)
            if box is None:
                raise TransientError("ContainerMissing", f"no such container: {container_id}")
            self.machine.start(box)

        await self._change(start, takes_s=self.machine.profile.start_s)

    async def stop(self, container_id: str, grace_s: float) -> None:
        box = self.machine.box(container_id)
        ends_s = 0.0 if box is None else box.workload.stops_s
        exit_code = EXIT_TERMINATED if ends_s <= grace_s else EXIT_KILLED
        await self._change(
            lambda: self._with(container_id, lambda found: self.machine.end(found, exit_code)),
            takes_s=min(ends_s, grace_s),
        )

    async def remove(self, container_id: str) -> None:
        await self._change(lambda: self._with(container_id, self.machine.remove))

    async def remove_data(self, container_name: str) -> None:
        def remove() -> None:
            if not self.capabilities.host_paths:
                self.machine.volumes.pop(self.machine.volume_of(container_name), None)

        await self._change(remove)

    async def logs(self, container_id: str, lines_max: int) -> str:
        def look() -> str:
            box = self.machine.box(container_id)
            return "" if box is None else "".join(box.printed.splitlines(keepends=True)[-lines_max:])

        return await self._read(look)

    async def layer_bytes(self, container_id: str) -> int | None:
        def look() -> int | None:
            box = self.machine.box(container_id)
            return None if box is None else box.layer_bytes

        return await self._read(look)

    async def ping(self) -> None:
        await self._read(lambda: None)

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        listener = await self._read(lambda: self.machine.listen(self._project))
        try:
            yield SUBSCRIBED
            while (event := await listener.get()) is not None:
                yield event
        finally:
            self.machine.stop_listening(listener)

    async def remove_network(self, network: NetworkSpec) -> None:
        def remove() -> None:
            own = own_network(self.machine.networks, network)
            if own is None:
                return
            if self.machine.is_in_use(self._project, network.egress):
                raise TransientError("NetworkInUse", f"network {network.name} has containers in it")
            self.machine.networks.remove(own)

        await self._change(remove)

    async def close(self) -> None:
        """The machine runs on."""

    async def _read(self, look: Callable[[], T]) -> T:
        await self.machine.sleep(0)
        self._check_up()
        return look()

    async def _change(self, step: Callable[[], T], takes_s: float = 0.0) -> T:
        await self.machine.sleep(self.machine.profile.call_s + takes_s)
        self._check_up()
        result = step()
        await self.machine.sleep(0)
        self._check_up()
        return result

    def _check_up(self) -> None:
        if self.machine.down:
            raise OutcomeUnknownError("EngineUnreachable", self.machine.down)

    def _with(self, container_id: str, step: Callable[[Box], None]) -> None:
        """Absent is success."""
        if (box := self.machine.box(container_id)) is not None:
            step(box)
