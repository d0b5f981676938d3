"""The forms that settings take, each refusing with ``what; mend`` in one line.

Decides syntax only, reads nothing. Used by :mod:`state.settings` and both processes' settings.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from state.kinds.access_policy import PROVIDER_PATTERN
from state.kinds.account import folded
from state.manifests.problem import shown

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PORT_UNPRIVILEGED_FIRST = 1024
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_PROVIDER = re.compile(PROVIDER_PATTERN)
_URL = re.compile(r"https?://[^\s?#\\\x00-\x20\x7f]{1,2000}")
PRIVATE_BLOCKS = tuple(
    map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
)  # RFC 1918
SUBNET_PREFIX_LENGTHS = range(16, 28)  # wide enough for an engine's own addresses, no wider than one site's


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class ExtraOrigin:
    """A further origin, and the only providers to sign in with there; none named: all of them."""

    origin: str
    providers: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """As a Host header says it."""
        return urlsplit(self.origin).netloc.lower()

    def __str__(self) -> str:
        return f"{self.origin}={'+'.join(self.providers)}" if self.providers else self.origin


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """An HTTP proxy at an address of its own: no name that would have to be resolved, no password."""

    address: ipaddress.IPv4Address
    port: int

    def __str__(self) -> str:
        return f"http://{self.address}:{self.port}"


def _host_port(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _HOST_PORT.fullmatch(value)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError("is not host:port; write it like 127.0.0.1:9000 or [::1]:9000")
    return HostPort(match["v6"] or match["host"], int(match["port"]))


def _proxy_url(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"http://([0-9.]{7,15}):([0-9]{1,5})/?", value)
    try:
        address = ipaddress.IPv4Address(match[1]) if match is not None else None
    except ValueError:
        address = None
    if match is None or address is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError("is no http://address:port; write it like http://10.211.8.9:3128")
    return ProxyUrl(address, int(match[2]))


def _port_range(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})", value)
    if match is None:
        raise ValueError("is not first-last; write it like 21000-28999")
    first, last = int(match[1]), int(match[2])
    if not PORT_UNPRIVILEGED_FIRST <= first < last <= 65535:
        raise ValueError(f"is no range from {PORT_UNPRIVILEGED_FIRST} to 65535; write it like 21000-28999")
    return PortRange(first, last)


def _subnet(value: Any) -> Any:
    """Three octets stand for their /24; a CIDR for itself."""
    if not isinstance(value, str):
        return value
    text = f"{value}.0/24" if value.count(".") == 2 and "/" not in value else value
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(
            "is no subnet; write three octets like 10.211.7, or a CIDR like 10.211.7.0/24"
        ) from None
    if not any(subnet.subnet_of(block) for block in PRIVATE_BLOCKS):
        raise ValueError("is not a private subnet; take one in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    if subnet.prefixlen not in SUBNET_PREFIX_LENGTHS:
        raise ValueError("is too wide or too narrow; take a prefix from /16 to /27")
    return subnet


def _location(value: Any) -> Any:
    """A path, from where the program was started: engines take absolute ones only."""
    if not isinstance(value, str | Path):
        return value
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist; write the path in full") from None


def _origin(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    mend = "write scheme://host[:port] and no more, like https://mcp.example.com"
    try:
        parts = urlsplit(value.strip().removesuffix("/"))
        port = parts.port
    except ValueError:
        raise ValueError(f"is no origin; {mend}") from None
    is_bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_bare:
        raise ValueError(f"is no origin; {mend}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_default = port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if is_default else f":{port}")


def _domain(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    domain = value.lower().removeprefix("*.").rstrip(".")
    if len(domain) > 200 or not all(map(_DOMAIN_LABEL.fullmatch, domain.split("."))):
        raise ValueError("is no domain; write it like homes.example.net")
    return domain


def _comma_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _space_list(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _emails(value: Any) -> Any:
    """``address`` or ``provider:address``, with commas between. Folded as claims are, to compare with."""
    if not isinstance(value, str):
        return value
    written = tuple(map(folded, _comma_list(value)))
    for one in written:
        provider, colon, address = one.rpartition(":")
        if not _EMAIL.fullmatch(address) or (colon and not _PROVIDER.fullmatch(provider)):
            raise ValueError(
                f"holds {shown(one)}, which is no address; write google:ann@example.com, or "
                "ann@example.com,bob@example.com"
            )
    return written


def _origins(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(_origin_among(one) for one in _comma_list(value)))


def _extra_origins(value: Any) -> Any:
    """``origin`` or ``origin=provider+provider``, with commas between."""
    if not isinstance(value, str):
        return value
    extras = []
    for one in _comma_list(value):
        origin, equals, names = one.partition("=")
        providers = tuple(name.strip().lower() for name in names.split("+") if name.strip())
        if equals and not (providers and all(map(_PROVIDER.fullmatch, providers))):
            raise ValueError(
                f"holds {shown(one)}, which names no providers; write origin=github+google or the origin"
            )
        extras.append(ExtraOrigin(_origin_among(origin), tuple(dict.fromkeys(providers))))
    if len({extra.origin for extra in extras}) < len(extras):
        raise ValueError("holds an origin twice; write each once, with all of its providers")
    return tuple(extras)


def _origin_among(written: str) -> str:
    try:
        return str(_origin(written))
    except ValueError:
        mend = "write scheme://host[:port] and no more, like https://mcp.example.com"
        raise ValueError(f"holds {shown(written)}, which is no origin; {mend}") from None


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    networks = []
    for one in _comma_list(value):
        try:
            network = ipaddress.ip_network(one)
        except ValueError:
            raise ValueError(
                f"holds {shown(one)}, which is no address and no network; write 10.0.0.5 or 10.0.0.0/24"
            ) from None
        if network.prefixlen == 0:
            raise ValueError(f"holds {shown(one)}, which is everybody; write your proxies' own addresses")
        networks.append(network)
    return tuple(dict.fromkeys(networks))


def _addresses(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(dict.fromkeys(map(ipaddress.IPv4Address, _comma_list(value))))
    except ValueError:
        raise ValueError("is no list of IPv4 addresses; write it like 10.211.7.2,10.211.7.4") from None


def _secure_url(value: Any) -> Any:
    """Kept as it is written: an issuer's address is compared byte for byte."""
    if not isinstance(value, str):
        return value
    url = value.strip()
    if not is_secure_url(url):
        raise ValueError(
            "is no address to trust; write it like https://sso.example.com, http on loopback only"
        )
    return url


def is_secure_url(url: str, *, loopback_too: bool = True) -> bool:
    """Whether ``url`` is https, or (if ``loopback_too``) http and on this machine; without a query.

    Nothing that reaches beyond the path: no credentials, no query, no fragment, no white space.
    """
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and loopback_too and HostPort(host, port or 80).is_loopback
    )


Listen = Annotated[HostPort, BeforeValidator(_host_port)]
Ports = Annotated[PortRange, BeforeValidator(_port_range)]
HttpProxy = Annotated[ProxyUrl, BeforeValidator(_proxy_url)]
Subnet = Annotated[ipaddress.IPv4Network, BeforeValidator(_subnet)]
Location = Annotated[Path, BeforeValidator(_location)]
Origin = Annotated[str, BeforeValidator(_origin)]
Domain = Annotated[str, BeforeValidator(_domain)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
SpaceList = Annotated[tuple[str, ...], BeforeValidator(_space_list)]
Emails = Annotated[tuple[str, ...], BeforeValidator(_emails)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_origins)]
ExtraOrigins = Annotated[tuple[ExtraOrigin, ...], BeforeValidator(_extra_origins)]
Networks = Annotated[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], BeforeValidator(_networks)]
Addresses = Annotated[tuple[ipaddress.IPv4Address, ...], BeforeValidator(_addresses)]
SecureUrl = Annotated[str, BeforeValidator(_secure_url)]
Lower = BeforeValidator(_lower)
