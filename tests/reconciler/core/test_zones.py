"""Which networks a project has, and which addresses of each are whose."""

from ipaddress import IPv4Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.core.addresses import AddressPool, own_addresses
from reconciler.core.zones import BRIDGE_NAME_CHARS_MAX, zones
from state.kinds.template import Egress
from state.setting_values import SUBNET_PREFIX_LENGTHS

PRIVATE = [IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@st.composite
def subnets(draw: st.DrawFn) -> IPv4Network:
    """Whatever CONTAINER_SUBNET_PREFIX accepts."""
    block = draw(st.sampled_from(PRIVATE))
    length = draw(st.sampled_from([n for n in SUBNET_PREFIX_LENGTHS if n >= block.prefixlen]))
    assume(length >= block.prefixlen + 2)  # else there is no room beside it
    index = draw(st.integers(0, 2 ** (length - block.prefixlen) - 1))
    return IPv4Network((int(block.network_address) + (index << (32 - length)), length))


def test_the_zones_of_the_default_settings() -> None:
    made = zones("mcpgw", IPv4Network("10.211.7.0/24"))
    said = {one.egress: (one.network, str(one.subnet), one.bridge, one.is_internal) for one in made.values()}
    assert said == {
        Egress.INTERNET: ("mcpgw", "10.211.7.0/24", "br-mcpgw", False),
        Egress.PROXY: ("mcpgw-proxy", "10.211.8.0/24", "br-mcpgw-p", True),
        Egress.NONE: ("mcpgw-closed", "10.211.9.0/24", "br-mcpgw-c", True),
    }


@given(subnets(), st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True))
def test_zones_lie_side_by_side_and_their_bridges_have_names_that_the_kernel_takes(
    subnet: IPv4Network, project: str
) -> None:
    made = list(zones(project, subnet).values())
    assert made[0].subnet == subnet
    assert all(one.subnet.prefixlen == subnet.prefixlen for one in made)
    overlapping = [(a, b) for a in made for b in made if a is not b and a.subnet.overlaps(b.subnet)]
    assert not overlapping
    assert all(any(one.subnet.subnet_of(block) for block in PRIVATE) for one in made)
    assert len({one.bridge for one in made}) == len({one.network for one in made}) == len(made)
    assert all(len(one.bridge) <= BRIDGE_NAME_CHARS_MAX for one in made)


@pytest.mark.parametrize("wide", ["192.168.0.0/16", "192.168.0.0/17", "192.168.128.0/17"])
def test_no_zone_is_laid_over_the_internet(wide: str) -> None:
    with pytest.raises(ValueError, match="no private room"):
        zones("p", IPv4Network(wide))


@pytest.mark.parametrize("last", ["10.255.255.0/24", "172.31.255.0/24", "192.168.255.0/24"])
def test_behind_the_last_private_subnet_the_ones_before_it_are_taken(last: str) -> None:
    assert all(one.subnet.is_private for one in zones("p", IPv4Network(last)).values())


@given(subnets())
def test_no_container_gets_an_address_that_is_kept_for_the_operator(subnet: IPv4Network) -> None:
    pool, own = AddressPool("network", subnet=str(subnet)), own_addresses(subnet)
    assert own[0] == subnet[2], "the engine has the first"
    assert own[-1] + 1 == subnet[11]
    assert pool.at(0) == str(subnet[11])
    assert pool.at(len(pool) - 1) == str(subnet[-2])
