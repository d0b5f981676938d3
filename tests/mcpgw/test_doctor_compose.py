"""What the compose file's `check` says of subnets, each by its setting. On an engine: compose/test_running"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import pytest

from mcpgw.doctor_compose import SUBNETS, at_subnets
from mcpgw.doctor_looks import Verdict
from reconciler.core.zones import zones

GIVEN = {
    "CONTAINER_SUBNET_PREFIX": "10.211.8.0/24",
    "PROXY_SUBNET_PREFIX": "10.211.9.0/24",
    "CLOSED_SUBNET_PREFIX": "10.211.10.0/24",
    "SERVICES_SUBNET_PREFIX": "10.211.7.0/24",
}
NAMES = dict(zip(SUBNETS, ("mine", "mine-proxy", "mine-closed", "mine-services"), strict=True))
STANDING = {NAMES[setting]: (IPv4Network(subnet),) for setting, subnet in GIVEN.items()}


def said(
    given: Mapping[str, str] | None = None,
    standing: Mapping[str, Sequence[IPv4Network]] | None = None,
    routes: Sequence[str] = (),
) -> dict[str, str]:
    """Of each setting, what is in need of mending."""
    its_zones = zones("mine", IPv4Network(GIVEN["CONTAINER_SUBNET_PREFIX"]))
    found = at_subnets(
        "mine", its_zones, {**GIVEN, **(given or {})}, standing or {}, [*map(IPv4Network, routes)]
    )
    each = [(one.about, one) for one in found]
    assert sorted(about for about, _ in each) == sorted(SUBNETS), "each once"
    return {about: one.said for about, one in each if one.verdict is Verdict.TROUBLE}


@pytest.mark.parametrize("standing", [{}, STANDING, {"another": (IPv4Network("10.211.11.0/24"),)}])
def test_where_all_are_free_or_the_projects_own_nothing_is_said(
    standing: dict[str, Sequence[IPv4Network]],
) -> None:
    assert said(standing=standing, routes=["172.17.0.0/16"]) == {}


def test_the_bridges_of_what_stands_are_in_nobodys_way() -> None:
    assert said(standing=STANDING, routes=[*GIVEN.values()]) == {}


@pytest.mark.parametrize("setting", SUBNETS)
def test_one_that_another_network_has_is_named_with_a_free_one(setting: str) -> None:
    [(about, words)] = said(standing={"another": (IPv4Network(GIVEN[setting]),)}).items()
    assert about == setting
    assert f"{GIVEN[setting]} overlaps network another; set it to what is free, like 10.211.0" in words


@pytest.mark.parametrize("setting", SUBNETS)
def test_one_that_a_route_of_the_hosts_leads_into_is_named(setting: str) -> None:
    [(about, words)] = said(routes=[GIVEN[setting]]).items()
    assert about == setting
    assert f"overlaps the host's route to {GIVEN[setting]}" in words


def test_what_is_proposed_is_free_with_those_behind_it() -> None:
    first = tuple(IPv4Network(one) for one in ("10.211.2.0/24", "10.211.7.0/24", "10.211.8.0/24"))
    words = said(standing={"another": first})["SERVICES_SUBNET_PREFIX"]
    assert words.endswith("like 10.211.12")
    nothing = said(standing={"another": (IPv4Network("10.0.0.0/8"),)})
    assert nothing["SERVICES_SUBNET_PREFIX"].endswith("set it to what is free")


def test_two_of_ones_own_that_overlap_are_named_both() -> None:
    wrong = said({"SERVICES_SUBNET_PREFIX": GIVEN["CONTAINER_SUBNET_PREFIX"]})
    assert "overlaps CONTAINER_SUBNET_PREFIX" in wrong["SERVICES_SUBNET_PREFIX"]
    assert "overlaps SERVICES_SUBNET_PREFIX" in wrong["CONTAINER_SUBNET_PREFIX"]


@pytest.mark.parametrize(
    "written",
    ["10.211.0.0/16.0/24", "10.211.0/24", "PROXY_SUBNET_PREFIX-is-missing-beside-10.211.8.0/24", "", "::/64"],
)
def test_what_is_no_subnet_is_said_to_be_none(written: str) -> None:
    assert (
        "is no subnet; set the first three octets"
        in said({"PROXY_SUBNET_PREFIX": written})["PROXY_SUBNET_PREFIX"]
    )


def test_a_zone_that_is_not_behind_the_first_is_told_its_place() -> None:
    """The reconciler would look for it there."""
    wrong = said({"CLOSED_SUBNET_PREFIX": "10.50.3.0/24"})
    [(about, words)] = wrong.items()
    assert about == "CLOSED_SUBNET_PREFIX"
    assert words == "is 10.50.3.0/24, but follows from CONTAINER_SUBNET_PREFIX; set it to 10.211.10"


def test_a_network_that_stands_with_another_subnet_is_named() -> None:
    standing = {**STANDING, "mine-services": (IPv4Network("10.50.3.0/24"),)}
    [(about, words)] = said(standing=standing).items()
    assert about == "SERVICES_SUBNET_PREFIX"
    assert "network mine-services stands with 10.50.3.0/24, and not with 10.211.7.0/24" in words
