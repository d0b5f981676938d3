"""Zones and addresses, end to end: ways out, many users, exhausted engines, and a router in between."""

import json
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import docker
import pytest

from mcpgw.bootstrap.engine_api import network_subnets
from mcpgw.testing.house import ROOT, House, until
from mcpgw.testing.ports import subnet_prefix
from mcpgw.testing.workload import demo_template, user_manifest
from reconciler.core.addresses import own_addresses
from reconciler.core.zones import Zone, zones
from state.kinds.home import Home
from state.kinds.template import Egress
from state.store.port import Tx
from tests.e2e.conftest import HOLD_S, Opener, opened
from tests.e2e.hand import Hand, hand_at
from tests.e2e.own_engine import own_engine
from tests.engines import RealEngine
from tests.netns import Host, attach, host, host_outside, link

pytestmark = pytest.mark.engine

OUTSIDE_PORT = 8098
# Every SECOND_OCTET makes one /16, and its own is the only one of the zones' that is used.
SECOND_OCTETS = range(100, 200)
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())"


def zone_of(house: House, egress: Egress) -> Zone:
    prefix = house.environment["CONTAINER_SUBNET_PREFIX"]
    return zones(house.project, IPv4Network(prefix if "/" in prefix else f"{prefix}.0/24"))[egress]


def own_address(hand: Hand, house: House, user_id: str, egress: Egress = Egress.INTERNET) -> IPv4Address:
    return IPv4Address(hand.address(house.container_name(user_id), zone_of(house, egress).network))


def asked(hand: Hand, house: House, user_id: str, url: str) -> str:
    """The last line of what a GET from the user's container says."""
    printed = hand.run(house.container_name(user_id), "python3", "-c", ASK, url).strip()
    return printed.splitlines()[-1] if printed else ""


def test_a_template_decides_which_way_out_its_containers_have(open_house: Opener, hand: Hand) -> None:
    with open_house() as house, host_outside() as (outside, address):
        outside.serve(OUTSIDE_PORT)
        url = f"http://{address}:{OUTSIDE_PORT}/"
        house.serve("alice")
        assert asked(hand, house, "alice", url) == "outside"
        assert not hand.has_network(zone_of(house, Egress.NONE).network), "nobody asked for it"
        before = hand.id_of(house.container_name("alice"))
        house.write_manifest("demo.yaml", demo_template(house.image, egress="None"))
        until(lambda: hand.id_of(house.container_name("alice")) not in (None, before), "it is replaced")
        house.serve("alice")
        assert own_address(hand, house, "alice", Egress.NONE) in zone_of(house, Egress.NONE).subnet
        assert "Error" in asked(hand, house, "alice", url)


def test_what_may_go_to_the_proxy_alone_is_told_where_that_is(
    real_engine: RealEngine, open_house: Opener, hand: Hand
) -> None:
    prefix = subnet_prefix(network_subnets(real_engine.bare))
    zone = zones("any", IPv4Network(f"{prefix}.0/24"))[Egress.PROXY]
    proxy = f"http://{own_addresses(zone.subnet)[0]}:3128"
    settings = {"CONTAINER_SUBNET_PREFIX": prefix, "EGRESS_PROXY": proxy}
    with open_house(settings, begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template(house.image, egress="Proxy"))
        house.start()
        house.serve("alice")
        said = hand.run(house.container_name("alice"), "cat", "/proc/1/environ").split("\0")
        assert {f"HTTPS_PROXY={proxy}", f"http_proxy={proxy}"} <= set(said)
        assert own_address(hand, house, "alice", Egress.PROXY) in zone.subnet


def test_a_proxy_that_nobody_set_up_is_a_reason_with_its_setting(open_house: Opener, hand: Hand) -> None:
    with open_house({"HOLD_TIMEOUT_S": str(HOLD_S)}, begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template(house.image, egress="Proxy"))
        house.start()
        told = house.call("early", "whoami")
        assert told.status == 503
        until(lambda: house.call("early", "whoami").message["reason"] == "NotAllowed", "it is refused")
        early = house.user_container("early")
        assert early is not None
        like = own_addresses(zone_of(house, Egress.PROXY).subnet)[-1]
        assert "EGRESS_PROXY: attach your proxy" in (shown := house.mcpgw("explain", early.name).stdout)
        assert f"http://{like}:3128" in shown
        network = zone_of(house, Egress.PROXY).network
        until(lambda: hand.has_network(network), "the proxy can be attached to it", 60)
        house.write_manifest("demo.yaml", demo_template(house.image, egress="None"))
        house.serve("early")


@pytest.mark.parametrize("addressing", ["publish", "network"])
def test_more_users_than_a_24_holds_have_addresses_beyond_it(
    open_house: Opener, hand: Hand, addressing: str
) -> None:
    """The third /24 of a /16: where the engine gives addresses it is told to begin there, as if the first
    two were taken; where they are ours, so is the Home's record."""
    subnet = f"10.{secrets.choice(SECOND_OCTETS)}.0.0/16"
    settings = {"CONTAINER_SUBNET_PREFIX": subnet, "CONTAINER_ADDRESSING": addressing}
    with open_house(settings, begin="nothing") as house:
        third = IPv4Network(subnet.replace(".0.0/16", ".2.0/24"))
        if addressing == "publish":
            hand.put_own_network(house, zone_of(house, Egress.INTERNET), ip_range=str(third))
        house.start()
        house.serve("alice")
        if addressing == "network":
            _give_address(house, "alice", str(third[77]))
            hand.remove(house.container_name("alice"))
            until(lambda: third[77] == _endpoint_of(house, "alice"), "it is there again")
            house.kill("reconciler")  # one that is new begins behind the newest Home's address
            house.reconciler.start()
            house.wait_ready("reconciler")
            house.serve("bob")
            assert _endpoint_of(house, "bob") == third[78], "whoever comes next is next to it"
        house.serve("alice")
        assert own_address(hand, house, "alice") in third


def _give_address(house: House, user_id: str, address: str) -> None:
    home = house.home(user_id)
    assert home is not None

    def give(tx: Tx) -> None:
        current = tx.get(Home, home.name)
        assert current is not None
        tx.update_status(current.replaced(status=current.status.model_copy(update={"address": address})))

    house.write(give)


def _endpoint_of(house: House, user_id: str) -> IPv4Address | None:
    at = house.endpoint(user_id).removeprefix("http://").partition(":")[0]
    return IPv4Address(at) if at else None


def test_an_engine_without_a_subnet_left_in_its_pools_has_ours_all_the_same(
    docker_engine: RealEngine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("engine")  # short: a socket's path holds 108 characters
    with (
        own_engine("docker", folder, "--default-address-pool=base=192.168.77.0/24,size=24") as own,
        hand_at(own.engine) as hand,
    ):
        hand.put_foreign_network("first")
        with pytest.raises(docker.errors.APIError, match="could not find an available"):
            hand.put_foreign_network("second")
        settings = {"CONTAINER_ADDRESSING": "network", "CONTAINER_SUBNET_PREFIX": own.subnet_prefix}
        with opened(own.engine, tmp_path, settings) as house:
            until(lambda: hand.has_network(house.project), "the project's network stands")
            own.route()
            house.serve("alice")
            house.write_manifest("closed.yaml", demo_template(house.image, name="closed", egress="None"))
            until(lambda: hand.has_network(f"{house.project}-closed"), "and that of those without a way out")
            house.stop()
            own.renew()


@contextmanager
def gateway_on(far: Host, house: House) -> Iterator[None]:
    """The house's gateway, run on that host."""
    command = ("nsenter", f"--net=/run/netns/{far.name}", sys.executable, "-m", "mcpgw", "gateway")
    with (
        house.log_path.open("ab") as log,
        subprocess.Popen(command, cwd=house.folder, env=house.environment, stdout=log, stderr=log) as gateway,
    ):
        try:
            yield
        finally:
            gateway.terminate()


def called_from(far: Host, house: House, user_id: str) -> str:
    """The hostname of the container that answers the user's call from there; "" as long as none does."""
    call = (
        "import json, sys; from mcpgw.testing.calls import call_tool\n"
        "answer = call_tool(sys.argv[1], json.loads(sys.argv[2]), 'whoami', {})\n"
        "print(answer.result['hostname'] if answer.status == 200 else '')"
    )
    try:
        return far.run(
            "env",
            f"PYTHONPATH={ROOT}",
            sys.executable,
            "-c",
            call,
            house.mcp_url,
            json.dumps(house.headers(user_id)),
        ).strip()
    except subprocess.SubprocessError:  # refused, or held for longer than a command may take
        return ""


def test_a_gateway_beyond_a_masquerading_router_reaches_containers_and_they_not_it(
    open_house: Opener, hand: Hand, real_engine: RealEngine
) -> None:
    """As across a Tailscale subnet router with SNAT. It is on the project's network, at a reserved address
    that the fence is told to trust; the gateway's host has the route to the subnet, and this host one back.
    """
    prefix = subnet_prefix(network_subnets(real_engine.bare))
    _, second, third = map(int, prefix.split("."))
    tailnet = f"100.{second - 150}.{third}"  # nobody else's, as the prefix is
    at_router = f"{prefix}.4"
    settings = {
        "CONTAINER_ADDRESSING": "network",
        "CONTAINER_SUBNET_PREFIX": prefix,
        "FENCE_TRUSTED": at_router,
        "REQUIRE_ISOLATION": "true",
    }
    with open_house(settings, begin="nothing") as house, host() as router, host() as far:
        zone = zone_of(house, Egress.INTERNET)
        if real_engine.name == "docker":
            hand.put_own_network(house, zone)
        fenced = house.mcpgw("fence")
        assert fenced.returncode == 0, fenced.stderr
        house.write_manifest("first.yaml", user_manifest("first"))
        house.reconciler.start()
        until(lambda: _endpoint_of(house, "first") is not None, "somebody is there, and the bridge with them")
        on_bridge = attach(router, zone.bridge, f"{at_router}/{zone.subnet.prefixlen}")
        link(router, f"{tailnet}.1/30", far, f"{tailnet}.2/30")
        router.forward()
        router.masquerade(on_bridge)
        far.ip("route", "add", str(zone.subnet), "via", f"{tailnet}.1")
        far.serve(OUTSIDE_PORT)
        with gateway_on(far, house):
            answers = until(lambda: called_from(far, house, "alice"), "alice is served over there", 90.0)
        home = house.home("alice")
        assert home is not None and home.name == answers
        assert _endpoint_of(house, "alice") in zone.subnet
        there = f"http://{tailnet}.2:{OUTSIDE_PORT}/"
        with route(f"{tailnet}.0/30", at_router):
            assert answered(there) == "outside", "there is a way, and the router would let it through"
            assert "Error" in asked(hand, house, "alice", there)


@contextmanager
def route(subnet: str, via: str) -> Iterator[None]:
    """This host's own."""
    words = (subnet, "via", via)
    subprocess.run(("ip", "route", "add", *words), check=True)
    try:
        yield
    finally:
        subprocess.run(("ip", "route", "del", *words), check=True)


def answered(url: str) -> str:
    """What a GET from this host is answered."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return str(answer.read().decode())
