"""What the doctor looks at for Compose: it makes the networks, and would say in an engine's words alone which
subnet is taken; and it starts the router, whose key no process of ours reads.

The looks are pure. Next: :mod:`mcpgw.doctor_looks`, which has all the others.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from itertools import product
from pathlib import Path

from mcpgw.doctor_looks import Finding, Verdict
from reconciler.core.zones import Zone
from reconciler.engine.networks import COMPOSED
from state.kinds.template import Egress
from state.settings import written_in

TAILSCALE_PROFILE = "tailscale"
TAILSCALE_KEY_BEGIN = "tskey-"  # Source: tailscale.com/kb/1085/auth-keys
SERVICES, SERVICES_SUFFIX = "SERVICES_SUBNET_PREFIX", "-services"
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
    standing: Mapping[str, Sequence[IPv4Network]],
    routes: Iterable[IPv4Network],
) -> Iterator[Finding]:
    """Whether each network of the compose file has its subnet, or may have it.

    ``given`` are subnets by their settings, as ``{"SERVICES_SUBNET_PREFIX": "10.211.6.0/24"}``; ``standing``
    those of the engine's networks by name, and ``routes`` the host's.
    """
    networks = {ZONES[egress]: zone.network for egress, zone in zones.items()}
    networks[SERVICES] = f"{project}{SERVICES_SUFFIX}"
    wanted: dict[str, IPv4Network] = {}
    for setting in networks:
        try:
            wanted[setting] = IPv4Network(given.get(setting, ""))
        except ValueError:
            said = (
                f"{given.get(setting, '')!r} is no subnet; set the first three octets of one, like 10.211.7"
            )
            yield Finding(Verdict.TROUBLE, setting, said)
    expected = {ZONES[egress]: zone.subnet for egress, zone in zones.items()}
    # A bridge of the project's own is a route as well.
    own = {subnet for name in networks.values() for subnet in standing.get(name, ())}
    taken = {
        **{f"network {name}": subnets for name, subnets in standing.items() if name not in networks.values()},
        **{f"the host's route to {route}": (route,) for route in routes if route not in own},
    }
    for setting, subnet in wanted.items():
        others = {name: (other,) for name, other in wanted.items() if name != setting}
        if setting in expected and subnet != expected[setting]:
            prefix = str(expected[setting]).rpartition(".")[0]
            said = f"is {subnet}, but follows from {ZONES[Egress.INTERNET]}; set it to {prefix}"
        elif has := [one for one in standing.get(networks[setting], ()) if one != subnet]:
            said = (
                f"network {networks[setting]} stands with {has[0]}, and not with {subnet}; set it back, or "
                "remove what stands (docs/deploy.md, Uninstall)"
            )
        elif met := _overlapping(subnet, {**others, **taken}):
            free = _free([*own, *wanted.values(), *(one for some in taken.values() for one in some)])
            said = f"{subnet} overlaps {met}; set it to what is free{free}"
        else:
            yield Finding(Verdict.OK, setting, str(subnet))
            continue
        yield Finding(Verdict.TROUBLE, setting, said)


def _overlapping(subnet: IPv4Network, taken: Mapping[str, Sequence[IPv4Network]]) -> str:
    return next((name for name, has in taken.items() if any(map(subnet.overlaps, has))), "")


def _free(taken: Sequence[IPv4Network]) -> str:
    """Three octets to propose, with free ones behind for the zones."""
    for second, third in product(range(211, 256), range(0, 256, 4)):
        if not any(IPv4Network((f"10.{second}.{third}.0", 22)).overlaps(one) for one in taken):
            return f", like 10.{second}.{third}"
    return ""
