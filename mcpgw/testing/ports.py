"""Ports and a subnet that a house may have to itself.

Chosen at random, so that the houses of two processes hardly ever meet; within a process, never what was given
lately: a port that was given and is not listened on yet looks free.

Next: :mod:`mcpgw.testing.house`.
"""

import secrets
import socket
from collections import deque
from contextlib import suppress

PORTS_PER_HOUSE = 100
# Below the ephemeral ports, and beside the defaults of a gateway that somebody runs here by hand.
PORTS_FIRST = 22_000
PORTS_LAST = 29_000
OWN_PORTS_FIRST = 29_500
OWN_PORTS_LAST = 32_000
SUBNET_SECOND_OCTETS = range(220, 250)

# Far more than are in use at any time, and well below what there is to choose from.
_ports_given: deque[int] = deque(maxlen=1_000)
_blocks_given: deque[int] = deque(maxlen=30)
_subnets_given: deque[str] = deque(maxlen=1_000)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int, step: int = 1) -> int:
    """The first of ``count`` ports, ``step`` apart, that nobody was given lately or listens on just now."""
    while True:
        first = OWN_PORTS_FIRST + secrets.randbelow(OWN_PORTS_LAST - OWN_PORTS_FIRST - count * step)
        ports = range(first, first + count * step, step)
        if all(port not in _ports_given and is_free(port) for port in ports):
            _ports_given.extend(ports)
            return first


def container_ports() -> range:
    """A range for CONTAINER_PORT_RANGE."""
    blocks_count = (PORTS_LAST - PORTS_FIRST) // PORTS_PER_HOUSE
    while (block := secrets.randbelow(blocks_count)) in _blocks_given:
        pass
    _blocks_given.append(block)
    first = PORTS_FIRST + block * PORTS_PER_HOUSE
    return range(first, first + PORTS_PER_HOUSE)


def subnet_prefix() -> str:
    """The first three octets of a /24, for CONTAINER_SUBNET_PREFIX."""
    while (prefix := _any_subnet_prefix()) in _subnets_given:
        pass
    _subnets_given.append(prefix)
    return prefix


def _any_subnet_prefix() -> str:
    return f"10.{secrets.choice(SUBNET_SECOND_OCTETS)}.{secrets.randbelow(256)}"


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
