"""Ports and a subnet that a house may have to itself, chosen so that two houses hardly ever meet.

Next: :mod:`mcpgw.testing.house`.
"""

import secrets
import socket
from contextlib import suppress

PORTS_PER_HOUSE = 100
# Below the ephemeral ports, and beside the defaults of a gateway that somebody runs here by hand.
PORTS_FIRST = 22_000
PORTS_LAST = 29_000
OWN_PORTS_FIRST = 29_500
OWN_PORTS_LAST = 32_000
SUBNET_SECOND_OCTETS = range(220, 250)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int, step: int = 1) -> int:
    """The first of ``count`` ports, ``step`` apart, that nobody listens on just now."""
    while True:
        first = OWN_PORTS_FIRST + secrets.randbelow(OWN_PORTS_LAST - OWN_PORTS_FIRST - count * step)
        if all(is_free(first + offset * step) for offset in range(count)):
            return first


def container_ports() -> range:
    """A range for CONTAINER_PORT_RANGE."""
    blocks_count = (PORTS_LAST - PORTS_FIRST) // PORTS_PER_HOUSE
    first = PORTS_FIRST + secrets.randbelow(blocks_count) * PORTS_PER_HOUSE
    return range(first, first + PORTS_PER_HOUSE)


def subnet_prefix() -> str:
    """The first three octets of a /24, for CONTAINER_SUBNET_PREFIX."""
    return f"10.{secrets.choice(SUBNET_SECOND_OCTETS)}.{secrets.randbelow(256)}"


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
