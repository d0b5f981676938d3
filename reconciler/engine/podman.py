"""The Podman adapter: what Podman does otherwise than Docker, and nothing else.

It answers 500 where Docker answers 304, 404 or 409, so after a refusal it looks before it says what
happened; it does not stop what is paused; it finds local images under ``localhost/``; its own list costs it
less than its imitation of Docker's, but knows no address that it chose itself.
Next: :mod:`reconciler.engine.opening`.

Source: seen on 4.3 and 5.4; https://docs.podman.io/en/latest/_static/api.html
"""

import time
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from ipaddress import IPv4Address

from reconciler.core.container import Capabilities, ContainerState, ObservedContainer
from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine import faults
from reconciler.engine.client import Json
from reconciler.engine.docker import DockerEngine, uncountable
from reconciler.engine.door import EngineKind
from reconciler.engine.faults import Refused, refusals_as
from reconciler.engine.hardening import PODMAN_CLOSED, PODMAN_LOGS, PODMAN_NETWORK
from reconciler.engine.networks import libpod_network_body
from reconciler.engine.port import NetworkSpec
from reconciler.engine.translate import REACHABLE, observed_from_libpod, project_label, state_from_inspect

LOCAL_PREFIX = "localhost/"
# Podman confirms a subscription only with its first event. Asked for events since a moment ago it misses
# none, however late it subscribes; the margin is for clocks that differ.
EVENTS_SINCE_MARGIN_S = 5


class PodmanEngine(DockerEngine):
    """One project's containers on a Podman service."""

    kind = EngineKind.PODMAN
    logs_config: Json = PODMAN_LOGS
    closed_config: Json = PODMAN_CLOSED
    opened_in_read_only_root = ("/run", "/var/tmp")  # noqa: S108 — inside. Source: podman-run(1), --read-only-tmpfs

    @property
    def capabilities(self) -> Capabilities:
        """An exit code of 137 is all that tells of memory."""
        return replace(super().capabilities, reports_oom=False)

    async def list(self) -> list[ObservedContainer]:
        with refusals_as(faults.read_fault):
            items = await self._api.libpod_containers(project_label(self._project))
        listed = [observed_from_libpod(item, self._project) for item in items]
        located = [one if one.endpoint_host else await self._located(one) for one in listed]
        return await self._completed(located, items)

    async def stop(self, container_id: str, grace_s: float) -> None:
        try:
            await super().stop(container_id, grace_s)
        except OutcomeUnknownError as error:
            if error.reason != faults.ANSWERED_5XX:
                raise
            match await self._state(container_id):
                case ContainerState.PAUSED:
                    await self._unpause(container_id)
                    await super().stop(container_id, grace_s)
                case ContainerState.RUNNING | ContainerState.REMOVING:
                    raise
                case ContainerState.CREATED | ContainerState.EXITED | None:
                    return  # a 500 for what was stopped already

    async def remove(self, container_id: str) -> None:
        with refusals_as(faults.remove_fault):
            await self._api.remove_libpod_container(container_id)

    async def layer_bytes(self, container_id: str) -> int | None:
        """Podman says 0 where it gives up, and fails only when asked what has changed. Source: tried, 4.3."""
        size = await super().layer_bytes(container_id)
        if size == 0 and not await self._api.tells_changes(container_id):
            raise uncountable()
        return size

    async def _create_network(self, network: NetworkSpec) -> None:
        await self._api.create_libpod_network(libpod_network_body(network, PODMAN_NETWORK))

    def _subscribe(self, label: str) -> AsyncGenerator[Json | None, None]:
        return self._api.events(label, since=int(time.time()) - EVENTS_SINCE_MARGIN_S)

    async def _image_name(self, reference: str) -> str:
        """``x:1`` may be ``localhost/x:1`` here; through Docker's API Podman would only try docker.io."""
        if _names_a_registry(reference):
            return reference
        local = LOCAL_PREFIX + reference
        return local if await self._image(local) is not None else reference

    def _endpoint(self, address: str) -> Json:
        """With a MAC address that follows from it, as Docker makes them: another one with each start would be
        unknown to whoever has sent to this address before, for a minute or so.
        """
        return {**super()._endpoint(address), "MacAddress": _mac_address(address)}

    def _runtimes(self, info: Json) -> tuple[Collection[str], str]:
        """Docker's API chooses none here: whatever it names, the service's own runs. Source: tried, 4.3."""
        return {str(info.get("DefaultRuntime"))}, "make it the runtime of the service's containers.conf"

    async def _located(self, one: ObservedContainer) -> ObservedContainer:
        """With its endpoint: only inspect() knows an address that Podman chose."""
        if one.state not in REACHABLE or one.identity is None:
            return one
        return await self.inspect(one.name) or one

    async def _state(self, container_id: str) -> ContainerState | None:
        try:
            return state_from_inspect(await self._api.container(container_id))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise faults.read_fault(refused) from None

    async def _unpause(self, container_id: str) -> None:
        with refusals_as(faults.stop_fault):
            await self._api.unpause_container(container_id)


def _mac_address(address: str) -> str:
    """A locally administered one, for an IPv4 address."""
    return ":".join(("02", "42", *(f"{byte:02x}" for byte in IPv4Address(address).packed)))


def _names_a_registry(reference: str) -> bool:
    """Whether the first part is a host, as in ``quay.io/x`` or ``localhost/x``.

    Source: github.com/distribution/reference, splitDockerDomain.
    """
    host, slash, _ = reference.partition("/")
    return bool(slash) and (host == "localhost" or "." in host or ":" in host)
