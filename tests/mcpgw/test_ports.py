"""What a house is given, no other house of the same process is given beside it."""

import socket
from collections import deque
from ipaddress import ip_network

import pytest

from mcpgw.bootstrap.testing import PROCESSES_MAX
from mcpgw.testing import ports
from mcpgw.testing.ports import container_ports, free_port, free_ports, is_free, subnet_prefix


def test_ports_picked_side_by_side_are_different_ones() -> None:
    picked = [free_port() for _ in range(250)]
    picked += [first + step for first in (free_ports(2, 10) for _ in range(20)) for step in (0, 10)]
    assert len(set(picked)) == len(picked)


def test_ranges_and_subnets_picked_side_by_side_do_not_overlap() -> None:
    ranges = [container_ports() for _ in range(12)]
    assert len({port for one in ranges for port in one}) == sum(len(one) for one in ranges)
    assert len({subnet_prefix() for _ in range(300)}) == 300


def test_a_subnet_is_beside_what_networks_have_with_the_two_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "1")
    monkeypatch.setattr(ports, "_subnets_given", deque(maxlen=1))
    allowed = ip_network("10.224.252.0/22")
    taken = [*ip_network("10.0.0.0/8").address_exclude(allowed), ip_network("fd00::/64")]
    assert subnet_prefix(taken) == "10.224.252"
    with pytest.raises(AssertionError, match="a subnet: none was free"):
        subnet_prefix(taken)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_processes_side_by_side_choose_from_slices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(PROCESSES_MAX))
    picked: list[set[object]] = []
    for worker in (f"gw{number}" for number in range(PROCESSES_MAX)):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        chosen = {free_port() for _ in range(50)} | {port for _ in range(10) for port in container_ports()}
        picked.append(chosen | {subnet_prefix() for _ in range(50)})
    assert sum(map(len, picked)) == len(set().union(*picked))
