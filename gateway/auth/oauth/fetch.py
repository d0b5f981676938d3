"""An https URL that a stranger names, fetched under guard: nothing inside is reached, nothing is endless.

Decides which URLs may be asked, which addresses may be reached, how much is read and for how long. Every
address is checked before anything is sent to it. Refuses to know what a document says and how often it is
asked for. Next: :mod:`gateway.auth.oauth.documents`.

The name is resolved once a fetch, and the connection goes to the addresses that were checked and to no other:
a name that changes its answer in between (rebinding) changes nothing. What a person is told about an address
is the same whether it does not exist or may not be reached: nobody maps an inner network by asking.

Source: draft-ietf-oauth-client-id-metadata-document-02, sections 3 (URL), 5 (fetching), 8.6 (special-use
addresses) and 8.7 (size).
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.auth.oauth.port import DocumentError
from gateway.auth.throttle import network_of

URL_CHARACTERS_MAX = 2048
BODY_BYTES_MAX = 5 * 1024
FETCH_S = 5.0  # for everything: name, connection, TLS, head and body
ADDRESSES_TRIED_MAX = 8
# Names that are being asked for: one whose server never answers holds a thread for as long as the system
# likes, which is longer than a fetch lasts.
LOOKUPS_AT_ONCE_MAX = 32
LOOKUPS_AT_ONCE_EACH_MAX = 4  # of one site

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a name and port; OSError where there are none."""


class UnreachableError(DocumentError):
    """Nobody said anything about the document: one that was good a while ago may stand in."""


class BusyError(UnreachableError):
    """Nobody was asked: too much is under way, of this site or in all."""

    def __init__(self, site: str = "") -> None:
        whose = f"{site} is" if site else "The gateway is"
        doing = "being asked for" if site else "fetching"
        super().__init__(
            f"{whose} {doing} too many client documents at the moment. Try again in a few seconds."
        )


class Fetched(NamedTuple):
    body: bytes
    cache_control: str
    age: str


class Fetcher:
    """``resolve`` and ``is_allowed`` exist for tests and for networks with rules of their own."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        is_allowed: Callable[[Address], bool] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout_s: float = FETCH_S,
    ) -> None:
        self._names = _Names()
        self._resolve = resolve or self._names.addresses
        self._is_allowed = is_allowed or is_public
        self._ssl = ssl_context or _usual_tls()
        self._timeout_s = timeout_s

    async def fetch(self, url: str, host: str, port: int) -> Fetched:
        """What stands at ``url``, of which ``host`` and ``port`` are :func:`target`. Raises DocumentError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._checked_addresses(host, port)
                return await _download(url, addresses, self._ssl)
        except TimeoutError:
            raise UnreachableError(
                f"{host} took longer than {self._timeout_s:g} seconds to send the client's document. Try "
                "again later, or tell whoever runs the client."
            ) from None
        except aiohttp.ClientConnectorCertificateError:
            raise UnreachableError(
                f"The certificate of {host} is not valid for it. Whoever runs the client has to renew it."
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise UnreachableError(
                f"{host} could not be asked for the client's document. Try again later, or tell whoever runs "
                "the client."
            ) from None

    def close(self) -> None:
        self._names.close()

    async def _checked_addresses(self, host: str, port: int) -> Sequence[Address]:
        """Where ``host`` is, every address of it being one that may be reached."""
        reason = f"{host} has no public address, so the client's document cannot be fetched from there."
        literal = _literal(host)
        try:
            found = [literal] if literal is not None else await self._resolve(host, port)
        except (OSError, ValueError):
            raise UnreachableError(reason) from None
        if not found or not all(map(self._is_allowed, found)):
            raise DocumentError(reason)
        return list(dict.fromkeys(found))[:ADDRESSES_TRIED_MAX]


@cache
def _usual_tls() -> ssl.SSLContext:
    """One a process: to read the machine's certificates takes a tenth of a second."""
    return ssl.create_default_context()


class _Names:
    """The system's resolver, in threads of its own. No site holds more than a few of them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE_MAX, "document-names")
        self._asked: list[tuple[str, Future[list[Address]]]] = []  # the site of each that is not answered

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Raises OSError where there are none, BusyError."""
        site = site_of(host)
        self._asked = [one for one in self._asked if not one[1].done()]
        if len(self._asked) >= LOOKUPS_AT_ONCE_MAX:
            raise BusyError
        if sum(one == site for one, _ in self._asked) >= LOOKUPS_AT_ONCE_EACH_MAX:
            raise BusyError(site)
        lookup = self._threads.submit(_look_up, host, port)
        self._asked.append((site, lookup))
        return await asyncio.wrap_future(lookup)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [ip_address(where[0]) for *_, where in found]


_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986 sections 2.2 and 2.3
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]+)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # a last label of which the system makes IPv4


def target(url: str) -> tuple[str, int]:
    """Host (an IPv6 address without brackets) and port of a client id. Raises DocumentError.

    Judged by the characters that were sent, not by what a parser makes of them: the same string is compared
    with the document's own ``client_id`` and goes out as it is.
    """
    if len(url) > URL_CHARACTERS_MAX or _CHARACTERS.fullmatch(url) is None:
        raise _bad_url(f"is not a URL of at most {URL_CHARACTERS_MAX} characters")
    authority, slash, path = url.removeprefix("https://").partition("?")[0].partition("/")
    segments = [re.sub("%2e", ".", segment, flags=re.IGNORECASE) for segment in path.split("/")]
    for is_so, why in (
        (not url.startswith("https://"), "does not begin with https://"),
        ("#" in url, "has a fragment"),
        ("@" in authority, "names a user"),
        (not (slash and path), "has no path"),
        ("." in segments or ".." in segments, "has a path with dot segments"),
    ):
        if is_so:
            raise _bad_url(why)
    match = _AUTHORITY.fullmatch(authority)
    host = match[1].strip("[]") if match is not None else ""
    port = int((match and match[2]) or 443)
    if not _is_host(host) or port > 65535:
        raise _bad_url("has no proper host and port")
    return host, port


def _bad_url(why: str) -> DocumentError:
    return DocumentError(
        f"The client id {why}. It has to be an https URL with a path, such as https://client.example/mcp.json."
    )


def _is_host(host: str) -> bool:
    labels = host.split(".")
    is_name = len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    return _literal(host) is not None or (is_name and _NUMBER.fullmatch(labels[-1]) is None)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def site_of(host: str) -> str:
    """Whose ``host`` is, for limits: who has a name has all below it, and who has an IPv6 address its /64.

    A guess without the public suffix list: the last two labels, or three where the last but one is as short
    as in ``co.uk``. Sites that it takes for one share a limit, and nothing else.
    """
    if _literal(host) is not None:
        return network_of(host)
    labels = host.lower().split(".")
    return ".".join(labels[-3:] if len(labels) > 2 and len(labels[-2]) <= 3 else labels[-2:])


class _Checked(AbstractResolver):
    """Answers with the addresses that were checked, whatever the name says by now; once, as aiohttp would
    ask a server again that hangs up."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = list(addresses)

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the port has it; each address knows
    ) -> list[ResolveResult]:
        addresses, self._addresses = self._addresses, []
        if not addresses:
            raise OSError("a fetch connects once")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mcp-gateway"}


async def _download(url: str, addresses: Sequence[Address], ssl_context: ssl.SSLContext) -> Fetched:
    """The body and the headers about caching. No proxy, cookie, netrc or kept connection comes into it."""
    connector = aiohttp.TCPConnector(
        resolver=_Checked(addresses), ssl=ssl_context, use_dns_cache=False, force_close=True
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            trust_env=False,
            auto_decompress=False,
            read_bufsize=BODY_BYTES_MAX,
            timeout=aiohttp.ClientTimeout(total=None),  # the caller's is for more than this
        ) as session,
        session.get(URL(url, encoded=True), allow_redirects=False) as answer,
    ):
        _check_head(answer)
        body = await _body(answer)
        cache_control, age = (",".join(answer.headers.getall(name, ())) for name in ("Cache-Control", "Age"))
        return Fetched(body, cache_control, age)


_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")


def _check_head(answer: aiohttp.ClientResponse) -> None:
    host, status = answer.url.raw_host, answer.status
    if 300 <= status < 400:
        raise DocumentError(
            f"{host} redirects to another place instead of sending the client's document, and redirects are "
            "not followed. The client id has to be the document's own URL."
        )
    if status >= 500 or status == 429:
        raise UnreachableError(f"{host} answered {status} instead of the client's document. Try again later.")
    if status != 200:
        raise DocumentError(
            f"{host} answered {status} instead of the client's document. Whoever runs the client has to "
            "publish it there."
        )
    if any(coding.lower() != "identity" for coding in answer.headers.getall("Content-Encoding", ())):
        raise DocumentError(f"{host} sent the client's document compressed, which was not asked for.")
    if _JSON.fullmatch(answer.content_type) is None:
        raise DocumentError(f"What {host} sent as the client's document is not declared as application/json.")
    if (answer.content_length or 0) > BODY_BYTES_MAX:
        raise _oversize(host)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _oversize(answer.url.raw_host)
    return bytes(body)


def _oversize(host: str | None) -> DocumentError:
    return DocumentError(f"The client's document at {host} is larger than {BODY_BYTES_MAX} bytes.")


def _networks(*written: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, written))


# Source: the IANA special-purpose address registries (RFC 6890 and its successors), which is more than
# `ipaddress` calls private, and does not change with the version of Python.
_IPV4_REFUSED = (
    *_networks("0.0.0.0/8", "127.0.0.0/8"),  # this host
    *_networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),  # private, a carrier's own
    *_networks(
        "169.254.0.0/16", "168.63.129.16/32"
    ),  # link-local and one cloud's host: credentials live there
    *_networks("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"),  # documents, benchmarks
    *_networks(
        "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"
    ),  # protocols, AS112, AMT
    *_networks("192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"),  # 6to4 relays, multicast, reserved
)
# Of IPv6, only what is handed out as global unicast is considered at all: outside of it lie loopback, mapped
# and compatible IPv4, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard-only, segment routing, unique-local,
# link-local, site-local and multicast.
_IPV6_UNICAST = ip_network("2000::/3")
_IPV6_REFUSED = (
    *_networks("2001::/23", "2002::/16"),  # protocols, Teredo and ORCHID among them; 6to4
    *_networks("2001:db8::/32", "3fff::/20", "2620:4f:8000::/48"),  # documents, AS112
)


def is_public(address: Address) -> bool:
    """Is it an address of the open internet, in a form that stands for no other address?"""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    return address in _IPV6_UNICAST and not any(address in network for network in _IPV6_REFUSED)
