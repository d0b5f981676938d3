"""What a container reaches from inside a fence: nothing of ours, nothing of the host's, and no neighbour."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from mcpgw.testing.ports import free_port
from mcpgw.testing.waiting import until
from tests.isolation.conftest import BOB, Ward, assert_refused

pytestmark = pytest.mark.engine

PORT = 8080  # of the demo workload
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192")
SERVICES = (22, 53, 80, 443, 2375, 2376, 2377, 5000, 5432, 6443, 9000, 9001, 9100, 10250)
CONNECTIONS = 2_000

CONNECT = """
def reach(host, port):
    with socket.create_connection((host, port), 2) as connection:
        return connection.getpeername()
tries = [threading.Thread(target=attempt, args=(f"{host}:{port}", lambda h=host, p=port: reach(h, p)))
    for host, port in targets]
for one in tries: one.start()
for one in tries: one.join()
"""

# All at once, and nobody is waited for singly.
FLOOD = """
import select
begun = []
for _ in range(count):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((host, port))
    begun.append(one)
import time
time.sleep(3)
opened = 0
for one in begun:
    writable = select.poll()
    writable.register(one, select.POLLOUT)
    is_over = writable.poll(0)
    opened += bool(is_over) and one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
said["opened"] = str(opened)
"""


@pytest.fixture(scope="module", autouse=True)
def fence(ward: Ward) -> None:
    """The operator's own command. The house takes it away with everything else."""
    done = ward.house.mcpgw("fence")
    assert done.returncode == 0, done.stderr


@contextmanager
def listening(address: str) -> Iterator[int]:
    """A service of the host's, on a port of its own, that takes every connection."""
    port = free_port()
    with socket.create_server((address, port), backlog=512) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    server.accept()[0].close()
                except OSError:
                    continue

        taking = threading.Thread(target=accept)
        taking.start()
        try:
            yield port
        finally:
            over.set()
            taking.join()


def hosts_addresses(ward: Ward) -> list[str]:
    """The project's bridge, and the address by which the host is known elsewhere."""
    [network] = ward.inspect(BOB)["NetworkSettings"]["Networks"].values()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return [str(network["Gateway"]), str(probe.getsockname()[0])]


def test_the_neighbour_is_reached_by_no_address_and_no_port(ward: Ward, bobs: str) -> None:
    address, endpoint = ward.address(BOB), urlsplit(ward.house.endpoint(BOB))
    assert answers(address, PORT), "the host itself reaches it"
    hosts = hosts_addresses(ward)
    targets = [(address, PORT), (address, 22), *((host, endpoint.port) for host in hosts)]
    assert_refused(ward.inside(CONNECT, targets=targets))
    ward.neighbour_is_well(bobs)


def test_a_neighbours_name_leads_to_nobody(ward: Ward, bobs: str) -> None:
    """The engine's DNS may know the name: what it leads to is not reached."""
    container = ward.inspect(BOB)
    home = ward.house.home(BOB)
    assert home is not None
    names = (container["Name"].lstrip("/"), container["Id"][:12], container["Config"]["Hostname"], home.name)
    targets = [(name, PORT) for name in names]
    assert_refused(ward.inside(CONNECT, targets=targets))
    ward.neighbour_is_well(bobs)


def test_nothing_of_the_gateway_or_the_reconciler_is_reached(ward: Ward, bobs: str) -> None:
    environment = ward.house.environment
    binds = ("GATEWAY_BIND", "GATEWAY_PRIVATE_BIND", "RECONCILER_PRIVATE_BIND")
    ports = [int(environment[name].rpartition(":")[2]) for name in binds]
    hosts = [*hosts_addresses(ward), "127.0.0.1", "host.docker.internal", "host.containers.internal"]
    assert_refused(ward.inside(CONNECT, targets=[(h, p) for h in hosts for p in ports]))
    ward.neighbour_is_well(bobs)


def test_no_service_of_the_host_is_reached(ward: Ward) -> None:
    with listening("0.0.0.0") as port:
        hosts = hosts_addresses(ward)
        assert answers(hosts[-1], port), "the host itself reaches it"
        told = ward.inside(CONNECT, targets=[(h, p) for h in hosts for p in (port, *SERVICES)])
    assert_refused(told)


def test_no_metadata_service_and_no_private_network_is_reached(ward: Ward) -> None:
    private = ("10.0.0.1", "172.17.0.1", "192.168.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0")
    targets = [(host, port) for host in (*METADATA, *private) for port in (80, 443)]
    assert_refused(ward.inside(CONNECT, targets=targets))


def test_thousands_of_connections_to_the_host_are_none(ward: Ward, bobs: str) -> None:
    with listening("0.0.0.0") as port:
        for host in hosts_addresses(ward):
            assert ward.inside(FLOOD, host=host, port=port, count=CONNECTIONS) == {"opened": "0"}
    ward.neighbour_is_well(bobs)


def answers(host: str, port: int) -> bool:
    def connects() -> bool:
        try:
            socket.create_connection((host, port), 2).close()
        except OSError:
            return False
        return True

    return until(connects, f"{host}:{port} answers")
