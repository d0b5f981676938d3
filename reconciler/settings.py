"""The reconciler's settings: the engine, the addresses, and the ceiling that no spec can lift.

Next: :mod:`reconciler.core.ceiling`, which applies the latter.
"""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from reconciler.core.addresses import own_addresses
from reconciler.core.image_reference import registry_place
from reconciler.core.mounts import AllowedMount
from reconciler.core.zones import Zone, zones
from state.kinds.quantity import Bytes
from state.kinds.template import Egress
from state.manifests.problem import shown
from state.setting_values import (
    PORT_UNPRIVILEGED_FIRST,
    Addresses,
    CommaList,
    HostPort,
    HttpProxy,
    Listen,
    Location,
    Lower,
    PortRange,
    Ports,
    Subnet,
)
from state.settings import SharedSettings

DEMO_IMAGE = "mcp-gateway-demo"
GETGATHER_IMAGE = "ghcr.io/mcp-getgather/mcp-getgather:latest"  # Source: the workload's own README
STARTS_RESERVED_FOR_WAKES = 2
EPHEMERAL_PORTS_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_FIRST_DEFAULT = 32768  # Source: Linux, Documentation/networking/ip-sysctl, ip_local_port_range
WRITABLE_MARK = ":rw"


def _registries(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    written = [one.strip() for one in value.split(",") if one.strip()]
    places = {one: registry_place(one) for one in written}
    for one, place in places.items():
        if place is None:
            raise ValueError(f"holds {shown(one)}, which is no registry; write ghcr.io or ghcr.io/team")
    return tuple(dict.fromkeys(place for place in places.values() if place is not None))


def _mounts(value: Any) -> Any:
    """``/srv/models`` may be read, ``/srv/shared:rw`` written as well."""
    if not isinstance(value, str):
        return value
    mounts = []
    for one in (part.strip() for part in value.split(",")):
        path = one.removesuffix(WRITABLE_MARK)
        if not one:
            continue
        if not path.startswith("/") or path == "/" or normpath(path) != path or ":" in path:
            raise ValueError(
                f"holds {shown(one)}, which is no path below /; write it like /srv/models or /srv/shared:rw"
            )
        mounts.append(AllowedMount(path, writable=path != one))
    return tuple(dict.fromkeys(mounts))


Registries = Annotated[tuple[str, ...], BeforeValidator(_registries)]
Mounts = Annotated[tuple[AllowedMount, ...], BeforeValidator(_mounts)]


class ReconcilerSettings(SharedSettings):
    """What the reconciler is told. ``ceiling_*`` bounds whatever a spec may ask for."""

    container_engine: Annotated[Literal["docker", "podman"], Lower] = "docker"
    docker_host: str = ""
    podman_socket_path: str = ""
    container_image: str = GETGATHER_IMAGE
    demo_image: str = f"{DEMO_IMAGE}:latest"
    container_subnet_prefix: Subnet = IPv4Network("10.211.7.0/24")
    container_addressing: Annotated[Literal["publish", "network"], Lower] = "publish"
    container_port_range: Ports = PortRange(21000, 28999)
    egress_proxy: HttpProxy | None = None
    fence_trusted: Addresses = ()
    fence_tailnet_router: IPv4Address | None = None
    fence_report: Location = Field(default_factory=lambda known: _fence_report(known.get("state_dir")))
    require_isolation: bool = False
    host_data_dir: Location = Path("var/homes")
    manifests_dir: Location = Path("manifests")
    reconciler_private_bind: Listen = HostPort("127.0.0.1", 9100)
    starts_at_once: Annotated[int, Field(gt=STARTS_RESERVED_FOR_WAKES, le=64)] = 8

    emulated_architectures: CommaList = ()

    ceiling_images: CommaList = ()
    ceiling_registries: Registries = ()
    ceiling_images_pinned: bool = False
    ceiling_capabilities: CommaList = ()
    ceiling_runtimes: CommaList = ()
    ceiling_mounts: Mounts = ()
    ceiling_memory: Bytes = 4 << 30
    ceiling_shm: Bytes = 1 << 30
    ceiling_disk: Bytes = 50 << 30
    ceiling_disk_free_min: Bytes = 1 << 30
    ceiling_cpus: Annotated[float, Field(gt=0, le=256)] = 4.0
    ceiling_pids: Annotated[int, Field(ge=8, le=65536)] = 4096
    retain_days_min: Annotated[int, Field(ge=0, le=3650)] = 1
    ceiling_containers: Annotated[int, Field(ge=1, le=100_000)] = 1000
    ceiling_creates_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 120

    @property
    def zones(self) -> dict[Egress, Zone]:
        """The project's networks, as far as settings decide them."""
        return zones(self.container_project_name, self.container_subnet_prefix)

    @property
    def allowed_images(self) -> tuple[str, ...]:
        """Globs over image references: what the operator allowed, or else CONTAINER_IMAGE and the demo.

        Where registries are named and no images, those say it alone.
        """
        by_default = (self.container_image, self.demo_image, DEMO_IMAGE, f"{DEMO_IMAGE}:*")
        return self.ceiling_images or (("*",) if self.ceiling_registries else by_default)

    @field_validator("container_port_range")
    @classmethod
    def _is_below_ephemeral(cls, ports: PortRange, known: ValidationInfo) -> PortRange:
        """A port above could be taken by any outgoing connection between two starts of a container.

        Where none is published, as under compose, none is taken.
        """
        first = ephemeral_first()
        if known.data.get("container_addressing") != "publish" or ports.last < first:
            return ports
        why = "reaches into the system's ephemeral ports"
        if first > PORT_UNPRIVILEGED_FIRST + 1:  # two ports are a range
            raise ValueError(f"{why}; let it end below {first}")
        raise ValueError(
            f"{why}, which leave it no room; begin those higher (sysctl -w net.ipv4.ip_local_port_range="
            f'"{EPHEMERAL_FIRST_DEFAULT} 60999"), or set CONTAINER_ADDRESSING=network'
        )

    @property
    def engine_address(self) -> str:
        """DOCKER_HOST or PODMAN_SOCKET_PATH, whichever counts; "" for one of the usual sockets."""
        return self.docker_host if self.container_engine == "docker" else self.podman_socket_path

    @field_validator("docker_host", "podman_socket_path")
    @classmethod
    def _is_engine_url(cls, url: str, info: ValidationInfo) -> str:
        if url and not url.startswith(("unix://", "tcp://", "http://", "https://", "/")):
            like = "/var/run/docker.sock" if info.field_name == "docker_host" else "/run/podman/podman.sock"
            raise ValueError(f"is no engine's address; write it like unix://{like}")
        return url

    @model_validator(mode="after")
    def _zones_have_room(self) -> Self:
        """Defined before whatever asks for the zones: what is not private is somebody's on the internet."""
        try:
            _ = self.zones
        except ValueError as error:
            raise ValueError(f"CONTAINER_SUBNET_PREFIX={error}; take one like 10.211.0.0/16") from None
        return self

    @model_validator(mode="after")
    def _private_port_is_free(self) -> Self:
        if self.reconciler_private_bind.port in self.container_port_range:
            raise ValueError(
                "RECONCILER_PRIVATE_BIND has a port of CONTAINER_PORT_RANGE; choose one outside of it"
            )
        return self

    @model_validator(mode="after")
    def _proxy_is_in_its_zone(self) -> Self:
        """It is the one address that the zone may go to, and must never become a container's own."""
        zone = self.zones[Egress.PROXY]
        free = own_addresses(zone.subnet)
        if self.egress_proxy is not None and self.egress_proxy.address not in free:
            raise ValueError(
                f"EGRESS_PROXY={self.egress_proxy} is outside of what is kept for it on network "
                f"{zone.network}; take an address from {free[0]} to {free[-1]}"
            )
        return self

    @model_validator(mode="after")
    def _proxy_is_not_trusted(self) -> Self:
        """Whoever got hold of it would reach everybody."""
        if self.egress_proxy is not None and self.egress_proxy.address in self.fence_trusted:
            raise ValueError(
                f"EGRESS_PROXY={self.egress_proxy} has an address of FENCE_TRUSTED, which may reach every "
                "container; give the proxy another one"
            )
        return self

    @model_validator(mode="after")
    def _router_is_trusted(self) -> Self:
        """What this host sends to the tailnet goes to it; whoever is trusted is no container."""
        if self.fence_tailnet_router is not None and self.fence_tailnet_router not in self.fence_trusted:
            raise ValueError(
                f"FENCE_TAILNET_ROUTER={self.fence_tailnet_router} is none of FENCE_TRUSTED; name it there"
            )
        return self

    @model_validator(mode="after")
    def _trusted_are_no_containers(self) -> Self:
        """Whoever is given a trusted address would reach everybody."""
        for egress, zone in self.zones.items():
            free = own_addresses(zone.subnet)
            for address in self.fence_trusted:
                if address not in zone.subnet:
                    continue
                # The engine chooses, and begins with the first; in the other zones we do.
                if self.container_addressing == "publish" and egress is Egress.INTERNET:
                    raise ValueError(
                        f"FENCE_TRUSTED holds {address} of network {zone.network}, where nobody is trusted "
                        "with CONTAINER_ADDRESSING=publish: the engine may give it to a container; set "
                        f"CONTAINER_ADDRESSING=network, or trust addresses outside of {zone.subnet}"
                    )
                if address not in free:
                    raise ValueError(
                        f"FENCE_TRUSTED holds {address}, which may become a container's on network "
                        f"{zone.network}; trust addresses from {free[0]} to {free[-1]} there, or others"
                    )
        return self


def _fence_report(state_dir: Path | None) -> Path:
    return (state_dir or Path()) / "fence.json"


def ephemeral_first() -> int:
    """The first port that the system gives to outgoing connections."""
    try:
        return int(EPHEMERAL_PORTS_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_FIRST_DEFAULT
