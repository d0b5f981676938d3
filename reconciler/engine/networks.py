"""The project's own networks: is one there, is it ours, and what stands in its way.

Subnets are always said to the engine, so that none comes out of its default pools, however few those are.

Pure but for reading the host's routes. Next: :mod:`reconciler.engine.docker`.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

from reconciler.core.container import LABEL_PROJECT
from reconciler.core.errors import TerminalError
from reconciler.engine.port import NetworkSpec
from state.kinds.template import Egress

ROUTES_FILE = Path("/proc/net/route")
RTF_GATEWAY, RTF_REJECT = 0x2, 0x200  # Source: linux/route.h
DOCKER_BRIDGE_NAME = "com.docker.network.bridge.name"
# What docker-compose.yml takes the internal networks' subnets from, where they follow from nothing.
COMPOSED = {Egress.PROXY: "PROXY_SUBNET_PREFIX", Egress.NONE: "CLOSED_SUBNET_PREFIX"}

Json = Mapping[str, Any]


def own_network(standing: Sequence[Json], network: NetworkSpec) -> Json | None:
    """The network of that name if its label proves it ours."""
    found = _named(standing, network.name)
    return found if found is not None and _project_of(found) == network.project else None


def check_own(found: Json, network: NetworkSpec) -> None:
    """Raise TerminalError if our network has another subnet than the settings now ask for, or lets out
    what should stay in."""
    if network.subnet and IPv4Network(network.subnet) not in _subnets(found):
        has = ", ".join(map(str, _subnets(found))) or "none"
        composed = f" (under compose: {COMPOSED[network.egress]})" if network.is_internal else ""
        raise TerminalError(
            "SubnetChanged",
            f"network {network.name} has subnet {has}, CONTAINER_SUBNET_PREFIX asks for {network.subnet}: "
            f"set it back{composed}, or {_removed(network)}",
        )
    if network.is_internal and not found.get("Internal"):
        raise TerminalError(
            "NetworkOpen",
            f"network {network.name} is not internal, so egress {network.egress} would not hold: "
            f"make it internal, or {_removed(network)}",
        )


def _removed(network: NetworkSpec) -> str:
    return f"remove the network when nothing runs in it (network rm {network.name})"


def check_room(standing: Sequence[Json], routes: Sequence[IPv4Network], network: NetworkSpec) -> None:
    """Raise TerminalError if somebody else has the name or part of the subnet."""
    if _named(standing, network.name) is not None:
        raise TerminalError(
            "NetworkNameTaken",
            f"a network named {network.name} exists and is not this project's: "
            "set CONTAINER_PROJECT_NAME to another name, or remove that network",
        )
    if network.subnet:
        _check_subnet(standing, routes, network)


def _check_subnet(standing: Sequence[Json], routes: Sequence[IPv4Network], network: NetworkSpec) -> None:
    wanted = IPv4Network(network.subnet)
    for other in standing:
        if any(wanted.overlaps(subnet) for subnet in _subnets(other)):
            raise subnet_collision(network, f"network {other.get('Name')}")
    for route in routes:
        if wanted.overlaps(route):
            raise subnet_collision(network, f"the host's route to {route}")


def subnet_collision(network: NetworkSpec, other: str) -> TerminalError:
    whose, mend = "", "a free subnet, like 10.211.7 for 10.211.7.0/24"
    if network.is_internal:
        whose = f" (of egress {network.egress}, beside CONTAINER_SUBNET_PREFIX)"
        mend = "a subnet that is free with the two behind it, like 10.211.7 for 10.211.7.0/24"
    return TerminalError(
        "SubnetCollision",
        f"subnet {network.subnet}{whose} overlaps {other}: set CONTAINER_SUBNET_PREFIX to {mend}",
    )


def network_body(network: NetworkSpec, options: Json) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Name": network.name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": network.is_internal,
        "Labels": {LABEL_PROJECT: network.project},
        "Options": {**options, **({DOCKER_BRIDGE_NAME: network.bridge} if network.bridge else {})},
    }
    if network.subnet:
        body["IPAM"] = {"Driver": "default", "Config": [{"Subnet": network.subnet}]}
    return body


def libpod_network_body(network: NetworkSpec, options: Json) -> dict[str, Any]:
    """The same in Podman's own words, which alone can switch its name server off."""
    body: dict[str, Any] = {
        "name": network.name,
        "driver": "bridge",
        "internal": network.is_internal,
        "labels": {LABEL_PROJECT: network.project},
        "options": dict(options),
        "dns_enabled": False,
    }
    if network.bridge:
        body["network_interface"] = network.bridge
    if network.subnet:
        # Left to itself, Podman gives an internal network no address of the host's: nothing would get in.
        gateway = str(IPv4Network(network.subnet)[1])
        body["subnets"] = [{"subnet": network.subnet, "gateway": gateway}]
    return body


def host_routes() -> list[IPv4Network]:
    """The host's routes but the default one: an engine that is given a subnet does not look at them.

    Empty where the kernel does not say (an engine elsewhere, another system).
    """
    return [route for route, _ in _routes()]


def attached_networks() -> list[IPv4Network]:
    """Those of the routes that lead through nobody: whoever is there is a neighbour."""
    return [route for route, flags in _routes() if not flags & (RTF_GATEWAY | RTF_REJECT)]


def _routes() -> Iterator[tuple[IPv4Network, int]]:
    """Each with its flags. Source: proc(5), /proc/net/route"""
    try:
        lines = ROUTES_FILE.read_text().splitlines()[1:]
    except OSError:
        return
    for fields in map(str.split, lines):
        destination, mask = (_little_endian(fields[index]) for index in (1, 7))
        route = IPv4Network(f"{destination}/{mask}", strict=False)
        if route.prefixlen:
            yield route, int(fields[3], 16)


def _little_endian(text: str) -> IPv4Address:
    return IPv4Address(bytes.fromhex(text)[::-1])


def _named(standing: Sequence[Json], name: str) -> Json | None:
    return next((one for one in standing if one.get("Name") == name), None)


def _project_of(network: Json) -> str:
    return str((network.get("Labels") or {}).get(LABEL_PROJECT, ""))


def _subnets(network: Json) -> list[IPv4Network]:
    return list(_ipv4_subnets(network))


def _ipv4_subnets(network: Json) -> Iterator[IPv4Network]:
    for pool in (network.get("IPAM") or {}).get("Config") or ():
        subnet = ip_network(pool.get("Subnet") or "::/128", strict=False)
        if isinstance(subnet, IPv4Network):
            yield subnet
