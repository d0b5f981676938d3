"""The Docker adapter: the port's verbs in Docker's API.

Decides nothing about what should be: it asks, translates, and says what it cannot know.
Next: :mod:`reconciler.engine.podman`.
"""

import asyncio
import builtins
import math
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from reconciler.core.confinement import Confinement
from reconciler.core.container import (
    Capabilities,
    ContainerSpec,
    ContainerState,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
)
from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.engine import faults
from reconciler.engine.api import Api
from reconciler.engine.cgroups import confinement
from reconciler.engine.client import Json
from reconciler.engine.door import Door, EngineKind, wrong_kind
from reconciler.engine.faults import Refused, refusals_as
from reconciler.engine.finished import FinishedContainers
from reconciler.engine.fitness import (
    check_architecture,
    check_runtime,
    layer_bytes_asked,
    limits_layers,
    silenced_labels,
)
from reconciler.engine.hardening import (
    DOCKER_CLOSED,
    DOCKER_LOGS,
    DOCKER_NETWORK,
    DOCKER_PROXY_NETWORK,
    host_config,
    loopback_port,
    sysctls,
)
from reconciler.engine.networks import check_own, check_room, host_routes, network_body, own_network
from reconciler.engine.port import LAYER_UNCOUNTABLE, SUBSCRIBED, Addressing, NetworkSpec
from reconciler.engine.translate import (
    container_body,
    engine_event,
    exit_mark,
    is_published,
    observed_from_inspect,
    observed_from_list,
    project_label,
)
from state.kinds.template import Egress, Pull

DESKTOP = "Docker Desktop"


class DockerEngine:
    """One project's containers on a Docker engine."""

    kind = EngineKind.DOCKER
    logs_config: Json = DOCKER_LOGS
    closed_config: Json = DOCKER_CLOSED
    opened_in_read_only_root: tuple[str, ...] = ()

    def __init__(
        self,
        api: Api,
        door: Door,
        project: str,
        networks: Mapping[Egress, str],
        addressing: Addressing,
        emulated: Sequence[str] = (),
    ) -> None:
        self._api = api
        self._door = door
        self._project = project
        self._networks = networks
        self._addressing = addressing
        self._emulated = emulated
        self._is_in_a_machine = False  # of its own, as version() tells
        self._confinement = Confinement()  # likewise
        self._info: Json = {}  # likewise
        self._version: Json = {}
        self._refuses_layer_limits = False  # whatever its storage made believe
        self._finished = FinishedContainers()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            pause=self._confinement.can_freeze,
            checkpoint=False,
            fixed_address=True,
            host_paths=True,
            synchronous_remove=True,
            reports_oom=True,
            reaches_addresses=self._door.is_here
            and not self._is_in_a_machine
            and not self._confinement.is_rootless,  # its networks are in a namespace of the user's
            confinement=self._confinement,
            in_machine=self._is_in_a_machine or (self._door.is_local and not self._door.is_here),
            layers_path=self._layers_path(),
        )

    async def version(self) -> str:
        answer = await self._api.version()
        found = _kind_of(answer)
        if found is not self.kind:
            raise wrong_kind(self._door, found)
        self._is_in_a_machine = DESKTOP in str((answer.get("Platform") or {}).get("Name", ""))
        if answer != self._version:  # another engine, or the first answer of this one
            with refusals_as(faults.read_fault):
                self._info = await self._api.info()
            self._confinement, self._version = confinement(self._info), answer
        return f"{self.kind} {str(answer.get('Version', '?')).partition('+')[0]}"

    async def ensure_network(self, network: NetworkSpec) -> None:
        with refusals_as(faults.read_fault):
            standing = await self._api.networks()
        if (own := own_network(standing, network)) is not None:
            check_own(own, network)
            return
        check_room(standing, host_routes() if self._door.is_local else [], network)
        with refusals_as(lambda refused: faults.network_fault(refused, network)):
            await self._create_network(network)

    async def list(self) -> list[ObservedContainer]:
        with refusals_as(faults.read_fault):
            items = await self._api.containers(project_label(self._project))
        listed = [observed_from_list(item, self._project, self._networks.values()) for item in items]
        return await self._completed(listed, items)

    async def inspect(self, container_name: str) -> ObservedContainer | None:
        if not container_name:
            return None
        try:
            item = await self._api.container(container_name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise faults.read_fault(refused) from None
        seen = observed_from_inspect(item, self._project, self._networks.values())
        # An engine also finds ids and their beginnings by this path; only the exact name is meant.
        return seen if seen.name == container_name else None

    async def ensure_image(self, reference: str, pull: Pull) -> None:
        standing = None
        if pull is not Pull.ALWAYS:
            standing = await self._image(await self._image_name(reference))
        if standing is None and pull is Pull.NEVER:
            raise TransientError("ImageMissing", f"{reference} is not on this machine: build or pull it")
        if standing is None:
            with refusals_as(lambda refused: faults.pull_fault(refused, reference)):
                await self._api.pull(reference)
            standing = await self._image(await self._image_name(reference))
        with refusals_as(faults.read_fault):
            check_architecture(reference, standing or {}, await self._api.version(), self._emulated)

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        name = await self._image_name(spec.image)
        try:
            if spec.runtime:
                check_runtime(spec.runtime, *self._runtimes(await self._api.info()))
            image = await self._api.image(name)
            layer_bytes = await self._layer_bytes_asked(image, spec.disk_bytes)
            body = self._body(replace(spec, image=name), placement, identity, layer_bytes)
            body = {**body, "Labels": silenced_labels(image) | body["Labels"]}
            return await self._api.create_container(placement.container_name, body)
        except Refused as refused:
            if refused.says(faults.LAYER_UNLIMITED):
                self._refuses_layer_limits = True
            raise faults.create_fault(refused) from None

    async def start(self, container_id: str) -> None:
        self._finished.forget(container_id)
        with refusals_as(faults.start_fault):
            await self._api.start_container(container_id)

    async def stop(self, container_id: str, grace_s: float) -> None:
        with refusals_as(faults.stop_fault):
            await self._api.stop_container(container_id, math.ceil(grace_s))

    async def remove(self, container_id: str) -> None:
        with refusals_as(faults.remove_fault):
            await self._api.remove_container(container_id)

    async def remove_data(self, container_name: str) -> None:
        """Nothing: data directories are the host's, and the reconciler's own affair."""

    async def logs(self, container_id: str, lines_max: int) -> str:
        try:
            return await self._api.logs(container_id, lines_max)
        except Refused as refused:
            if refused.status == 404:
                return ""
            raise faults.read_fault(refused) from None

    async def layer_bytes(self, container_id: str) -> int | None:
        try:
            size = (await self._api.container_with_size(container_id)).get("SizeRw")
        except Refused as refused:
            if refused.status == 404:
                return None
            if refused.is_unclear and await self._is_shown(container_id):  # containerd's image store
                raise uncountable() from None
            raise faults.read_fault(refused) from None
        if isinstance(size, int) and size < 0:  # the older stores. Source: moby, GetContainerLayerSize
            raise uncountable()
        return size if isinstance(size, int) else None

    async def ping(self) -> None:
        if not await self._api.ping():
            raise OutcomeUnknownError(faults.ANSWERED_5XX, "the engine is not well, by its own word")

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        with refusals_as(faults.read_fault):
            async with aclosing(self._subscribe(project_label(self._project))) as stream:
                async for item in stream:
                    if item is None:
                        yield SUBSCRIBED
                        continue
                    self._finished.forget(str((item.get("Actor") or {}).get("ID", "")))
                    if (event := engine_event(item)) is not None:
                        yield event

    async def remove_network(self, network: NetworkSpec) -> None:
        with refusals_as(faults.read_fault):
            standing = await self._api.networks()
        if own_network(standing, network) is None:
            return
        with refusals_as(faults.remove_network_fault):
            await self._api.remove_network(network.name)

    async def close(self) -> None:
        await self._api.close()

    # What Podman does otherwise.

    async def _create_network(self, network: NetworkSpec) -> None:
        options = DOCKER_PROXY_NETWORK if network.egress is Egress.PROXY else DOCKER_NETWORK
        await self._api.create_network(network_body(network, options))

    def _subscribe(self, label: str) -> AsyncGenerator[Json | None, None]:
        return self._api.events(label)

    async def _image_name(self, reference: str) -> str:
        """What the engine calls it locally."""
        return reference

    def _endpoint(self, address: str) -> Json:
        """What a container is told to be on its network."""
        return {"IPAMConfig": {"IPv4Address": address}}

    def _runtimes(self, info: Json) -> tuple[Collection[str], str]:
        """Those that a container may name, and how one more gets among them."""
        return info.get("Runtimes") or {}, "add it to the engine's daemon.json"

    # What is the same.

    def _layers_path(self) -> str:
        is_of_this_host = self._door.is_here and not self._is_in_a_machine
        return str(self._info.get("DockerRootDir") or "") if is_of_this_host else ""

    async def _completed(
        self, listed: Sequence[ObservedContainer], items: Sequence[Json]
    ) -> "builtins.list[ObservedContainer]":
        """What lists leave out is inspected: how exited containers ended, once per ending."""
        self._finished.keep_only(one.id for one in listed)
        over = [pair for pair in zip(listed, items, strict=True) if pair[0].state is ContainerState.EXITED]
        endings = await asyncio.gather(*(self._ending(one, exit_mark(item)) for one, item in over))
        by_id = {one.id: seen for (one, _), seen in zip(over, endings, strict=True)}
        return [seen for one in listed if (seen := by_id.get(one.id, one)) is not None]

    async def _ending(self, one: ObservedContainer, mark: str) -> ObservedContainer | None:
        """An exited container as inspect() shows it; None if it has gone since it was listed."""
        if (known := self._finished.get(one.id, mark)) is not None:
            return known
        seen = await self.inspect(one.name)
        if seen is not None and seen.state is ContainerState.EXITED:
            self._finished.put(mark, seen)
        return seen

    async def _image(self, name: str) -> Json | None:
        try:
            return await self._api.image(name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise faults.read_fault(refused) from None

    async def _is_shown(self, container_id: str) -> bool:
        try:
            await self._api.container(container_id)
        except Refused:
            return False
        return True

    async def _layer_bytes_asked(self, image: Json, bytes_max: int) -> int:
        """0 where there is no limit, or nobody who holds a container to it."""
        if not bytes_max or self._refuses_layer_limits:
            return 0
        info = self._info = self._info or await self._api.info()
        return layer_bytes_asked(info, image, bytes_max) if limits_layers(info) else 0

    def _body(self, spec: ContainerSpec, placement: Placement, identity: Identity, layer_bytes: int) -> Json:
        address, network = placement.address, self._networks[spec.egress]
        published: str | None = None
        networking: Json = {}
        if is_published(address):
            published = loopback_port(address)
        elif address:
            networking = {"EndpointsConfig": {network: self._endpoint(address)}}
        elif self._addressing is Addressing.PUBLISH:
            published = ""
        config = host_config(
            spec,
            placement,
            network,
            published,
            self.logs_config,
            sysctls(is_here=self._door.is_here),
            layer_bytes,
            self.opened_in_read_only_root,
        )
        if spec.egress is not Egress.INTERNET:
            config |= self.closed_config
        return container_body(spec, placement, identity, config, networking)


def uncountable() -> OutcomeUnknownError:
    return OutcomeUnknownError(LAYER_UNCOUNTABLE, "the engine cannot count what the container wrote")


def _kind_of(version: Json) -> EngineKind:
    names = [str(one.get("Name", "")) for one in version.get("Components") or ()]
    return EngineKind.PODMAN if any("podman" in name.lower() for name in names) else EngineKind.DOCKER
