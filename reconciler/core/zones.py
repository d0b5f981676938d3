"""Zones: the project's networks, one for each way out that a template may ask for.

Decides their names, subnets and bridges from two settings alone, so that whoever makes a network, allots its
addresses or fences it in agrees without asking. Next: :mod:`reconciler.core.addresses`.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Network

from state.kinds.template import Egress
from state.setting_values import PRIVATE_BLOCKS

BRIDGE_NAME_CHARS_MAX = 15  # Source: Linux, IFNAMSIZ less the terminating zero
_SUFFIXES = {Egress.INTERNET: "", Egress.PROXY: "-proxy", Egress.NONE: "-closed"}
_BRIDGE_SUFFIXES = {Egress.INTERNET: "", Egress.PROXY: "-p", Egress.NONE: "-c"}


@dataclass(frozen=True, slots=True)
class Zone:
    """One network of the project's. Out of all but the internet's, the engine itself routes nowhere."""

    egress: Egress
    network: str
    subnet: IPv4Network
    bridge: str  # the host's interface

    @property
    def is_internal(self) -> bool:
        return self.egress is not Egress.INTERNET


def zones(project: str, subnet: IPv4Network) -> dict[Egress, Zone]:
    """Every zone. The internet's has ``subnet``; the others the next of its size, or those before it where
    there is nothing private any more behind it. A network is made only once a template asks for it.

    Raises ValueError where neither side has room for two more.
    """
    subnets = _beside(subnet)
    return {
        egress: Zone(
            egress=egress,
            network=project + _SUFFIXES[egress],
            subnet=subnets[index],
            bridge=_bridge(project, _BRIDGE_SUFFIXES[egress]),
        )
        for index, egress in enumerate((Egress.INTERNET, Egress.PROXY, Egress.NONE))
    }


def services_bridge(project: str) -> str:
    """The host's interface to what compose runs, which is no zone: no user's container is on it."""
    return _bridge(project, "-s")


def _beside(subnet: IPv4Network) -> tuple[IPv4Network, ...]:
    size, first = subnet.num_addresses, int(subnet.network_address)
    block = next((one for one in PRIVATE_BLOCKS if subnet.subnet_of(one)), subnet)
    for step in (size, -size):
        starts = [first + step * count for count in range(3)]
        if all(int(block[0]) <= start <= int(block[-1]) for start in starts):
            return tuple(IPv4Network((start, subnet.prefixlen)) for start in starts)
    raise ValueError(f"{subnet} leaves no private room beside it for two more networks of its size")


def _bridge(project: str, suffix: str) -> str:
    name = f"br-{project}{suffix}"
    if len(name) <= BRIDGE_NAME_CHARS_MAX:
        return name
    return f"br-{hashlib.sha256(project.encode()).hexdigest()[:8]}{suffix}"
