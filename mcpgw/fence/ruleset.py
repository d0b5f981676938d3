"""The fence's rules as nftables text, made from the zones and from whom the operator trusts. Pure.

From a container: replies pass; nothing of the host, no peer, no private network, whatever address was dialled
(the rules see the address after translation). A container of the internet's zone may go to public addresses,
and ask the host's name servers; one of the proxy's zone may go to the proxy alone; a closed one nowhere. To a
container: replies, and whoever is trusted. What the host itself sends goes another way, and meets no rule.

Traffic between two containers of one bridge is not routed. The family ``bridge`` sees it, without connection
tracking, and so does ``inet`` where br_netfilter is loaded; neither relies on the other. There are no named
sets: what a rule says stands in the rule, so that nobody can empty it.

A container that may choose its own address (with NET_ADMIN or NET_RAW, which none has unless the ceiling
allows it) can take a trusted one on its own bridge; no other gets it further. Next: :mod:`mcpgw.fence.nft`.

Source: nft(8) 1.0.6; RFC 6890 for the private ranges.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from reconciler.core.zones import Zone
from state.kinds.template import Egress
from state.setting_values import ProxyUrl

# Where no container goes. Documentation's networks are not among them: nobody routes those.
PRIVATE = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' and Tailscale's
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's metadata and agents, at an address that looks public
            "169.254.0.0/16",  # link-local, and clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",  # broadcast among them
        ),
    )
)
FAMILIES = ("inet", "bridge")
DNS_PORT = 53
FILTER = 0  # hooks' priorities; after the translation of destinations. Source: nft(8)
FILTER_BRIDGE = -200
MARK_HEX_CHARS = 16

_REPLIES = "ct state { established, related } ct direction reply accept"
_OPENS = "tcp flags & (syn | ack) == syn"  # the first packet of a connection, where nothing is tracked


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain that lets pass what no rule drops."""

    family: str
    hook: str
    priority: int
    rules: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.hook

    def marks(self) -> tuple[str, ...]:
        """What each rule's comment says: which rule it is. nft lists rules in words of its own."""
        return tuple(
            hashlib.sha256(f"{self.family} {self.hook} {rule}".encode()).hexdigest()[:MARK_HEX_CHARS]
            for rule in self.rules
        )

    def text(self) -> str:
        rules = zip(self.rules, self.marks(), strict=True)
        lines = "".join(f'        {rule} comment "{mark}"\n' for rule, mark in rules)
        head = f"type filter hook {self.hook} priority {self.priority}; policy accept;"
        return f"    chain {self.name} {{\n        {head}\n{lines}    }}\n"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that the fence consists of: a table of one name in each family."""

    table: str
    chains: tuple[Chain, ...]

    def text(self) -> str:
        """For ``nft -f``: takes the place of whatever stands in the tables, with no moment in between."""
        return removal(self.table) + "".join(
            f"table {family} {self.table} {{\n"
            + "".join(chain.text() for chain in self.chains if chain.family == family)
            + "}\n"
            for family in FAMILIES
        )


def table_of(project: str) -> str:
    return f"mcpgw_{project.replace('-', '_')}"


def removal(table: str) -> str:
    """For ``nft -f``: the tables are gone afterwards, whether they were there or not."""
    return "".join(
        f"table {family} {table}\ndelete table {family} {table}\n" for family in ("inet", "bridge")
    )


def ruleset(
    project: str,
    zones: Mapping[Egress, Zone],
    *,
    trusted: Collection[IPv4Address],
    proxy: ProxyUrl | None,
    resolvers: Collection[IPv4Address],
    names_at_bridge: bool = False,
) -> Ruleset:
    """``trusted`` reach containers, and go where they like. ``proxy`` is in the proxy's zone; without one
    that zone is closed. ``resolvers`` are the name servers that the engine gives to containers;
    ``names_at_bridge`` says that it may give them one of its own, at its address on the bridge."""
    around = _Around(zones, trusted, proxy, resolvers, names_at_bridge=names_at_bridge)
    return Ruleset(
        table_of(project),
        (
            Chain("inet", "input", FILTER, tuple(_to_the_host(around))),
            Chain("inet", "forward", FILTER, tuple(_routed(around))),
            Chain("bridge", "forward", FILTER_BRIDGE, tuple(_bridged(around))),
        ),
    )


class _Around:
    """The same things as rules write them."""

    def __init__(
        self,
        zones: Mapping[Egress, Zone],
        trusted: Collection[IPv4Address],
        proxy: ProxyUrl | None,
        resolvers: Collection[IPv4Address],
        *,
        names_at_bridge: bool,
    ) -> None:
        self.zones = tuple(zones.values())
        subnets = [zone.subnet for zone in self.zones]
        self.containers = _set(collapse_addresses(subnets))
        self.bridges = _set(f'"{zone.bridge}"' for zone in self.zones)
        self.internet = str(zones[Egress.INTERNET].subnet)
        self.proxied = str(zones[Egress.PROXY].subnet)
        self.private = _set(collapse_addresses([*PRIVATE, *subnets]))
        self.trusted = _set(sorted(trusted)) if trusted else ""
        self.resolvers = _set(sorted(set(resolvers))) if resolvers else ""
        self.proxy = proxy
        self.names_at = str(zones[Egress.INTERNET].subnet[1]) if names_at_bridge else ""


def _set(elements: Iterable[object]) -> str:
    return f"{{ {', '.join(map(str, elements))} }}"


def _to_the_host(around: _Around) -> Iterator[str]:
    if around.trusted:
        yield f"ip saddr {around.trusted} accept"
    yield _REPLIES
    if around.names_at:
        yield (
            f"ip saddr {around.internet} ip daddr {around.names_at} "
            f"meta l4proto {{ tcp, udp }} th dport {DNS_PORT} accept"
        )
    yield f"ip saddr {around.containers} drop"
    yield f"iifname {around.bridges} drop"


def _routed(around: _Around) -> Iterator[str]:
    if around.trusted:
        yield f"ip saddr {around.trusted} accept"
    yield _REPLIES
    for zone in around.zones:  # no other address is theirs, nor another zone's
        yield f'iifname "{zone.bridge}" ip saddr != {zone.subnet} drop'
    yield f"iifname {around.bridges} meta nfproto ipv6 drop"
    if around.trusted:  # the gateway is published to others; containers are not among them
        yield f"ip saddr != {around.containers} ip daddr {around.trusted} accept"
    if around.proxy is not None:
        host, port = around.proxy.address, around.proxy.port
        yield f"ip saddr {around.proxied} ip daddr {host} tcp dport {port} accept"
    if around.resolvers:
        yield (
            f"ip saddr {around.internet} ip daddr {around.resolvers} "
            f"meta l4proto {{ tcp, udp }} th dport {DNS_PORT} accept"
        )
    yield f"ip saddr {around.internet} ip daddr != {around.private} accept"
    yield f"ip saddr {around.containers} drop"
    yield f"ip daddr {around.containers} drop"
    yield f"oifname {around.bridges} drop"


def _bridged(around: _Around) -> Iterator[str]:
    """Any bridge of the host: its name cannot be asked for everywhere."""
    if around.trusted:
        yield f"ip saddr {around.trusted} accept"
        answers = f"ip saddr {around.containers} ip daddr {around.trusted}"
        yield f"{answers} {_OPENS} drop"
        yield f"{answers} ip protocol tcp accept"
        yield f"{answers} icmp type {{ echo-reply, destination-unreachable, time-exceeded }} accept"
    if around.proxy is not None:
        host, port = around.proxy.address, around.proxy.port
        yield f"ip saddr {around.proxied} ip daddr {host} tcp dport {port} accept"
        yield f"ip saddr {host} ip daddr {around.proxied} tcp sport {port} {_OPENS} drop"
        yield f"ip saddr {host} ip daddr {around.proxied} tcp sport {port} accept"
    yield f"ip saddr {around.containers} drop"
    yield f"ip daddr {around.containers} drop"
