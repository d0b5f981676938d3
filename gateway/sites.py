"""Which of our origins a request is for: the gateway's own, or that of one Home. Anything else is 421.

Decides from the Host header alone, and whether an Origin header speaks for the same site. A forwarded host
is never believed. Pure but for a bounded cache. Next: :mod:`gateway.front`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from state.kinds.home import HOSTNAME_PATTERN
from state.setting_values import ExtraOrigin

HOSTS_CACHED_MAX = 4096
HOST_BYTES_MAX = 262  # a DNS name of 253 characters, a colon, a port, and room for a final dot
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOSTNAME = re.compile(HOSTNAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Site:
    """One origin. ``home`` is the Home's hostname, or empty for the gateway's own and the extra ones."""

    origin: str
    host: bytes  # as X-Forwarded-Host says it: the origin's authority
    home: str = ""
    is_extra: bool = False  # a further resource of the gateway: MCP alone, no pages and no cookies
    providers: tuple[str, ...] = ()  # whose people may use an extra origin; none named: all


class Sites:
    """Every origin that this gateway answers for."""

    def __init__(
        self, gateway_origin: str, *, workload_domain: str = "", extras: Iterable[ExtraOrigin] = ()
    ) -> None:
        parts = urlsplit(gateway_origin)
        assert parts.scheme in _DEFAULT_PORTS and parts.hostname, "settings hold a checked origin"
        self.scheme = parts.scheme
        self.is_local = is_loopback_name(parts.hostname)
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._suffixes = tuple(_suffixes(self.is_local, workload_domain))
        names = ["localhost", "127.0.0.1", "[::1]"] if self.is_local else []
        own = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._gateways = {name: self._site(name) for name in (*names, own.lower())}
        self.gateway = self._gateways[own.lower()]
        self.extras = tuple(_extra(extra) for extra in extras)
        self._extras = {_split(site.host): site for site in self.extras}
        self._cached: dict[bytes, Site | None] = {}

    def find(self, host: bytes) -> Site | None:
        """The site that a Host header's value names, or None: not ours."""
        try:
            return self._cached[host]
        except KeyError:
            if len(host) > HOST_BYTES_MAX:
                return None
            site = self._parsed(host)
            if len(self._cached) >= HOSTS_CACHED_MAX:
                self._cached.clear()
            self._cached[host] = site
            return site

    @property
    def have_homes(self) -> bool:
        """Whether Homes have origins of their own: on a laptop, or with a wildcard domain."""
        return bool(self._suffixes)

    def home(self, hostname: str) -> Site:
        """The origin of one Home. Only where :attr:`have_homes`."""
        return self._site(hostname + self._suffixes[0], hostname)

    def _parsed(self, host: bytes) -> Site | None:
        name, port = _split(host)
        if (extra := self._extra_named(name, port)) is not None:
            return extra
        if port is None and self._port != _DEFAULT_PORTS[self.scheme]:
            return None
        if port is not None and port != self._port:
            return None
        return self._gateways.get(name) or self._home_named(name)

    def public(self, site: Site) -> Site:
        """The site by the name that is for others: any of the gateway's own names stands for its origin."""
        return site if site.is_extra else self.gateway

    def resource_site(self, origin: str) -> Site | None:
        """The gateway's site, or an extra one, whose origin this is."""
        if any(site.origin == origin for site in self._gateways.values()):
            return self.gateway
        return next((site for site in self.extras if site.origin == origin), None)

    def is_alias(self, site: Site) -> bool:
        """Whether it is the gateway's by another of its names: pages and cookies are at its origin alone."""
        return not site.home and not site.is_extra and site.origin != self.gateway.origin

    def _extra_named(self, name: str, port: int | None) -> Site | None:
        """An extra origin, whose Host may leave out its scheme's port, or say it."""
        found = self._extras.get((name, port))
        if found is not None or port is None:
            return found
        portless = self._extras.get((name, None))
        is_default = portless is not None and _DEFAULT_PORTS[urlsplit(portless.origin).scheme] == port
        return portless if is_default else None

    def _home_named(self, name: str) -> Site | None:
        for suffix in self._suffixes:
            hostname = name.removesuffix(suffix)
            if hostname != name and _HOSTNAME.fullmatch(hostname):
                return self._site(name, hostname)
        return None

    def _site(self, name: str, home: str = "") -> Site:
        authority = name if self._port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self._port}"
        return Site(f"{self.scheme}://{authority}", authority.encode("ascii"), home)


def is_loopback_name(name: str) -> bool:
    """Whether a host name can only mean this machine.

    Source: RFC 6761 section 6.3, RFC 4291 section 2.5.3.
    """
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _extra(extra: ExtraOrigin) -> Site:
    return Site(extra.origin, extra.authority.encode("ascii"), is_extra=True, providers=extra.providers)


def _suffixes(is_local: bool, workload_domain: str) -> Iterable[str]:
    if workload_domain:
        yield "." + workload_domain.lower().strip(".")
    if is_local:
        yield ".localhost"


def _split(host: bytes) -> tuple[str, int | None]:
    """Name and port of a Host header; ("", None) where it is no host (a path, user information, spaces)."""
    match = _AUTHORITY.fullmatch(host.lower())
    if match is None:
        return "", None
    return match[1].decode("ascii"), int(match[2]) if match[2] else None


_AUTHORITY = re.compile(rb"([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
