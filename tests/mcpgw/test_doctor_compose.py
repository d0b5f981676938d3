"""What the compose file's `check` says of subnets, each by its setting. On an engine: compose/test_running"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import pytest

from mcpgw.bootstrap.engine_api import Network
from mcpgw.doctor_compose import LABEL_COMPOSED, SUBNETS, at_subnets
from mcpgw.doctor_looks import Verdict
from reconciler.core.zones import zones

GIVEN = {
    "CONTAINER_SUBNET_PREFIX": "10.211.8.0/24",
    "PROXY_SUBNET_PREFIX": "10.211.9.0/24",
    "CLOSED_SUBNET_PREFIX": "10.211.10.0/24",
    "SERVICES_SUBNET_PREFIX": "10.211.7.0/24",
}
NAMES = dict(zip(SUBNETS, ("mine", "mine-proxy", "mine-closed", "mine-services"), strict=True))


def network(name: str, *subnets: str, composed: bool = False) -> Network:
    labels = {LABEL_COMPOSED: "any"} if composed else {}
    return Network(name, labels, tuple(map(IPv4Network, subnets)))


STANDING = [network(NAMES[setting], subnet, composed=True) for setting, subnet in GIVEN.items()]


def said(
    given: Mapping[str, str] | None = None, standing: Sequence[Network] = (), routes: Sequence[str] = ()
) -> dict[str, str]:
    """Of each setting, what is in need of mending."""
    given = {**GIVEN, **(given or {})}
    its_zones = zones("mine", IPv4Network(given["CONTAINER_SUBNET_PREFIX"]))
    found = list(at_subnets("mine", its_zones, given, standing, [*map(IPv4Network, routes)]))
    assert sorted(one.about for one in found) == sorted(SUBNETS), "each once"
    return {one.about: one.said for one in found if one.verdict is Verdict.TROUBLE}


@pytest.mark.parametrize("standing", [[], STANDING, [network("another", "10.211.11.0/24")]])
def test_where_all_are_free_or_the_projects_own_nothing_is_said(standing: Sequence[Network]) -> None:
    assert said(standing=standing, routes=["172.17.0.0/16"]) == {}


def test_routes_are_in_nobodys_way_where_the_networks_stand() -> None:
    """Their own bridges among them, and a wider one of a VPN's."""
    assert said(standing=STANDING, routes=[*GIVEN.values(), "10.0.0.0/8"]) == {}


def test_a_wider_route_of_the_hosts_is_a_warning() -> None:
    """Nothing stops at it, and whoever is there under these addresses is reached no more."""
    its_zones = zones("mine", IPv4Network(GIVEN["CONTAINER_SUBNET_PREFIX"]))
    found = list(at_subnets("mine", its_zones, GIVEN, [], [IPv4Network("10.0.0.0/8")]))
    assert {one.verdict for one in found} == {Verdict.WARNING}
    assert all("is part of the host's route to 10.0.0.0/8" in one.said for one in found)
    assert found[-1].said.endswith("or set SERVICES_SUBNET_PREFIX=172.16.0")


ZONES_FREE = "CONTAINER_SUBNET_PREFIX=10.224.3, PROXY_SUBNET_PREFIX=10.224.4, CLOSED_SUBNET_PREFIX=10.224.5"


@pytest.mark.parametrize("setting", SUBNETS)
def test_one_that_another_network_has_is_named_with_what_is_free(setting: str) -> None:
    """The zones' are proposed together: two of them follow from the first."""
    [(about, words)] = said(standing=[network("another", GIVEN[setting])]).items()
    assert about == setting
    free = "SERVICES_SUBNET_PREFIX=10.224.0" if setting == "SERVICES_SUBNET_PREFIX" else ZONES_FREE
    assert words == f"{GIVEN[setting]} overlaps network another; set {free}"


@pytest.mark.parametrize("setting", SUBNETS)
def test_one_that_a_route_of_the_hosts_leads_into_is_named(setting: str) -> None:
    [(about, words)] = said(routes=[GIVEN[setting]]).items()
    assert about == setting
    assert f"overlaps the host's route to {GIVEN[setting]}; set " in words


@pytest.mark.parametrize("bits", [24, 22, 16])
def test_what_is_proposed_is_good(bits: int) -> None:
    """Whoever sets it is told nothing more."""
    wide = {
        "CONTAINER_SUBNET_PREFIX": "10.224.0",
        "PROXY_SUBNET_PREFIX": "10.225.0",
        "CLOSED_SUBNET_PREFIX": "10.226.0",
    }
    near = {
        "CONTAINER_SUBNET_PREFIX": "10.224.0",
        "PROXY_SUBNET_PREFIX": "10.224.4",
        "CLOSED_SUBNET_PREFIX": "10.224.8",
    }
    begun = {24: {name: subnet.removesuffix(".0/24") for name, subnet in GIVEN.items()}, 22: near, 16: wide}[
        bits
    ]
    given = {"SERVICES_SUBNET_PREFIX": GIVEN["SERVICES_SUBNET_PREFIX"]}
    given |= {
        name: f"{prefix}.0/{bits}" for name, prefix in begun.items() if name != "SERVICES_SUBNET_PREFIX"
    }
    others = [network("another", given["PROXY_SUBNET_PREFIX"]), network("and another", "10.211.0.0/21")]
    wrong = said(given, others)
    assert set(wrong) == {"PROXY_SUBNET_PREFIX", "SERVICES_SUBNET_PREFIX"}
    for words in wrong.values():
        for one in words.partition("; set ")[2].split(", "):
            setting, _, prefix = one.partition("=")
            given[setting] = f"{prefix}.0/{24 if setting == 'SERVICES_SUBNET_PREFIX' else bits}"
    assert said(given, others) == {}


def test_where_nothing_is_free_none_is_proposed() -> None:
    nothing = said(standing=[network("another", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")])
    assert nothing["SERVICES_SUBNET_PREFIX"].endswith("set it to what is free")


def test_two_of_ones_own_that_overlap_are_named_both() -> None:
    wrong = said({"SERVICES_SUBNET_PREFIX": GIVEN["CONTAINER_SUBNET_PREFIX"]})
    assert "overlaps CONTAINER_SUBNET_PREFIX" in wrong["SERVICES_SUBNET_PREFIX"]
    assert "overlaps SERVICES_SUBNET_PREFIX" in wrong["CONTAINER_SUBNET_PREFIX"]


@pytest.mark.parametrize("written", ["10.211.0.0/16.0/24", "10.211.0/24", "", "::/64"])
def test_what_is_no_subnet_is_told_what_it_should_be(written: str) -> None:
    wrong = said({"PROXY_SUBNET_PREFIX": written, "SERVICES_SUBNET_PREFIX": written})
    assert wrong["PROXY_SUBNET_PREFIX"].endswith("is no subnet of this size; set it to 10.211.9")
    assert "is no subnet of this size; set it to three octets" in wrong["SERVICES_SUBNET_PREFIX"]


def test_the_zones_of_a_size_are_told_though_the_defaults_do_not_fit_it() -> None:
    """The first alone is set, with SUBNET_BITS=16."""
    defaults = {"PROXY_SUBNET_PREFIX": "10.211.8.0/16", "CLOSED_SUBNET_PREFIX": "10.211.9.0/16"}
    wrong = said({"CONTAINER_SUBNET_PREFIX": "10.220.0.0/16", **defaults})
    assert {name: words.rpartition(" ")[2] for name, words in wrong.items()} == {
        "PROXY_SUBNET_PREFIX": "10.221.0",
        "CLOSED_SUBNET_PREFIX": "10.222.0",
    }


def test_a_size_that_three_octets_cannot_say_is_refused() -> None:
    its_zones = zones("mine", IPv4Network("10.220.0.0/25"))
    [one] = at_subnets("mine", its_zones, GIVEN, [], [])
    assert (one.verdict, one.about) == (Verdict.TROUBLE, "SUBNET_BITS")
    assert one.said == "is 25; set it to a number from 16 to 24"


def test_every_subnet_of_a_network_counts_and_every_network_of_a_name() -> None:
    for standing in (
        [network("another", GIVEN["SERVICES_SUBNET_PREFIX"], "10.99.0.0/24")],
        [network("another", GIVEN["SERVICES_SUBNET_PREFIX"]), network("another", "10.99.0.0/24")],
    ):
        assert set(said(standing=standing)) == {"SERVICES_SUBNET_PREFIX"}


def test_a_zone_that_is_not_behind_the_first_is_told_its_place() -> None:
    """The reconciler would look for it there."""
    wrong = said({"CLOSED_SUBNET_PREFIX": "10.50.3.0/24"})
    [(about, words)] = wrong.items()
    assert about == "CLOSED_SUBNET_PREFIX"
    assert words == "is 10.50.3.0/24, but follows from CONTAINER_SUBNET_PREFIX; set it to 10.211.10"


def test_a_network_that_stands_with_another_subnet_is_named() -> None:
    [(about, words)] = said(
        standing=[*STANDING[:-1], network("mine-services", "10.50.3.0/24", composed=True)]
    ).items()
    assert about == "SERVICES_SUBNET_PREFIX"
    assert "network mine-services stands with 10.50.3.0/24, and not with 10.211.7.0/24" in words


def test_a_network_that_compose_did_not_make_is_named() -> None:
    """It would stop at it, as it has the name of one of its own."""
    [(about, words)] = said(standing=[network("mine", GIVEN["CONTAINER_SUBNET_PREFIX"])]).items()
    assert about == "CONTAINER_SUBNET_PREFIX"
    assert "network mine is there and was not made by Compose, which would stop at it; remove it" in words
