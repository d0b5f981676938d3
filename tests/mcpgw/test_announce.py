"""Whoever is given the address of somebody before is found by those who knew them."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from mcpgw import announce
from mcpgw.testing.waiting import until
from reconciler.engine import networks
from tests.netns import Host, host

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "02:00:00:00:00:01", "02:00:00:00:00:02"
ANNOUNCE = "from mcpgw.announce import announce; announce()"
# Of proc(5): the interface, the destination, the gateway, the flags, …, the mask.
ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010BD30A 0003 0 0 0 00000000 0 0 0
eth0 0007D30A 00000000 0001 0 0 0 00FFFFFF 0 0 0
eth1 0000D40A 00000000 0001 0 0 0 0000FFFF 0 0 0
eth0 00001EAC 010BD30A 0003 0 0 0 0000FFFF 0 0 0
*    00001FAC 00000000 0201 0 0 0 0000FFFF 0 0 0
eth0 000000E0 00000000 0001 0 0 0 000000F0 0 0 0
eth2 0009D30A 00000000 0001 0 0 0 FCFFFFFF 0 0 0
"""


@dataclass
class Street:
    """One network: ``edge`` knows ``gateway`` at 10.0.7.2 by the MAC address of the one before."""

    edge: Host
    gateway: Host
    others: Host

    def known(self) -> str:
        return self.edge.run("ip", "neigh", "show", "10.0.7.2").split()[4]

    def announce(self) -> None:
        self.gateway.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", ANNOUNCE)


@pytest.fixture(params=[24, 16])
def street(request: pytest.FixtureRequest) -> Iterator[Street]:
    with ExitStack() as ends:
        machine, *hosts = (ends.enter_context(host()) for _ in range(4))
        machine.ip("link", "add", "br0", "type", "bridge")
        machine.ip("link", "set", "br0", "up")
        for number, one in zip((5, 2, 20), hosts, strict=True):
            machine.ip("link", "add", one.name, "type", "veth", "peer", "name", "eth0", "netns", one.name)
            machine.ip("link", "set", one.name, "master", "br0", "up")
            one.ip("addr", "add", f"10.0.7.{number}/{request.param}", "dev", "eth0")
            one.ip("link", "set", "eth0", "up")
        street = Street(*hosts)
        street.gateway.ip("link", "set", "eth0", "address", NEW)
        street.edge.ip("neigh", "replace", "10.0.7.2", "lladdr", OLD, "dev", "eth0", "nud", "reachable")
        yield street


def test_neighbours_learn_it_at_the_start(street: Street) -> None:
    assert street.known() == OLD
    street.announce()
    until(lambda: street.known() == NEW, "the edge knows the new one")


def test_they_learn_it_although_somebody_answers_at_most_addresses_and_their_own_is_fresh(
    street: Street,
) -> None:
    """What was heard within a second of another is not believed, so once is not enough."""
    network = street.gateway.run("ip", "route").split()[0]
    for number in announce.ASKED[:-1]:
        street.others.ip("addr", "add", f"{IPv4Network(network)[number]}/32", "dev", "eth0")
    for nud in ("stale", "reachable"):
        street.edge.ip("neigh", "replace", "10.0.7.2", "lladdr", OLD, "dev", "eth0", "nud", nud)
    street.announce()
    until(lambda: street.known() == NEW, "the edge knows the new one")


def test_it_goes_to_neighbours_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To nobody behind a router, to no group, and to no network that has no room for them."""
    routes = tmp_path / "route"
    routes.write_text(ROUTES)
    monkeypatch.setattr(networks, "ROUTES_FILE", routes)
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(socket.socket, "sendto", lambda _sock, _data, to: sent.append(to))
    announce.announce()
    assert sent == [
        (f"{prefix}.{number}", 9) for prefix in ("10.211.7", "10.212.0") for number in range(6, 11)
    ]


def test_without_a_network_it_does_nothing() -> None:
    with host() as alone:
        Street(alone, alone, alone).announce()
