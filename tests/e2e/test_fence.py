"""The fence around real containers, in this machine's own packet filter: a table of the house's own."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcpgw.testing.house import House, free_port, until
from reconciler.core.zones import zones
from reconciler.settings import ReconcilerSettings
from state.fence import read_fence
from state.kinds.resource import ConditionType
from state.kinds.template import Egress
from state.settings import load_settings
from tests.e2e.conftest import Opener
from tests.e2e.hand import Hand
from tests.mcpgw.fence.rig import ECHO, To, answering, probe
from tests.netns import host_outside

pytestmark = pytest.mark.engine

DEMO_PORT = 8080
TOLD_S_MAX = 60.0  # a look of the reconciler's and a report of it, on a busy machine
MENDED_S_MAX = 120.0  # a round of whoever keeps it, and that
STAYS_S_MAX = 20.0  # longer than a look


@contextmanager
def echoing() -> Iterator[int]:
    """A service of the host's own, at every address that it has; its port."""
    port = free_port()
    with subprocess.Popen((sys.executable, "-c", ECHO, str(port))) as server:
        try:
            local = (To("127.0.0.1", port),)
            until(lambda: _asked(sys.executable, local) == list(local), "it echoes")
            yield port
        finally:
            server.kill()


def _asked(python: str, targets: Sequence[To]) -> list[To]:
    printed = subprocess.run(
        (python, *probe(targets)), check=True, capture_output=True, text=True, timeout=30
    )
    return answering(targets, printed.stdout)


def reached(house: House, hand: Hand, user: str, targets: Sequence[To]) -> set[To]:
    """Which of them echo what is sent from inside of the user's container."""
    return set(answering(targets, hand.run(house.container_name(user), "python3", *probe(targets))))


def accepts(house: House, hand: Hand, user: str, address: str, port: int) -> bool:
    """Whether a connection from inside of the user's container is taken there."""
    ask = f"import socket; socket.create_connection(({address!r}, {port}), 2); print('taken')"
    return "taken" in hand.run(house.container_name(user), "python3", "-c", ask)


def hosts_addresses(house: House) -> list[str]:
    """The host as containers may dial it: the network's own gateway, and where it is on its LAN."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        lan = str(sock.getsockname()[0])
    settings = load_settings(ReconcilerSettings, house.environment)
    subnet = zones(house.project, settings.container_subnet_prefix)[Egress.INTERNET].subnet
    return [str(subnet[1]), lan]


def isolated(house: House) -> str:
    return house.reconcilers_condition(ConditionType.ISOLATED)


def runs(pid: int | None) -> bool:
    """Whether the process has not ended yet, waited for or not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def tables(house: House) -> list[str]:
    """The families that have the house's table."""
    listed = subprocess.run(("nft", "list", "tables"), check=True, capture_output=True, text=True, timeout=30)
    own = f"mcpgw_{house.project}"
    return [line.split()[1] for line in listed.stdout.splitlines() if line.split()[2] == own]


def test_from_inside_neither_a_neighbour_nor_the_host_is_reached_and_the_internet_is(
    open_house: Opener, hand: Hand
) -> None:
    with open_house() as house, echoing() as port, host_outside() as (outside, public):
        outside.serve(DEMO_PORT)
        for user in ("alice", "bob"):
            house.serve(user)
        until(lambda: isolated(house).startswith("False NotFenced"), "the condition says so", TOLD_S_MAX)
        neighbour = hand.address(house.container_name("bob"), house.project)
        addresses = hosts_addresses(house)
        own_services = {To(address, port, kind) for address in addresses for kind in ("tcp", "udp")}
        assert reached(house, hand, "alice", list(own_services)) == own_services, "without a fence, they are"
        assert accepts(house, hand, "alice", str(public), DEMO_PORT)
        parted = house.engine.name == "docker"  # by the engine itself
        assert accepts(house, hand, "alice", neighbour, DEMO_PORT) is not parted

        fenced = house.mcpgw("fence")
        assert fenced.returncode == 0, fenced.stderr
        assert sorted(tables(house)) == ["bridge", "inet"]
        assert reached(house, hand, "alice", list(own_services)) == set()
        assert not accepts(house, hand, "alice", neighbour, DEMO_PORT)
        for private in (int(house.environment["GATEWAY_PRIVATE_BIND"].rpartition(":")[2]), 22):
            assert not any(accepts(house, hand, "alice", one, private) for one in addresses)
        assert accepts(house, hand, "alice", str(public), DEMO_PORT)
        for user in ("alice", "bob"):
            assert house.serve(user), "and the gateway reaches both"
        with socket.create_connection((neighbour, DEMO_PORT), 5):
            pass  # so does the host, at the container's own address
        until(lambda: isolated(house).startswith("True Fenced"), "the condition says so", TOLD_S_MAX)

        removed = house.mcpgw("fence", "--remove")
        assert removed.returncode == 0, removed.stderr
        assert tables(house) == []
        assert reached(house, hand, "alice", list(own_services)) == own_services
        until(lambda: isolated(house).startswith("False NotFenced"), "the condition flips", TOLD_S_MAX)
        status = house.mcpgw("status").stdout
        assert "NotFenced: there is no fence" in status
        assert "run `mcpgw fence` as root" in status
        owner = house.user_container("alice")
        assert owner is not None
        assert "for everybody: Isolated False, NotFenced: " in house.mcpgw("explain", owner.name).stdout


def test_where_isolation_is_required_nobody_gets_a_container_before_there_is_a_fence(
    open_house: Opener,
) -> None:
    with open_house({"REQUIRE_ISOLATION": "true", "HOLD_TIMEOUT_S": "5"}) as house:
        assert house.call("alice", "whoami").status == 503
        until(
            lambda: house.reason("alice", ConditionType.READY) == "False NotIsolated",
            "people are told",
            TOLD_S_MAX,
        )
        assert house.mcpgw("fence").returncode == 0
        assert house.serve("alice")
        until(lambda: isolated(house).startswith("True"), "the condition says so", TOLD_S_MAX)
        assert house.mcpgw("fence", "--remove").returncode == 0
        until(lambda: isolated(house).startswith("False"), "the condition flips", TOLD_S_MAX)
        assert house.serve("alice"), "what runs is left alone"
        assert house.call("bob", "whoami").status == 503


def test_up_keeps_a_fence_mends_it_and_leaves_it_however_it_ends(open_house: Opener) -> None:
    with open_house(begin="up") as house:
        assert sorted(tables(house)) == ["bridge", "inet"], "before anything runs in it"
        house.serve("alice")
        until(lambda: isolated(house).startswith("True Fenced"), "the condition says so", TOLD_S_MAX)
        subprocess.run(("nft", "delete", "table", "bridge", f"mcpgw_{house.project}"), check=True, timeout=30)
        until(lambda: "bridge" in tables(house), "it is mended", MENDED_S_MAX)
        until(lambda: "the fence was broken, and stands again" in house.said(), "and told", TOLD_S_MAX)
        parts = [house.pid("gateway"), house.pid("reconciler")]
        house.up.kill()
        until(lambda: not any(map(runs, parts)), "both parts have ended with it")
        assert sorted(tables(house)) == ["bridge", "inet"], "containers run on"
        house.up.start()
        house.wait_ready()
        assert house.serve("alice")
        project, folder = house.project, house.folder
    listed = subprocess.run(("nft", "list", "tables"), check=True, capture_output=True, text=True, timeout=30)
    assert project not in listed.stdout, "a house takes its fence away with it"
    assert read_fence(Path(folder) / "state" / "fence.json") is not None


def test_up_without_the_rights_goes_on_and_says_so_in_one_line(open_house: Opener) -> None:
    """As root without CAP_NET_ADMIN: only the fence needs that."""
    with open_house(begin="nothing") as house:
        dropping = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
        log = house.folder / "without.log"
        with log.open("wb") as file:
            up = subprocess.Popen(
                (*dropping, sys.executable, "-m", "mcpgw", "up"),
                cwd=house.folder,
                env=house.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            house.wait_ready()
            assert house.serve("alice")
            [line] = [
                one for one in log.read_text().splitlines() if "fence" in one and one.startswith("mcpgw:")
            ]
            assert "takes root, or CAP_NET_ADMIN" in line
            assert "run `mcpgw fence` as root" in line
            assert tables(house) == []
            until(lambda: isolated(house).startswith("False NotFenced"), "so does the condition", TOLD_S_MAX)
        finally:
            up.terminate()
            up.wait(60)
