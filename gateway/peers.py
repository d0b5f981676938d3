"""From which address a request comes: the peer's, or what proxies in front of us say, if they are trusted to.

Decides by the setting TRUSTED_PROXIES alone; without it a forwarded address is anybody's text. Reads the
header from its end: each proxy appends the address that it saw, so the last one that is not a trusted proxy's
own is the client's. Pure. Source: RFC 7239 section 7.4 (forwarding chains), as to X-Forwarded-For.
Next: :mod:`gateway.front`.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from gateway.proxy.client import Scope

HOPS_MAX: Final = 16
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Peers:
    """One a worker."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def seen_through(self, scope: Scope) -> Scope:
        """``scope`` with the client's own address; as it is where nobody may say it."""
        client = scope.get("client")
        if not self._trusted or not client or not self._is_trusted(_parsed(client[0])):
            return scope
        named = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in reversed(named.split(b",")[-HOPS_MAX:]):
            address = _parsed(hop.strip().decode("latin-1"))
            if address is None:
                return scope
            if not self._is_trusted(address):
                return {**scope, "client": (str(address), 0)}
        return scope

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _parsed(text: str) -> Address | None:
    """None for what is no address, also for one with a port that no proxy should have written."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
