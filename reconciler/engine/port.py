"""What the reconciler may ask of a container engine.

Every call is bounded by a deadline inside the adapter. Errors are translated here and nowhere else:
404 on remove and 304 on start or stop are success; a 500, a timeout or a lost connection raises
OutcomeUnknownError and never reads as absence. The adapter decides nothing: no retries of mutations, no
clean-up on its own account. Next: :mod:`reconciler.engine.docker`.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from reconciler.core.container import (
    Capabilities,
    ContainerSpec,
    EngineEvent,
    Identity,
    ObservedContainer,
    Placement,
)
from reconciler.core.zones import Zone
from state.kinds.template import Egress, Pull

CALL_TIMEOUT_S = 30.0  # one engine call, but for pulls and counts
PULL_TIMEOUT_S = 600.0
COUNT_TIMEOUT_S = 20.0  # the files of one container: some millions

ENGINE_TIMEOUT = "EngineTimeout"  # reasons of an OutcomeUnknownError that say more than that it is one
LAYER_UNCOUNTABLE = "LayerUncountable"

SUBSCRIBED: Final = EngineEvent(container_name="", home="")
"""The first hint of every stream: the subscription stands, and only a list tells what came before it."""


class Addressing(StrEnum):
    """How a workload's port is reached: on the loopback, or at the container's own address."""

    PUBLISH = "publish"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One of the project's own networks. ``subnet`` is a CIDR, or empty where the engine may choose."""

    name: str
    project: str
    subnet: str
    egress: Egress = Egress.INTERNET
    bridge: str = ""  # what the host's interface is called; empty where the engine may choose

    @classmethod
    def of(cls, zone: Zone, project: str) -> Self:
        return cls(zone.network, project, str(zone.subnet), zone.egress, zone.bridge)

    @property
    def is_internal(self) -> bool:
        """Whether the engine itself lets nothing out of it, and publishes nothing of it."""
        return self.egress is not Egress.INTERNET


class Engine(Protocol):
    """A container engine, seen through one project: other projects' containers are invisible in lists."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def version(self) -> str:
        """``"docker 20.10.24"``. Raises OutcomeUnknownError when the engine does not answer, TerminalError
        when what answers is no engine we can use (too old, no permission: says which, and the mend)."""
        ...

    async def ensure_network(self, network: NetworkSpec) -> None:
        """Make this network of the project's unless it stands, whoever of ours made it and whatever its
        bridge is called. Raises TerminalError, naming the other and the setting: NetworkNameTaken (a foreign
        network has its name), SubnetCollision, SubnetChanged (ours stands with another subnet),
        NetworkOpen (it should be internal, and is not)."""
        ...

    async def list(self) -> list[ObservedContainer]:
        """Every container labelled with our project, in any state, just as inspect() shows each. Raises
        OutcomeUnknownError."""
        ...

    async def inspect(self, container_name: str) -> ObservedContainer | None:
        """The container of that exact name, ours or foreign; None only if the engine says there is none."""
        ...

    async def ensure_image(self, reference: str, pull: Pull) -> None:
        """Have the image locally. Raises TransientError ImagePullFailed, DiskFull or ImageMissing (for
        Pull.NEVER: somebody may build it), TerminalError ImagePullFailed for what is no reference, or
        ImageArchitecture for what is made for another processor."""
        ...

    async def create(self, spec: ContainerSpec, placement: Placement, identity: Identity) -> str:
        """Create, hardened (cap-drop ALL plus the spec's, no-new-privileges, limits, init, log limits, the
        network of its zone, no IPv6, no restart policy), and return the engine's id.

        Raises NameConflictError; TransientError AddressInUse (the address or port is taken by somebody
        else), AddressesExhausted, NetworkMissing, ImageMissing, DataPathMissing, LayerUnlimited (the next
        one goes without that limit); TerminalError SpecRefused for a spec the engine refuses, RuntimeMissing;
        OutcomeUnknownError, with reason DiskFull where the engine says so.
        """
        ...

    async def start(self, container_id: str) -> None:
        """Start it; already running is success. Raises TerminalError StartFailed for what cannot run,
        TransientError AddressInUse, AddressesExhausted, NetworkMissing or ContainerMissing,
        OutcomeUnknownError. Where an init starts first, a missing command is for the init to find: such a
        container starts, and ends with 126 or 127."""
        ...

    async def stop(self, container_id: str, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after ``grace_s``; stopped or absent is success."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill and remove by id, or by name for a phantom that only its name is left of; paused or not,
        absent is success. Where ``synchronous_remove`` is False the name
        may live on for a while: only inspect() tells."""
        ...

    async def remove_data(self, container_name: str) -> None:
        """Delete the volume of an engine without host paths; nothing elsewhere. Absent is success."""
        ...

    async def logs(self, container_id: str, lines_max: int) -> str:
        """The last ``lines_max`` lines of both streams, as the workload printed them; "" where there are
        none, or no container."""
        ...

    async def layer_bytes(self, container_id: str) -> int | None:
        """What a container has written outside of its mounts: the lengths of its files, whatever blocks they
        take. None where there is no such container, or nobody counts.

        Raises OutcomeUnknownError, with reason ENGINE_TIMEOUT where COUNT_TIMEOUT_S are not enough, and
        LAYER_UNCOUNTABLE where the engine gives up, as over a path that is too long."""
        ...

    async def ping(self) -> None:
        """Return if the engine answers at all, whatever it does with any container. Raises
        OutcomeUnknownError."""
        ...

    def events(self) -> AsyncGenerator[EngineEvent, None]:
        """SUBSCRIBED, then hints about our project's containers, until the connection ends (then the
        generator ends or raises OutcomeUnknownError). Silence is not an end: a list is still needed.
        Yields nothing for what is not ours."""
        ...

    async def remove_network(self, network: NetworkSpec) -> None:
        """Remove that network if it is ours; absent or foreign is success. Raises TransientError
        NetworkInUse while a container is in it."""
        ...

    async def close(self) -> None: ...
