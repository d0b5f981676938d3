"""The zones' networks: one for each way out, made when it is needed, and what each lets out."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from reconciler.core.container import LABEL_PROJECT
from reconciler.core.errors import TerminalError, TransientError
from reconciler.engine.port import Addressing
from state.kinds.template import Egress
from tests.engines import RealEngine
from tests.netns import OUTSIDE, Host, host, host_outside, link
from tests.reconciler.engine.own_podman import podman_on
from tests.reconciler.engine.real import RealRig, free_port
from tests.reconciler.engine.rig import (
    OTHER_HOME,
    PORT,
    Rig,
    answering,
    created,
    seat,
    started,
    until,
)

INTERNAL = [egress for egress in Egress if egress is not Egress.INTERNET]
OUTSIDE_PORT = 8099
PROXY_PORT = 3128
# Fetches what it is asked for, as a forward proxy does. Source: RFC 9112, 3.2.2, absolute-form.
PROXY = f"""
import http.server, urllib.request
class Forward(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
        body = direct.open(self.path, timeout=3).read()
        self.send_response(200); self.end_headers(); self.wfile.write(b"by proxy: " + body)
http.server.ThreadingHTTPServer(("0.0.0.0", {PROXY_PORT}), Forward).serve_forever()
"""


@pytest.mark.parametrize("egress", INTERNAL)
async def test_each_zone_has_a_network_of_its_own_that_comes_and_goes_alone(rig: Rig, egress: Egress) -> None:
    await rig.engine.ensure_network(rig.network)
    network = rig.networks[egress]
    assert network.name not in await rig.network_names()
    await rig.engine.ensure_network(network)
    await rig.engine.ensure_network(network)
    assert {network.name, rig.network.name} <= await rig.network_names()
    await rig.engine.remove_network(network)
    assert network.name not in await rig.network_names()
    assert rig.network.name in await rig.network_names()


@pytest.mark.parametrize("egress", INTERNAL)
async def test_a_container_of_an_internal_zone_is_reached_at_its_own_address(
    rig: Rig, egress: Egress
) -> None:
    await rig.engine.ensure_network(rig.networks[egress])
    one = seat(rig, egress=egress)
    await started(rig, one)
    seen = await answering(rig, one)
    if rig.engine.capabilities.fixed_address:
        assert (seen.endpoint_host, seen.endpoint_port) == (one.placement.address, PORT)
    assert [seen] == await rig.engine.list()
    with pytest.raises(TransientError) as caught:
        await rig.engine.remove_network(rig.networks[egress])
    assert caught.value.reason == "NetworkInUse"


@pytest.mark.parametrize("egress", INTERNAL)
async def test_a_zones_subnet_that_collides_names_zone_other_and_setting(rig: Rig, egress: Egress) -> None:
    network, foreign = rig.networks[egress], f"{rig.project}-foreign"
    await rig.put_foreign_network(foreign, network.subnet)
    with pytest.raises(TerminalError, match=f"egress {egress}.*{foreign}.*CONTAINER_SUBNET_PREFIX") as caught:
        await rig.engine.ensure_network(network)
    assert caught.value.reason == "SubnetCollision"


async def _put_own(rig: RealRig, egress: Egress, *, internal: bool, ip_range: str = "") -> None:
    """The zone's network, made by another hand of ours: with our label, and a bridge of its choice."""
    network = rig.networks[egress]
    await rig.hand.networks.create(
        {
            "Name": network.name,
            "Driver": "bridge",
            "Internal": internal,
            "Labels": {LABEL_PROJECT: rig.project},
            "IPAM": {"Config": [{"Subnet": network.subnet, **({"IPRange": ip_range} if ip_range else {})}]},
        }
    )


@pytest.mark.engine
async def test_bridges_are_called_what_the_zones_say(engine_rig: RealRig) -> None:
    for egress in Egress:
        await engine_rig.engine.ensure_network(engine_rig.networks[egress])
        await started(engine_rig, seat(engine_rig, home=egress.lower().ljust(26, "a"), egress=egress))
    there = subprocess.run(("ip", "-br", "link", "show", "type", "bridge"), capture_output=True, check=True)
    names = {line.split()[0] for line in there.stdout.decode().splitlines()}
    assert {zone.bridge for zone in engine_rig.zones.values()} <= names


@pytest.mark.engine
async def test_a_network_with_our_label_is_adopted_whatever_its_bridge_is_called(engine_rig: RealRig) -> None:
    await _put_own(engine_rig, Egress.NONE, internal=True)
    await engine_rig.engine.ensure_network(engine_rig.networks[Egress.NONE])
    one = seat(engine_rig, egress=Egress.NONE)
    await started(engine_rig, one)
    await answering(engine_rig, one)


@pytest.mark.engine
async def test_a_network_that_lets_out_what_should_stay_in_is_refused(engine_rig: RealRig) -> None:
    await _put_own(engine_rig, Egress.NONE, internal=False)
    with pytest.raises(TerminalError, match=r"egress None would not hold.*network rm") as caught:
        await engine_rig.engine.ensure_network(engine_rig.networks[Egress.NONE])
    assert caught.value.reason == "NetworkOpen"


@pytest.mark.engine
async def test_a_bridge_that_another_network_has_is_named(engine_rig: RealRig) -> None:
    network = replace(engine_rig.networks[Egress.NONE], bridge=engine_rig.network.bridge)
    with pytest.raises(TerminalError, match=f"{network.bridge}.*CONTAINER_PROJECT_NAME") as caught:
        await engine_rig.engine.ensure_network(network)
    assert caught.value.reason == "BridgeNameTaken"


@pytest.mark.engine
async def test_a_network_that_is_missing_is_said_to_be_and_not_the_specs_fault(engine_rig: RealRig) -> None:
    one = seat(engine_rig, egress=Egress.NONE)
    with pytest.raises(TransientError) as caught:
        await engine_rig.engine.start(await created(engine_rig, one))
    assert caught.value.reason == "NetworkMissing"


@pytest.mark.engine
async def test_containers_speak_no_ipv6(real_rig: RealRig) -> None:
    one = seat(real_rig)
    await started(real_rig, one)
    inside = "cat /proc/sys/net/ipv6/conf/*/disable_ipv6; cat /proc/net/if_inet6"
    assert set((await real_rig.inside(one.name, inside)).split()) == {"1"}


@pytest.mark.engine
async def test_an_engine_without_an_address_left_names_the_setting(engine_rig: RealRig) -> None:
    """Ports are ours to give here and addresses the engine's, of which it has four."""
    await engine_rig.engine.remove_network(engine_rig.network)
    few = IPv4Network((engine_rig.zones[Egress.INTERNET].subnet[16], 30))
    await _put_own(engine_rig, Egress.INTERNET, internal=False, ip_range=str(few))
    with pytest.raises(TransientError, match=r"CONTAINER_SUBNET_PREFIX to a wider one") as caught:
        for number in range(few.num_addresses + 1):
            one = seat(engine_rig, home=str(number).rjust(26, "a"))
            placement = replace(one.placement, address=f"127.0.0.1:{free_port()}")
            await engine_rig.engine.start(await created(engine_rig, replace(one, placement=placement)))
    assert caught.value.reason == "AddressesExhausted"


@pytest.mark.engine
async def test_who_is_closed_in_has_a_name_server_that_asks_nobody(engine_rig: RealRig) -> None:
    """Docker's own would ask the host's in their stead; Podman's networks have none."""
    for egress in Egress:
        await engine_rig.engine.ensure_network(engine_rig.networks[egress])
        one = seat(engine_rig, home=egress.lower().ljust(26, "a"), egress=egress)
        await started(engine_rig, one)
        is_said = engine_rig.machine.name == "docker" and egress is not Egress.INTERNET
        told = (await engine_rig.raw(one.name))["HostConfig"]
        assert list(told["Dns"] or ()) == (["127.0.0.1"] if is_said else []), egress


@pytest.fixture
def outside() -> Iterator[tuple[Host, IPv4Address]]:
    with host_outside() as found:
        found[0].serve(OUTSIDE_PORT)
        yield found


async def _get(rig: RealRig, name: str, url: str) -> str:
    """What a GET from inside says, or which error it ends with."""
    ask = f"import urllib.request as u; print(u.urlopen('{url}', timeout=3).read().decode())"
    return (await rig.inside(name, f'python3 -c "{ask}" 2>&1 | tail -1')).strip()


@pytest.mark.engine
async def test_what_may_go_to_the_internet_does_and_what_is_closed_in_does_not(
    real_rig: RealRig, outside: tuple[Host, IPv4Address]
) -> None:
    free, closed = seat(real_rig), seat(real_rig, home=OTHER_HOME, egress=Egress.NONE)
    await real_rig.engine.ensure_network(real_rig.networks[Egress.NONE])
    for each in (free, closed):
        await started(real_rig, each)
        await answering(real_rig, each)
    url = f"http://{outside[1]}:{OUTSIDE_PORT}/"
    assert await _get(real_rig, free.name, url) == "outside"
    assert "Error" in await _get(real_rig, closed.name, url)


@pytest.fixture(params=["docker", "podman"])
async def rig_with_outside(
    request: pytest.FixtureRequest, project_name: str, tmp_path: Path
) -> AsyncIterator[tuple[RealRig, IPv4Address]]:
    """An engine without other engines' firewalls around it, and an address outside.

    Podman has a host of its own for it: Docker's rules drop whatever another engine passes on inside of a
    bridge. Source: https://docs.docker.com/engine/network/packet-filtering-firewalls/, FORWARD policy.
    """
    engine: RealEngine = request.getfixturevalue(f"{request.param}_engine")
    with ExitStack() as hosts:
        if engine.name == "podman":
            outside, address = hosts.enter_context(host()), OUTSIDE[2]
            its = hosts.enter_context(host())
            link(its, f"{OUTSIDE[1]}/30", outside, f"{address}/30")
            url = hosts.enter_context(podman_on(its, tmp_path))
            engine = RealEngine(engine.name, url, engine.image)
        else:
            outside, address = hosts.enter_context(host_outside())
        outside.serve(OUTSIDE_PORT)
        made = RealRig(engine, project_name, Addressing.NETWORK, tmp_path)
        await made.open()
        try:
            yield made, address
        finally:
            await made.close()


@pytest.mark.engine
async def test_what_has_a_proxy_gets_out_by_it_alone(rig_with_outside: tuple[RealRig, IPv4Address]) -> None:
    rig, outside = rig_with_outside
    zone = rig.zones[Egress.PROXY]
    await rig.engine.ensure_network(rig.networks[Egress.PROXY])
    proxy = str(zone.subnet[2])
    await rig.put_on_two_networks(f"{rig.project}-proxy", PROXY, zone.network, proxy)
    one = seat(rig, egress=Egress.PROXY, env=(("http_proxy", f"http://{proxy}:{PROXY_PORT}"),))
    await started(rig, one)
    url = f"http://{outside}:{OUTSIDE_PORT}/"

    async def comes_by_proxy() -> bool:
        return await _get(rig, one.name, url) == "by proxy: outside"

    await until(comes_by_proxy, "the proxy fetches it")
    direct = f"import socket; socket.create_connection(('{outside}', {OUTSIDE_PORT}), 3)"
    assert "Error" in await rig.inside(one.name, f'python3 -c "{direct}" 2>&1 | tail -1')
