"""The reconciler's settings: the engine, the addresses, and the ceiling that no spec can lift.

Next: :mod:`reconciler.core.ceiling`, which applies the latter.
"""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from state.kinds.quantity import Bytes
from state.setting_values import (
    CommaList,
    HostPort,
    Listen,
    Location,
    Lower,
    PortRange,
    Ports,
    Subnet,
)
from state.settings import SharedSettings

DEMO_IMAGE = "mcp-gateway-demo"
STARTS_RESERVED_FOR_WAKES = 2
EPHEMERAL_PORTS_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_FIRST_DEFAULT = 32768  # Source: Linux, Documentation/networking/ip-sysctl, ip_local_port_range


class ReconcilerSettings(SharedSettings):
    """What the reconciler is told. ``ceiling_*`` bounds whatever a spec may ask for."""

    container_engine: Annotated[Literal["docker", "podman"], Lower] = "docker"
    docker_host: str = ""
    podman_socket_path: str = ""
    container_image: str = f"{DEMO_IMAGE}:latest"
    container_subnet_prefix: Subnet = IPv4Network("10.211.7.0/24")
    container_addressing: Annotated[Literal["publish", "network"], Lower] = "publish"
    container_port_range: Ports = PortRange(21000, 28999)
    host_data_dir: Location = Path("var/homes")
    manifests_dir: Location = Path("manifests")
    reconciler_private_bind: Listen = HostPort("127.0.0.1", 9100)
    starts_at_once: Annotated[int, Field(gt=STARTS_RESERVED_FOR_WAKES, le=64)] = 8

    ceiling_images: CommaList = ()
    ceiling_capabilities: CommaList = ()
    ceiling_runtimes: CommaList = ()
    ceiling_memory: Bytes = 4 << 30
    ceiling_shm: Bytes = 1 << 30
    ceiling_cpus: Annotated[float, Field(gt=0, le=256)] = 4.0
    ceiling_pids: Annotated[int, Field(ge=8, le=65536)] = 4096
    ceiling_containers: Annotated[int, Field(ge=1, le=100_000)] = 1000
    ceiling_creates_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 120

    @property
    def allowed_images(self) -> tuple[str, ...]:
        """Globs over image references: what the operator allowed, or else CONTAINER_IMAGE and the demo."""
        return self.ceiling_images or (self.container_image, DEMO_IMAGE, f"{DEMO_IMAGE}:*")

    @field_validator("container_port_range")
    @classmethod
    def _is_below_ephemeral(cls, ports: PortRange) -> PortRange:
        """A port above could be taken by any outgoing connection between two starts of a container."""
        first = ephemeral_first()
        if ports.last >= first:
            raise ValueError(f"reaches into the system's ephemeral ports; let it end below {first}")
        return ports

    @field_validator("docker_host")
    @classmethod
    def _is_engine_url(cls, url: str) -> str:
        if url and not url.startswith(("unix://", "tcp://", "http://", "https://", "/")):
            raise ValueError("is no engine's address; write it like unix:///var/run/docker.sock")
        return url

    @model_validator(mode="after")
    def _private_port_is_free(self) -> Self:
        if self.reconciler_private_bind.port in self.container_port_range:
            raise ValueError(
                "RECONCILER_PRIVATE_BIND has a port of CONTAINER_PORT_RANGE; choose one outside of it"
            )
        return self


def ephemeral_first() -> int:
    """The first port that the system gives to outgoing connections."""
    try:
        return int(EPHEMERAL_PORTS_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_FIRST_DEFAULT
