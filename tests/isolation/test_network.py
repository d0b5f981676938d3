"""What a container reaches from inside a fence: nothing of ours, nothing of the host's, and no neighbour.

Somebody answers wherever it tries, and before there is a fence it gets there.
"""

import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from mcpgw.testing.ports import free_port
from mcpgw.testing.waiting import until
from reconciler.core.zones import zones
from reconciler.settings import ReconcilerSettings
from state.kinds.template import Egress
from state.settings import load_settings
from tests.isolation.conftest import BOB, Ward, assert_refused, is_refused
from tests.mcpgw.fence.rig import ELSEWHERE
from tests.netns import host_outside

pytestmark = pytest.mark.engine

PORT = 8080  # of the demo workload
BINDS = ("GATEWAY_BIND", "GATEWAY_PRIVATE_BIND", "RECONCILER_PRIVATE_BIND")
METADATA_PORT = 80
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192")
SERVICES = (22, 53, 80, 443, 2375, 2376, 2377, 5000, 5432, 6443, 9000, 9001, 9100, 10250)
METADATA6 = "fd00:ec2::254"  # nobody can be put there for them: containers have no IPv6
PRIVATE = (*ELSEWHERE, "192.168.9.9")
CONNECTIONS, FEW = 2_000, 20
TABLES = range(20_000, 30_000)  # of routes, by number: nobody's

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
time.sleep(seconds)
opened = 0
for one in begun:
    writable = select.poll()
    writable.register(one, select.POLLOUT)
    is_over = writable.poll(0)
    opened += bool(is_over) and one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
said["opened"] = str(opened)
"""


@dataclass(frozen=True)
class Around:
    """Who answers around Mallory's container."""

    hosts: list[str]  # the addresses of the host
    port: int  # of a service of the host's, at each of them
    own: list[tuple[str, int]]  # the gateway and the reconciler
    elsewhere: list[tuple[str, int]]  # metadata services and private networks


@pytest.fixture(scope="module")
def ward_settings() -> dict[str, str]:
    """Gateway and reconciler at every address, as an operator may have them: the fence alone parts them."""
    ports = {name: free_port() for name in BINDS}
    binds = {name: f"0.0.0.0:{port}" for name, port in ports.items()}
    return {**binds, "GATEWAY_ORIGIN": f"http://localhost:{ports['GATEWAY_BIND']}"}


@pytest.fixture(scope="module")
def around(ward: Ward) -> Iterator[Around]:
    hosts = hosts_addresses(ward)
    ports = [int(ward.house.environment[name].rpartition(":")[2]) for name in BINDS]
    others = tuple(dict.fromkeys((*METADATA, *PRIVATE)))
    with listening("0.0.0.0") as port, answering_at(ward, others):
        own = [(host, port) for host in hosts for port in ports]
        yield Around(hosts, port, own, [(host, METADATA_PORT) for host in others])


@pytest.fixture(scope="module", autouse=True)
def fence(ward: Ward, around: Around) -> None:
    """The operator's own command, once it is seen that without it all of them are reached. The house takes it
    away with everything else."""
    theirs = [(host, around.port) for host in around.hosts]
    told = ward.inside(CONNECT, targets=[*around.own, *around.elsewhere, *theirs])
    assert not any(map(is_refused, told.values())), told
    for host in around.hosts:
        opened = ward.inside(FLOOD, host=host, port=around.port, count=FEW, seconds=1)
        assert opened == {"opened": str(FEW)}
    done = ward.house.mcpgw("fence")
    assert done.returncode == 0, done.stderr


@contextmanager
def answering_at(ward: Ward, addresses: Sequence[str]) -> Iterator[None]:
    """Somebody at these addresses, whom only what comes from the house's containers is led to: whatever else
    of the machine has to do with them goes its usual way."""
    settings = load_settings(ReconcilerSettings, ward.house.environment)
    zone = zones(ward.house.project, settings.container_subnet_prefix)[Egress.INTERNET]
    table = str(secrets.choice(TABLES))
    rule = ("from", str(zone.subnet), "lookup", table)
    with host_outside() as (outside, way):
        for address in addresses:
            outside.ip("addr", "add", f"{address}/32", "dev", "lo")
            ip("route", "add", f"{address}/32", "via", str(way), "table", table)
        outside.serve(METADATA_PORT)
        ip("rule", "add", *rule)
        try:
            yield
        finally:
            ip("rule", "del", *rule)


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, timeout=30)


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


def test_nothing_of_the_gateway_or_the_reconciler_is_reached(ward: Ward, around: Around, bobs: str) -> None:
    ports = {port for _, port in around.own}
    names = ("127.0.0.1", "host.docker.internal", "host.containers.internal")
    assert_refused(ward.inside(CONNECT, targets=[*around.own, *((n, p) for n in names for p in ports)]))
    ward.neighbour_is_well(bobs)


def test_no_service_of_the_host_is_reached(ward: Ward, around: Around) -> None:
    assert answers(around.hosts[-1], around.port), "the host itself reaches it"
    targets = [(host, port) for host in around.hosts for port in (around.port, *SERVICES)]
    assert_refused(ward.inside(CONNECT, targets=targets))


def test_no_metadata_service_and_no_private_network_is_reached(ward: Ward, around: Around) -> None:
    """Each private range, and Tailscale's; all of them with every way in: tests/mcpgw/fence/test_rules.py."""
    targets = [*around.elsewhere, (METADATA6, METADATA_PORT)]
    assert_refused(ward.inside(CONNECT, targets=targets))


def test_thousands_of_connections_to_the_host_are_none(ward: Ward, around: Around, bobs: str) -> None:
    for host in around.hosts:
        told = ward.inside(FLOOD, host=host, port=around.port, count=CONNECTIONS, seconds=3)
        assert told == {"opened": "0"}
    ward.neighbour_is_well(bobs)


def answers(host: str, port: int) -> bool:
    def connects() -> bool:
        try:
            socket.create_connection((host, port), 2).close()
        except OSError:
            return False
        return True

    return until(connects, f"{host}:{port} answers")
