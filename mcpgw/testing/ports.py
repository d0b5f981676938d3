"""Ports and a subnet that a house may have to itself.

Never what was given lately: a port that was given and is not listened on yet looks free. Tests that run in
processes side by side each choose from a slice of their own; others at random, so that they hardly ever meet.

Next: :mod:`mcpgw.testing.house`.
"""

import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Network, summarize_address_range
from typing import TypeVar

T = TypeVar("T")

PORTS_PER_HOUSE = 100
# Below the ephemeral ports, and beside the defaults of a gateway that somebody runs here by hand.
PORTS_FIRST = 16_000
PORTS_LAST = 29_000
OWN_PORTS_FIRST = 29_500
OWN_PORTS_LAST = 32_000
SUBNET_SECOND_OCTETS = range(220, 250)
SLICES_MAX = 6  # processes side by side
PICKS_MAX = 100_000
ZONES_COUNT = 3  # subnets of a house: a fence stands around all of them, whether there is a network or not

# Far more than are in use at any time, and well below what there is to choose from in a slice.
_ports_given: deque[int] = deque(maxlen=300)
_blocks_given: deque[int] = deque(maxlen=12)
_subnets_given: deque[str] = deque(maxlen=400)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int, step: int = 1) -> int:
    """The first of ``count`` ports, ``step`` apart, that nobody was given lately or listens on just now."""
    own = _slice(range(OWN_PORTS_FIRST, OWN_PORTS_LAST))

    def any_ports() -> range:
        first = own.start + secrets.randbelow(len(own) - count * step)
        return range(first, first + count * step, step)

    def is_good(ports: range) -> bool:
        return all(port not in _ports_given and is_free(port) for port in ports)

    ports = _picked(f"{count} ports of {own}", any_ports, is_good)
    _ports_given.extend(ports)
    return ports.start


def container_ports() -> range:
    """A range for CONTAINER_PORT_RANGE."""
    blocks = _slice(range((PORTS_LAST - PORTS_FIRST) // PORTS_PER_HOUSE))
    block = _picked(
        f"a block of {blocks}", lambda: secrets.choice(blocks), lambda one: one not in _blocks_given
    )
    _blocks_given.append(block)
    first = PORTS_FIRST + block * PORTS_PER_HOUSE
    return range(first, first + PORTS_PER_HOUSE)


def subnet_prefix(taken: Iterable[IPv4Network | IPv6Network] = ()) -> str:
    """The first three octets of a /24, for CONTAINER_SUBNET_PREFIX; the two behind it are the house's too.

    ``taken`` is what the engine's networks have, those of tests that were killed among them.
    """
    taken = tuple(taken)
    prefix = _picked(
        "a subnet", _any_subnet_prefix, lambda one: one not in _subnets_given and not _overlaps(one, taken)
    )
    _subnets_given.append(prefix)
    return prefix


def _picked(what: str, any_one: Callable[[], T], is_good: Callable[[T], bool]) -> T:
    for _ in range(PICKS_MAX):
        if is_good(one := any_one()):
            return one
    raise AssertionError(f"{what}: none was free in {PICKS_MAX} picks")


def _any_subnet_prefix() -> str:
    third_octet = secrets.randbelow(256 // ZONES_COUNT) * ZONES_COUNT
    return f"10.{secrets.choice(_slice(SUBNET_SECOND_OCTETS))}.{third_octet}"


def _overlaps(prefix: str, taken: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    first = IPv4Address(f"{prefix}.0")
    own = tuple(summarize_address_range(first, first + ZONES_COUNT * 256 - 1))
    return any(one.overlaps(other) for one in own for other in taken if isinstance(other, IPv4Network))


def _slice(whole: range) -> range:
    """This process's part of what those side by side choose from. Source: pytest-xdist's environment."""
    count = min(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), SLICES_MAX)
    index = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % count
    size = len(whole) // count
    return whole[index * size : (index + 1) * size]


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
