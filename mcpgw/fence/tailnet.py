"""This host's way to a tailnet, by a router on the project's network: outside of containers, never in one.

Containers need none, as such a router masquerades, and the fence keeps them from it. One route of the main
table, which goes as its bridge goes, so that whoever keeps the fence sets it again.
Next: :mod:`mcpgw.fence.keeping`.

Source: https://tailscale.com/kb/1015/100.x-addresses; proc(5), /proc/net/route
"""

import socket
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from mcpgw.bootstrap.command import environment, found
from mcpgw.fence.errors import FenceError

TAILNET = IPv4Network("100.64.0.0/10")
ROUTES = Path("/proc/net/route")
ROUTE_S_MAX = 10.0  # one call of ip
WORDS_CHARS_MAX = 300


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
    words = ("ip", "route", verb, str(TAILNET), "via", str(router))
    where = f"FENCE_TAILNET_ROUTER={router}"
    if found("ip") is None:
        raise FenceError(f"{where}: `ip` is not installed; on Debian: apt-get install iproute2")
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words, env=environment(), capture_output=True, text=True, timeout=ROUTE_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise FenceError(f"{where}: `{' '.join(words)}` did not end within {ROUTE_S_MAX:g} s") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:WORDS_CHARS_MAX]
        raise FenceError(f"{where}: `{' '.join(words)}` failed ({said}); is the router's network up?")


def _hex(address: IPv4Address) -> str:
    return f"{socket.htonl(int(address)):08X}"
