"""Which address an incarnation gets. Ours to give, so that a byte cannot reach the next holder.

An address is taken while any Incarnation record names it, quarantined ones included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

LOOPBACK = "127.0.0.1"
# The engine's gateway is the first host address; a few more stay free for what we run ourselves.
NETWORK_ADDRESSES_RESERVED = 10


@dataclass(frozen=True, slots=True)
class AddressPool:
    """The addresses there are: ports of the loopback (``publish``) or hosts of the subnet (``network``).

    ``engine`` means that the engine chooses: every address is "".
    """

    kind: Literal["publish", "network", "engine"]
    ports: range = range(0)
    subnet: str = ""

    def __len__(self) -> int:
        match self.kind:
            case "publish":
                return len(self.ports)
            case "network":
                return max(0, IPv4Network(self.subnet).num_addresses - 2 - NETWORK_ADDRESSES_RESERVED)
            case "engine":
                return 0

    def at(self, index: int) -> str:
        if self.kind == "publish":
            return f"{LOOPBACK}:{self.ports[index]}"
        return str(IPv4Network(self.subnet)[1 + NETWORK_ADDRESSES_RESERVED + index])

    def after(self, address: str) -> int:
        """The index that follows the address's own; 0 where the engine chooses."""
        host, _, port = address.partition(":")
        match self.kind:
            case "publish":
                return int(port) - self.ports.start + 1
            case "network":
                return int(IPv4Address(host)) - int(IPv4Address(self.at(0))) + 1
            case "engine":
                return 0


def own_addresses(subnet: IPv4Network) -> tuple[IPv4Address, ...]:
    """What no container is given, for what the operator attaches to a network; the engine has the first."""
    return tuple(subnet[index] for index in range(2, 1 + NETWORK_ADDRESSES_RESERVED))


def widen(setting: str) -> str:
    """What helps where no address is left."""
    like = {
        "CONTAINER_PORT_RANGE": "21000-28999",
        "CONTAINER_SUBNET_PREFIX": "10.211.0.0/16 (under compose, SUBNET_BITS)",
    }
    return f"set {setting} to a wider one, like {like[setting]}, or remove some containers"


def pick_address(pool: AddressPool, is_free: Callable[[str], bool], preferred: str, start: int) -> str | None:
    """A free address: ``preferred`` if it is free, else the first one from index ``start`` round the pool.

    None when all are taken. ``start`` moves on with every pick, so that a freed address rests the longest.
    """
    if pool.kind == "engine":
        return ""
    if preferred and is_free(preferred) and is_of(pool, preferred):
        return preferred
    size = len(pool)
    candidates = (pool.at((start + offset) % size) for offset in range(size))
    return next(filter(is_free, candidates), None)


def is_of(pool: AddressPool, address: str) -> bool:
    """Whether ``address`` is one of the pool's, in the pool's own spelling; it may be of a pool that the
    settings named before, or none at all: a record of the store says it."""
    if not len(pool):
        return False
    try:
        index = pool.after(address) - 1
    except ValueError:
        return False
    return 0 <= index < len(pool) and pool.at(index) == address
