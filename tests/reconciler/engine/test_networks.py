"""The project's own network: made once, never over somebody else's."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from reconciler.core.errors import TerminalError, TransientError
from reconciler.engine.networks import check_own, check_room, host_routes
from reconciler.engine.port import Addressing, NetworkSpec
from state.kinds.template import Egress
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import Rig, gone, seat, started


async def test_ensuring_twice_makes_one_network(rig: Rig) -> None:
    await rig.engine.ensure_network(rig.network)
    before = await rig.network_names()
    await rig.engine.ensure_network(rig.network)
    assert rig.network.name in before
    assert await rig.network_names() == before


async def test_the_network_goes_when_it_is_removed_and_twice_is_once(rig: Rig) -> None:
    await rig.engine.ensure_network(rig.network)
    await rig.engine.remove_network(rig.network)
    await rig.engine.remove_network(rig.network)
    assert rig.network.name not in await rig.network_names()


async def test_a_network_in_use_is_not_removed(rig: Rig) -> None:
    await rig.engine.ensure_network(rig.network)
    await started(rig, seat(rig))
    with pytest.raises(TransientError) as caught:
        await rig.engine.remove_network(rig.network)
    assert caught.value.reason == "NetworkInUse"
    assert rig.network.name in await rig.network_names()


async def test_a_foreign_network_of_our_name_is_refused_and_left_alone(rig: Rig) -> None:
    await rig.engine.remove_network(rig.network)
    await rig.put_foreign_network(rig.network.name, rig.network.subnet)
    with pytest.raises(TerminalError, match="CONTAINER_PROJECT_NAME") as caught:
        await rig.engine.ensure_network(rig.network)
    assert caught.value.reason == "NetworkNameTaken"
    await rig.engine.remove_network(rig.network)
    assert rig.network.name in await rig.network_names()


async def test_a_subnet_that_collides_names_the_other_and_the_setting(rig: Rig) -> None:
    await rig.engine.remove_network(rig.network)
    foreign = f"{rig.project}-foreign"
    await rig.put_foreign_network(foreign, rig.network.subnet.replace(".0/24", ".128/25"))
    with pytest.raises(TerminalError, match=f"{foreign}.*CONTAINER_SUBNET_PREFIX") as caught:
        await rig.engine.ensure_network(rig.network)
    assert caught.value.reason == "SubnetCollision"
    assert rig.network.name not in await rig.network_names()


async def test_our_network_with_another_subnet_is_told_and_kept(rig: Rig) -> None:
    await rig.engine.ensure_network(rig.network)
    with pytest.raises(TerminalError, match="CONTAINER_SUBNET_PREFIX asks for") as caught:
        await rig.engine.ensure_network(replace(rig.network, subnet="10.254.254.0/24"))
    assert caught.value.reason == "SubnetChanged"
    assert rig.network.name in await rig.network_names()


@pytest.mark.parametrize(
    ("egress", "mend"),
    [
        (Egress.INTERNET, "set it back, or remove"),
        (Egress.PROXY, "set it back (under compose: PROXY_SUBNET_PREFIX), or remove"),
        (Egress.NONE, "set it back (under compose: CLOSED_SUBNET_PREFIX), or remove"),
    ],
)
def test_another_subnet_is_told_with_the_setting_that_it_comes_of_under_compose(
    egress: Egress, mend: str
) -> None:
    found = {"IPAM": {"Config": [{"Subnet": "10.7.5.0/24"}]}}
    with pytest.raises(TerminalError) as caught:
        check_own(found, NetworkSpec("ours", "ours", "10.7.2.0/24", egress))
    assert mend in str(caught.value)


async def test_another_projects_network_is_foreign(rig: Rig) -> None:
    await rig.engine.ensure_network(rig.network)
    theirs = replace(rig.network, project=rig.other_project)
    with pytest.raises(TerminalError):
        await rig.other_engine.ensure_network(theirs)
    await rig.other_engine.remove_network(theirs)
    assert rig.network.name in await rig.network_names()


@pytest.mark.parametrize("route", ["10.7.0.0/16", "10.7.1.0/25", "10.7.1.0/24"])
def test_a_subnet_that_the_host_routes_elsewhere_collides(route: str) -> None:
    wanted = NetworkSpec("ours", "ours", "10.7.1.0/24")
    with pytest.raises(TerminalError, match="route") as caught:
        check_room([], [IPv4Network(route)], wanted)
    assert caught.value.reason == "SubnetCollision"


def test_the_hosts_routes_leave_out_the_default_one() -> None:
    assert all(route.prefixlen > 0 for route in host_routes())


@pytest.mark.engine
@pytest.mark.parametrize("engine_rig", [("podman", Addressing.NETWORK)], ids=["podman"], indirect=True)
async def test_a_container_of_podman_has_the_mac_address_of_the_one_before_at_its_address(
    engine_rig: RealRig,
) -> None:
    """Whoever has sent to that address goes on sending there: the gateway, and the host. Docker does so by
    itself, or tells them from 28 on.
    """
    rig = engine_rig
    one = seat(rig)

    async def mac_address() -> str:
        shown_ = (await rig.raw(one.name))["NetworkSettings"]["Networks"][rig.network.name]
        assert shown_["IPAddress"] == one.placement.address
        return str(shown_["MacAddress"])

    first = await started(rig, one)
    known = await mac_address()
    await rig.engine.stop(first.id, 0)
    await rig.engine.start(first.id)
    assert await mac_address() == known, "started again"
    await rig.engine.remove(first.id)
    await gone(rig, one)
    second = await started(rig, one)
    assert second.id != first.id
    assert await mac_address() == known, "made anew"
