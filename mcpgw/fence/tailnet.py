"""This host's way to a tailnet, by a router on the project's network: outside of containers, never in one.

Containers need none, as such a router masquerades, and the fence keeps them from it. One route of the main
table, which goes as its bridge goes, so that whoever keeps the fence sets it again.
Next: :mod:`mcpgw.fence.keeping`.

Source: https://tailscale.com/kb/1015/100.x-addresses; proc(5), /proc/net/route
"""

import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from mcpgw.fence.errors import FenceError
from mcpgw.fence.programs import run

TAILNET = IPv4Network("100.64.0.0/10")
ROUTES = Path("/proc/net/route")


def router_of(routes: str) -> IPv4Address | None:
    """By whom the tailnet is reached, as /proc/net/route says it; None where there is no such route."""
    wanted = (_hex(TAILNET.network_address), _hex(TAILNET.netmask))
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and (fields[1], fields[7]) == wanted:
            return IPv4Address(socket.ntohl(int(fields[2], 16)))
    return None


def fault_of(router: IPv4Address) -> str:
    """What is wrong with this host's route; "" if it leads there. Raises FenceError."""
    try:
        standing = router_of(ROUTES.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise FenceError(f"the host's routes cannot be read: {error}; see {ROUTES}") from None
    if standing is None:
        return f"the host has no route to the tailnet ({TAILNET})"
    return "" if standing == router else f"the host's route to the tailnet leads to {standing}"


def mend(router: IPv4Address) -> str:
    """Set the route unless it stands; what was wrong. Raises FenceError."""
    fault = fault_of(router)
    if fault:
        _ip("replace", router)
    return fault


def remove(router: IPv4Address) -> None:
    """Absent is success, and so is one that leads elsewhere. Raises FenceError."""
    if not fault_of(router):
        _ip("del", router)


def _ip(verb: str, router: IPv4Address) -> None:
    what = f"cannot {verb} the route to {TAILNET} by FENCE_TAILNET_ROUTER={router} (is its network up?)"
    run(what, ("ip", "route", verb, str(TAILNET), "via", str(router)), "iproute2")


def _hex(address: IPv4Address) -> str:
    return f"{socket.htonl(int(address)):08X}"
