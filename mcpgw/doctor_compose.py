"""What the doctor looks at for Compose: it makes the networks, and would say in an engine's words alone which
subnet is taken; and it starts the router, whose key no process of ours reads.

The look at subnets is pure. Next: :mod:`mcpgw.doctor_looks`, which has all the others.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from itertools import chain
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
PROPOSED = tuple(map(IPv4Network, ("10.224.0.0/11", "172.16.0.0/12", "192.168.0.0/16")))
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
    expected = {ZONES[egress]: zone.subnet for egress, zone in zones.items()}
    names = {ZONES[egress]: zone.network for egress, zone in zones.items()} | {
        SERVICES: f"{project}-services"
    }
    bits = next(iter(expected.values())).prefixlen
    if bits > SERVICES_BITS:
        yield Finding(
            Verdict.TROUBLE, "SUBNET_BITS", f"is {bits}; set it to a number from 16 to {SERVICES_BITS}"
        )
        return
    wanted: dict[str, IPv4Network] = {}
    for setting in names:
        try:
            wanted[setting] = IPv4Network(given.get(setting, ""))
        except ValueError:
            like = _prefix(expected[setting]) if setting in expected else "three octets, like 10.211.6"
            said = f"{given.get(setting, '')!r} is no subnet of this size; set it to {like}"
            yield Finding(Verdict.TROUBLE, setting, said)
    by_others = [one for one in standing if one.name not in names.values()]
    taken = [(f"network {one.name}", has) for one in by_others for has in _ipv4(one)]
    own = [has for one in standing if one.name in names.values() for has in _ipv4(one)]
    ways = [one for one in routes if one not in own]  # a bridge of the project's own is a route as well
    free = _free([*wanted.values(), *(has for _, has in taken), *ways], bits)
    for setting, subnet in wanted.items():
        others = [(name, has) for name, has in wanted.items() if name != setting]
        met = next((name for name, has in (*others, *taken) if subnet.overlaps(has)), "")
        mine = next((one for one in standing if one.name == names[setting]), None)
        if setting in expected and subnet != expected[setting]:
            follows = f"follows from {ZONES[Egress.INTERNET]}; set it to {_prefix(expected[setting])}"
            yield Finding(Verdict.TROUBLE, setting, f"is {subnet}, but {follows}")
        elif mine is not None:
            fault = _fault_of(mine, subnet)
            said = f"{fault} (docs/deploy.md, Uninstall)" if fault else str(subnet)
            yield Finding(Verdict.TROUBLE if fault else Verdict.OK, setting, said)
        else:
            yield _of_room(setting, subnet, met, ways, free.get(setting, "it to what is free"))


def _of_room(
    setting: str, subnet: IPv4Network, met: str, routes: Iterable[IPv4Network], free: str
) -> Finding:
    """Whether a network that does not stand yet may have its subnet. ``met`` is in words what it overlaps."""
    route = next((one for one in routes if one.overlaps(subnet)), None)
    if met:
        return Finding(Verdict.TROUBLE, setting, f"{subnet} overlaps {met}; set {free}")
    if route is None:
        return Finding(Verdict.OK, setting, str(subnet))
    if route.subnet_of(subnet):
        return Finding(Verdict.TROUBLE, setting, f"{subnet} overlaps the host's route to {route}; set {free}")
    said = f"{subnet} is part of the host's route to {route} and takes it from who is there; or set {free}"
    return Finding(Verdict.WARNING, setting, said)


def _ipv4(network: Network) -> list[IPv4Network]:
    return [one for one in network.subnets if isinstance(one, IPv4Network)]


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
        step = size * len(settings)
        starts = (range(int(block[0]), int(block[-1]) - step + 2, step) for block in PROPOSED)
        for first in chain.from_iterable(starts):
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
