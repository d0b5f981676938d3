"""What the fence lets pass and what it does not, asked of the kernel: packets between namespaces."""

from collections.abc import Iterator

import pytest

from mcpgw.fence.ruleset import removal, table_of
from state.kinds.template import Egress
from tests.mcpgw.fence.rig import (
    BRIDGE_NETFILTER,
    ELSEWHERE,
    LAN_HERE,
    METADATA_HERE,
    OWN6,
    PROJECT,
    PUBLIC_HERE,
    Scene,
    To,
    bridges_see_routing,
    scene,
)

USERS = ("alice", "bob", "proxied", "proxy", "closed", "neighbour")


@pytest.fixture(scope="module")
def unfenced() -> Iterator[Scene]:
    with scene() as made:
        yield made


@pytest.fixture(params=[True, False], ids=["bridges see routing", "bridges do not"])
def fenced(unfenced: Scene, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """With br_netfilter, as engines load it, and as if it were not there."""
    assert BRIDGE_NETFILTER.exists() or not request.param, "an engine has loaded br_netfilter"
    if BRIDGE_NETFILTER.exists():
        bridges_see_routing(unfenced.machine, is_on=request.param)
    unfenced.fence(unfenced.rules())
    yield unfenced
    unfenced.machine.run("nft", removal(table_of(PROJECT)))


def everybody(made: Scene) -> list[To]:
    addresses = (*made.addresses.values(), *ELSEWHERE)
    return [To(address, kind=kind) for address in addresses for kind in ("tcp", "udp")]


def the_host(made: Scene) -> list[To]:
    """Every address that the machine itself has, on any side."""
    own = [*(str(zone.subnet[1]) for zone in made.zones.values()), LAN_HERE, PUBLIC_HERE, METADATA_HERE]
    return [To(address, kind=kind) for address in own for kind in ("tcp", "udp")]


def test_without_a_fence_they_reach_whom_they_route_to(unfenced: Scene) -> None:
    """Else nothing below would mean anything."""
    targets = [*everybody(unfenced), *the_host(unfenced), To(OWN6)]
    assert unfenced.reached("alice", *targets) == targets


def test_a_container_reaches_public_addresses_and_nobody_else(fenced: Scene) -> None:
    targets = [*everybody(fenced), *the_host(fenced), To(OWN6), To(OWN6, kind="udp")]
    itself = [fenced.to("alice"), fenced.to("alice", kind="udp")]
    public = [fenced.to("public"), fenced.to("public", kind="udp")]
    assert set(fenced.reached("alice", *targets)) == {*itself, *public}


def test_a_container_asks_the_hosts_name_server_and_nothing_else_of_it(fenced: Scene) -> None:
    asks = [fenced.to("lan", 53, "udp"), fenced.to("lan", 53)]
    assert fenced.reached("alice", *asks, fenced.to("lan"), fenced.to("metadata", 53, "udp")) == asks
    assert fenced.reached("closed", *asks) == []
    assert fenced.reached("proxied", *asks) == []


def test_an_engines_own_name_server_is_asked_at_the_bridge_and_nothing_else_there(fenced: Scene) -> None:
    bridge = str(fenced.zones[Egress.INTERNET].subnet[1])
    asks = [To(bridge, 53, "udp"), To(bridge, 53)]
    assert fenced.reached("alice", *asks) == []
    fenced.fence(fenced.rules(names_at_bridge=True))
    assert fenced.reached("alice", *asks, To(bridge), To(LAN_HERE, 53)) == asks
    assert fenced.reached("closed", *asks) == []


def test_a_closed_container_reaches_nobody(fenced: Scene) -> None:
    targets = [one for one in everybody(fenced) if one.address != fenced.addresses["closed"]]
    assert fenced.reached("closed", *targets, *the_host(fenced)) == []


def test_a_container_of_the_proxys_zone_reaches_the_proxys_port_alone(fenced: Scene) -> None:
    targets = [one for one in everybody(fenced) if one.address != fenced.addresses["proxied"]]
    reached = fenced.reached("proxied", *targets, fenced.to("proxy", 53), *the_host(fenced))
    assert reached == [fenced.to("proxy")]
    assert fenced.reached("proxy", fenced.to("proxied")) == [], "nor does the proxy begin anything"


def test_without_a_proxy_its_zone_is_closed(fenced: Scene) -> None:
    fenced.fence(fenced.rules(proxy=None))
    targets = [one for one in everybody(fenced) if one.address != fenced.addresses["proxied"]]
    assert fenced.reached("proxied", *targets, *the_host(fenced)) == []


def test_the_host_and_whom_it_trusts_reach_every_container(fenced: Scene) -> None:
    containers = [fenced.to(name) for name in USERS]
    assert fenced.reached("machine", *containers) == containers
    assert fenced.reached("gateway", *containers) == containers
    targets = [fenced.to("public"), fenced.to("lan"), To(LAN_HERE)]
    assert fenced.reached("gateway", *targets) == targets, "nobody fences the gateway"


def test_nobody_else_reaches_a_container(fenced: Scene) -> None:
    containers = [fenced.to(name, kind=kind) for name in USERS for kind in ("tcp", "udp")]
    for name in ("lan", "public", "metadata"):
        assert fenced.reached(name, *containers) == [], name
        assert fenced.reached(name, fenced.to("gateway")) == [fenced.to("gateway")]


def test_without_anybody_trusted_only_the_host_reaches_a_container(fenced: Scene) -> None:
    fenced.fence(fenced.rules(trusted=()))
    assert fenced.reached("gateway", fenced.to("alice")) == []
    assert fenced.reached("machine", fenced.to("alice")) == [fenced.to("alice")]


def test_an_address_that_is_translated_is_judged_by_where_it_leads(fenced: Scene) -> None:
    """As published ports are: dialled at the host's own address, and led to a container or beyond."""
    leads = {
        7001: fenced.to("bob"),
        7002: fenced.to("lan"),
        7003: fenced.to("gateway"),
        7004: fenced.to("public"),
    }
    rules = "".join(
        f"ip daddr {LAN_HERE} tcp dport {port} dnat to {to.address}:{to.port};" for port, to in leads.items()
    )
    fenced.machine.run(
        "nft", f"table ip published {{ chain in {{ type nat hook prerouting priority -100; {rules} }}\n}}"
    )
    try:
        dialled = [To(LAN_HERE, port) for port in leads]
        assert fenced.reached("alice", *dialled) == [To(LAN_HERE, 7004)]
        assert fenced.reached("public", *dialled[:1], To(LAN_HERE, 7003)) == [To(LAN_HERE, 7003)]
    finally:
        fenced.machine.run("nft", "delete", "table", "ip", "published")


def test_a_closed_container_that_takes_an_address_of_the_internets_zone_stays_closed(fenced: Scene) -> None:
    closed, taken = fenced.hosts["closed"], "10.211.7.40"
    bridge = fenced.zones[Egress.NONE].bridge
    closed.ip("addr", "add", f"{taken}/32", "dev", "eth0")
    fenced.machine.ip("route", "add", f"{taken}/32", "dev", bridge)
    public = fenced.to("public", source=taken)
    try:
        assert fenced.reached("closed", public) == []
        fenced.machine.run("nft", removal(table_of(PROJECT)))
        assert fenced.reached("closed", public) == [public], "without the fence, it gets through"
    finally:
        closed.ip("addr", "del", f"{taken}/32", "dev", "eth0")
        fenced.machine.ip("route", "del", f"{taken}/32")


@pytest.mark.parametrize("source", ["198.51.100.7", "10.211.9.40"], ids=["nobody's", "another zone's"])
def test_a_container_with_an_address_of_its_own_choosing_reaches_nobody(fenced: Scene, source: str) -> None:
    """The echo has to find its way back for the test to see that it went."""
    alice, bridge = fenced.hosts["alice"], fenced.zones[Egress.INTERNET].bridge
    alice.ip("addr", "add", f"{source}/32", "dev", "eth0")
    fenced.machine.ip("route", "add", f"{source}/32", "dev", bridge)
    fenced.hosts["bob"].ip("route", "add", f"{source}/32", "dev", "eth0")
    targets = [
        To(one.address, one.port, one.kind, source)
        for one in (*everybody(fenced), *the_host(fenced))
        if one.address != fenced.addresses["alice"]
    ]
    try:
        assert fenced.reached("alice", *targets) == []
        fenced.machine.run("nft", removal(table_of(PROJECT)))
        assert fenced.reached("alice", *targets), "without the fence, it gets through"
    finally:
        alice.ip("addr", "del", f"{source}/32", "dev", "eth0")
        fenced.machine.ip("route", "del", f"{source}/32")
        fenced.hosts["bob"].ip("route", "del", f"{source}/32")


def test_connections_from_before_the_fence_end_and_those_to_containers_go_on(unfenced: Scene) -> None:
    peer, host = unfenced.to("bob"), To(LAN_HERE)
    with (
        unfenced.call("alice", peer) as to_peer,
        unfenced.call("alice", host) as to_host,
        unfenced.call("alice", unfenced.to("public")) as to_public,
        unfenced.call("gateway", peer) as from_gateway,
    ):
        calls = (to_peer, to_host, to_public, from_gateway)
        assert all(call.echoes() for call in calls)
        unfenced.fence(unfenced.rules())
        try:
            assert [call.echoes() for call in calls] == [False, False, True, True]
        finally:
            unfenced.machine.run("nft", removal(table_of(PROJECT)))


def test_another_projects_fence_is_left_alone(unfenced: Scene) -> None:
    other = "table inet mcpgw_other { chain forward { type filter hook forward priority 0; accept\n }\n}"
    unfenced.machine.run("nft", other)
    before = unfenced.machine.run("nft", "list", "table", "inet", "mcpgw_other")
    unfenced.fence(unfenced.rules())
    unfenced.machine.run("nft", removal(table_of(PROJECT)))
    assert unfenced.machine.run("nft", "list", "table", "inet", "mcpgw_other") == before
    assert unfenced.machine.run("nft", "list", "tables").split() == ["table", "inet", "mcpgw_other"]
    unfenced.machine.run("nft", "delete", "table", "inet", "mcpgw_other")
