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
    bits: int

    @property
    def end(self) -> str:
        return f"{self.edge.name}e"

    def known(self) -> str:
        return self.edge.run("ip", "neigh", "show", "10.0.7.2").split()[4]

    def announce(self) -> None:
        self.gateway.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", ANNOUNCE)

    def asked(self) -> set[str]:
        """Whom the gateway has asked for."""
        return {line.split()[0] for line in self.gateway.run("ip", "neigh").splitlines()}


@pytest.fixture(params=[24, 16])
def cable(request: pytest.FixtureRequest) -> Iterator[Cable]:
    with ExitStack() as ends:
        edge, gateway = (ends.enter_context(host()) for _ in range(2))
        link(edge, "10.0.7.5/24", gateway, f"10.0.7.2/{request.param}")
        gateway.ip("link", "set", f"{gateway.name}f", "address", NEW)
        edge.ip("neigh", "replace", "10.0.7.2", "lladdr", OLD, "dev", f"{edge.name}e", "nud", "reachable")
        yield Cable(edge, gateway, request.param)


def test_neighbours_learn_it_at_the_start(cable: Cable) -> None:
    assert cable.known() == OLD
    cable.announce()
    until(lambda: cable.known() == NEW, "the edge knows the new one")


def test_they_learn_it_although_somebody_is_at_most_of_the_addresses_that_are_asked_for(cable: Cable) -> None:
    for number in range(6, 10):
        cable.edge.ip("addr", "add", f"10.0.{7 if cable.bits == 24 else 0}.{number}/24", "dev", cable.end)
    cable.announce()
    until(lambda: cable.known() == NEW, "the edge knows the new one")


def test_nothing_is_sent_behind_a_router_or_to_a_group(cable: Cable) -> None:
    cable.gateway.ip("route", "add", "172.30.0.0/24", "via", "10.0.7.5")
    cable.gateway.ip("route", "add", "224.0.0.0/4", "dev", f"{cable.gateway.name}f")
    cable.gateway.ip("route", "add", "unreachable", "172.31.0.0/24")
    cable.announce()
    assert len(cable.asked()) == 5, cable.asked()


def test_without_a_network_or_room_it_does_nothing() -> None:
    with ExitStack() as ends:
        one, other = (ends.enter_context(host()) for _ in range(2))
        gateway = Cable(other, one, 30)
        gateway.announce()
        link(one, "10.0.7.1/30", other, "10.0.7.2/30")
        gateway.announce()
        assert gateway.asked() == set()
