"""The name servers that a container engine gives to containers: the host's own, less those on its loopback.

Without them, no container of the internet's zone finds anything where they are on a private network, as they
are behind most routers. Next: :mod:`mcpgw.fence.keeping`.

Source: resolv.conf(5); systemd-resolved.service(8), whose stub on the loopback engines look past.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
RESOLVERS_MAX = 16


def resolvers() -> tuple[IPv4Address, ...]:
    """IPv4 alone, and none that is on the loopback; empty where nobody says."""
    for path in FILES:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if found := tuple(dict.fromkeys(_named_in(text))):
            return found[:RESOLVERS_MAX]
    return ()


def _named_in(text: str) -> Iterator[IPv4Address]:
    for words in map(str.split, text.splitlines()):
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = IPv4Address(words[1])
        except ValueError:
            continue
        if not address.is_loopback and not address.is_unspecified:
            yield address
