"""Whoever is given the address of somebody before is found by those who knew them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcpgw.testing.waiting import until
from tests.netns import Host, host, link

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"
ANNOUNCE = "from mcpgw.announce import announce; announce()"


@dataclass
class Cable:
    """``edge`` knows ``gateway`` at 10.0.7.2 by the MAC address of the one before."""

    edge: Host
    gateway: Host

    def known(self) -> str:
        return self.edge.run("ip", "neigh", "show", "10.0.7.2").split()[4]

    def announce(self, *environment: str) -> None:
        self.gateway.run("env", f"PYTHONPATH={ROOT}", *environment, sys.executable, "-c", ANNOUNCE)


@pytest.fixture(params=["10.0.7.2/24", "10.0.7.2/16"])
def cable(request: pytest.FixtureRequest) -> Iterator[Cable]:
    with ExitStack() as ends:
        edge, gateway = (ends.enter_context(host()) for _ in range(2))
        link(edge, "10.0.7.5/24", gateway, request.param)
        gateway.ip("link", "set", f"{gateway.name}f", "address", NEW)
        edge.ip("neigh", "replace", "10.0.7.2", "lladdr", OLD, "dev", f"{edge.name}e", "nud", "reachable")
        yield Cable(edge, gateway)


def test_on_podman_neighbours_learn_it_at_the_start(cable: Cable) -> None:
    assert cable.known() == OLD
    cable.announce("container=podman")
    until(lambda: cable.known() == NEW, "the edge knows the new one")


def test_elsewhere_nothing_is_sent(cable: Cable) -> None:
    for environment in ("container=", "container=docker"):
        cable.announce(environment)
    assert cable.gateway.run("ip", "neigh").strip() == ""
    assert cable.known() == OLD


def test_without_a_network_it_does_nothing() -> None:
    with host() as alone:
        Cable(alone, alone).announce("container=podman")


def test_a_network_without_room_is_passed_over() -> None:
    with ExitStack() as ends:
        one, other = (ends.enter_context(host()) for _ in range(2))
        link(one, "10.0.7.1/30", other, "10.0.7.2/30")
        Cable(other, one).announce("container=podman")
        assert one.run("ip", "neigh").strip() == ""
