"""What the doctor looks at for Compose: it makes the networks, and would say in an engine's words alone which
subnet is taken; and it starts the router, whose key no process of ours reads.

The looks are pure. Next: :mod:`mcpgw.doctor_looks`, which has all the others.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from mcpgw.bootstrap.engine_api import Network
from mcpgw.doctor_looks import Finding, Verdict
from reconciler.core.zones import Zone
from reconciler.engine.networks import COMPOSED
from state.kinds.template import Egress
from state.settings import written_in

TAILSCALE_PROFILE = "tailscale"
TAILSCALE_KEY_BEGIN = "tskey-"  # Source: tailscale.com/kb/1085/auth-keys
LABEL_COMPOSED = "com.docker.compose.network"
SERVICES, SERVICES_BITS = "SERVICES_SUBNET_PREFIX", 24
FREE_FIRST, FREE_LAST = IPv4Address("10.211.0.0"), IPv4Address("10.255.0.0")
ZONES = {Egress.INTERNET: "CONTAINER_SUBNET_PREFIX", **COMPOSED}
SUBNETS = (*ZONES.values(), SERVICES)
"""What docker-compose.yml takes its networks' subnets from."""


def at_router(env_file: Path) -> Iterator[Finding]:
    """The Tailscale router's key: compose reads it, and no process of ours."""
    given = {**written_in(env_file), **os.environ}
    profiles, key = given.get("COMPOSE_PROFILES", ""), given.get("TS_AUTHKEY", "").strip()
    if key and not key.startswith(TAILSCALE_KEY_BEGIN):
        said = f"does not begin with {TAILSCALE_KEY_BEGIN}; make one at Tailscale: Settings, Keys"
        yield Finding(Verdict.TROUBLE, "TS_AUTHKEY", said)
    elif not key and TAILSCALE_PROFILE in [one.strip() for one in profiles.split(",")]:
        said = (
            "is not set, and COMPOSE_PROFILES names tailscale: a router that has not logged in before needs "
            "the key; set it, or take the profile out"
        )
        yield Finding(Verdict.WARNING, "TS_AUTHKEY", said)
    elif key:
        said = "is set; that its route is approved, only Tailscale's admin console tells"
        yield Finding(Verdict.OK, "TS_AUTHKEY", said)


def at_subnets(
    project: str,
    zones: Mapping[Egress, Zone],
    given: Mapping[str, str],
    standing: Sequence[Network],
    routes: Iterable[IPv4Network],
) -> Iterator[Finding]:
    """Whether each network of the compose file has its subnet, or may have it.

    ``given`` are subnets by their settings, as ``{"SERVICES_SUBNET_PREFIX": "10.211.6.0/24"}``; ``standing``
    the engine's networks, and ``routes`` the host's.
    """
    names = {
        **{ZONES[egress]: zone.network for egress, zone in zones.items()},
        SERVICES: project + "-services",
    }
    expected = {ZONES[egress]: zone.subnet for egress, zone in zones.items()}
    wanted: dict[str, IPv4Network] = {}
    for setting in names:
        try:
            wanted[setting] = IPv4Network(given.get(setting, ""))
        except ValueError:
            said = (
                f"{given.get(setting, '')!r} is no subnet; set the first three octets of one, like 10.211.7"
            )
            yield Finding(Verdict.TROUBLE, setting, said)
    taken = _taken(standing, routes, [*names.values()])
    free = _free([*wanted.values(), *taken.values()], next(iter(expected.values())).prefixlen)
    for setting, subnet in wanted.items():
        others = {name: other for name, other in wanted.items() if name != setting}
        met = next((name for name, has in {**others, **taken}.items() if subnet.overlaps(has)), "")
        own = next((one for one in standing if one.name == names[setting]), None)
        if setting in expected and subnet != expected[setting]:
            prefix = _prefix(expected[setting])
            said = f"is {subnet}, but follows from {ZONES[Egress.INTERNET]}; set it to {prefix}"
        elif own is not None and (fault := _fault_of(own, subnet)):
            said = f"{fault} (docs/deploy.md, Uninstall)"
        elif met:
            said = f"{subnet} overlaps {met}; set {free.get(setting, 'it to what is free')}"
        else:
            yield Finding(Verdict.OK, setting, str(subnet))
            continue
        yield Finding(Verdict.TROUBLE, setting, said)


def _taken(
    standing: Sequence[Network], routes: Iterable[IPv4Network], own_names: Sequence[str]
) -> dict[str, IPv4Network]:
    """What is somebody else's, by the words for it. A bridge of the project's own is a route as well."""
    own = {subnet for one in standing if one.name in own_names for subnet in one.subnets}
    return {
        f"network {one.name}": subnet
        for one in standing
        if one.name not in own_names
        for subnet in one.subnets
        if isinstance(subnet, IPv4Network)
    } | {f"the host's route to {route}": route for route in routes if route not in own}


def _fault_of(network: Network, subnet: IPv4Network) -> str:
    """Why Compose would stop at a network that has the name of one of its own; "" if it would not."""
    if LABEL_COMPOSED not in network.labels:
        return (
            f"network {network.name} is there and was not made by Compose, which would stop at it; remove it"
        )
    if subnet not in network.subnets:
        has = ", ".join(map(str, network.subnets)) or "none"
        return f"network {network.name} stands with {has}, and not with {subnet}; set it back, or remove it"
    return ""


def _free(taken: Sequence[IPv4Network], zone_bits: int) -> dict[str, str]:
    """What to set in place of each; a zone's goes with the others', as two of them follow from the first."""
    proposals: dict[str, str] = {}
    for settings, bits in (((SERVICES,), SERVICES_BITS), (tuple(ZONES.values()), zone_bits)):
        size = 1 << (32 - bits)
        for first in range(int(FREE_FIRST), int(FREE_LAST), size * len(settings)):
            found = [IPv4Network((first + size * at, bits)) for at in range(len(settings))]
            if not any(one.overlaps(other) for one in found for other in taken):
                words = (f"{setting}={_prefix(one)}" for setting, one in zip(settings, found, strict=True))
                proposals |= dict.fromkeys(settings, ", ".join(words))
                taken = [*taken, *found]
                break
    return proposals


def _prefix(subnet: IPv4Network) -> str:
    """``10.211.7.0/24`` → ``10.211.7``, as the settings are written."""
    return str(subnet).rpartition(".")[0]
