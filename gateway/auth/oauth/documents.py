"""Client documents from the network: an https URL that a stranger names is fetched, and nothing else is.

Decides which URLs may be asked, which addresses may be reached, how much is read and for how long, what a
document must hold, and how long it is believed. Whoever opens the sign-in page chooses the URL, so everything
here is bounded, and every address is checked before anything is sent to it. Refuses to know which redirects
are good and who asks. One a worker, with a cache of its own. Next: :mod:`gateway.auth.oauth.clients`.

The name is resolved once a fetch, and the connection goes to the addresses that were checked and to no other:
a name that changes its answer in between (rebinding) changes nothing. What a person is told about an address
is the same whether it does not exist or may not be reached: nobody maps an inner network by asking.

Source: draft-ietf-oauth-client-id-metadata-document-02, sections 3 (URL), 4 (document), 5 (fetching), 5.2
(caching), 8.6 (special-use addresses) and 8.7 (size).
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.auth.oauth.port import DocumentError

URL_CHARACTERS_MAX = 2048
BODY_BYTES_MAX = 5 * 1024
FETCH_S = 5.0  # for everything: name, connection, TLS, head and body
FETCHES_AT_ONCE_MAX = 16
ADDRESSES_TRIED_MAX = 8
DOCUMENTS_KEPT_MAX = 1024
FRESH_S_MIN = 60.0
FRESH_S_DEFAULT = 600.0
FRESH_S_MAX = 86400.0
STALE_S_MAX = 86400.0  # how long after that a document stands in while its server is silent
# Between two requests for a URL that failed. Section 5.2 forbids to keep an error as what the document says;
# this remembers that we have just knocked, without which a stranger aims our requests at a third party.
PAUSE_S = 10.0
PAUSES_KEPT_MAX = 1024
REDIRECT_URIS_MAX = 16
CLIENT_NAME_CHARACTERS_MAX = 200
OTHER_VALUES_MAX = 16
OTHER_CHARACTERS_MAX = 200

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a name and port; OSError where there are none."""


class _UnreachableError(DocumentError):
    """Nobody said anything about the document: one that was good a while ago may stand in."""


class _Kept(NamedTuple):
    document: bytes  # as JSON, so that everybody gets a copy of their own
    fresh_until_s: float
    stale_until_s: float


class _Pause(NamedTuple):
    until_s: float
    error_class: type[DocumentError]
    reason: str


class FetchedDocuments:
    """The port :class:`gateway.auth.oauth.port.ClientDocuments`, on the network.

    ``resolve`` and ``is_allowed`` exist for tests and for networks with rules of their own; ``clock_s`` is
    monotonic and only judges what is kept.
    """

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        is_allowed: Callable[[Address], bool] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        timeout_s: float = FETCH_S,
    ) -> None:
        # Threads of its own: a name whose server never answers holds one for as long as the system likes.
        self._threads = ThreadPoolExecutor(FETCHES_AT_ONCE_MAX, "document-names")
        self._resolve = resolve or self._system_addresses
        self._is_allowed = is_allowed or is_public
        self._ssl = ssl_context or ssl.create_default_context()
        self._clock_s = clock_s
        self._timeout_s = timeout_s
        self._kept: dict[str, _Kept] = {}  # least recently used first
        self._pauses: dict[str, _Pause] = {}
        self._running: dict[str, asyncio.Task[bytes]] = {}

    async def fetch(self, url: str) -> Mapping[str, Any]:
        """The document at ``url``, checked; the caller's to change. Raises DocumentError."""
        host, port = _target(url)
        kept = self._kept.pop(url, None)
        if kept is not None:
            self._kept[url] = kept
            if self._clock_s() < kept.fresh_until_s:
                return _copy(kept.document)
        try:
            return _copy(await self._fetched(url, host, port))
        except _UnreachableError:
            if kept is None or self._clock_s() >= kept.stale_until_s:
                raise
            return _copy(kept.document)

    async def close(self) -> None:
        """End what is under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetched(self, url: str, host: str, port: int) -> bytes:
        """From the network, once for everybody who asks at the same time."""
        running = self._running.get(url)
        if running is None:
            pause = self._pauses.get(url)
            if pause is not None and self._clock_s() < pause.until_s:
                raise pause.error_class(pause.reason)
            if len(self._running) >= FETCHES_AT_ONCE_MAX:
                raise _UnreachableError(
                    "Too many client documents are being fetched at the moment. Try again in a few seconds."
                )
            running = self._running[url] = asyncio.create_task(self._renew(url, host, port))
            running.add_done_callback(lambda done: self._forget(url, done))
        return await asyncio.shield(running)

    def _forget(self, url: str, done: asyncio.Task[bytes]) -> None:
        del self._running[url]
        if not done.cancelled():
            done.exception()  # everybody who asked has heard it, or has gone

    async def _renew(self, url: str, host: str, port: int) -> bytes:
        try:
            body, cache_headers = await self._downloaded(url, host, port)
            document = orjson.dumps(_checked_document(url, body))
        except DocumentError as error:
            if not isinstance(error, _UnreachableError):
                self._kept.pop(url, None)
            self._pauses.pop(url, None)
            self._pauses[url] = _Pause(self._clock_s() + PAUSE_S, type(error), error.reason)
            _drop_oldest(self._pauses, PAUSES_KEPT_MAX)
            raise
        fresh_s, stale_s = _lifetime_s(cache_headers)
        fresh_until_s = self._clock_s() + fresh_s
        self._kept.pop(url, None)
        self._kept[url] = _Kept(document, fresh_until_s, fresh_until_s + stale_s)
        _drop_oldest(self._kept, DOCUMENTS_KEPT_MAX)
        return document

    async def _downloaded(self, url: str, host: str, port: int) -> tuple[bytes, Mapping[str, str]]:
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._checked_addresses(host, port)
                return await _download(url, addresses, self._ssl)
        except TimeoutError:
            raise _UnreachableError(
                f"{host} took longer than {self._timeout_s:g} seconds to send the client's document. Try "
                "again later, or tell whoever runs the client."
            ) from None
        except aiohttp.ClientConnectorCertificateError:
            raise _UnreachableError(
                f"The certificate of {host} is not valid for it. Whoever runs the client has to renew it."
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _UnreachableError(
                f"{host} could not be asked for the client's document. Try again later, or tell whoever runs "
                "the client."
            ) from None

    async def _checked_addresses(self, host: str, port: int) -> Sequence[Address]:
        """Where ``host`` is, every address of it being one that may be reached."""
        reason = f"{host} has no public address, so the client's document cannot be fetched from there."
        literal = _literal(host)
        try:
            found = [literal] if literal is not None else await self._resolve(host, port)
        except (OSError, ValueError):
            raise _UnreachableError(reason) from None
        if not found or not all(map(self._is_allowed, found)):
            raise DocumentError(reason)
        return list(dict.fromkeys(found))[:ADDRESSES_TRIED_MAX]

    async def _system_addresses(self, host: str, port: int) -> Sequence[Address]:
        def look_up() -> list[Address]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            return [ip_address(where[0]) for *_, where in found]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)


def _copy(document: bytes) -> dict[str, Any]:
    copy: dict[str, Any] = orjson.loads(document)
    return copy


def _drop_oldest(kept: dict[str, Any], count_max: int) -> None:
    while len(kept) > count_max:
        del kept[next(iter(kept))]


_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986 sections 2.2 and 2.3
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]+)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # a last label of which the system makes IPv4


def _target(url: str) -> tuple[str, int]:
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


async def _download(
    url: str, addresses: Sequence[Address], ssl_context: ssl.SSLContext
) -> tuple[bytes, Mapping[str, str]]:
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
        return body, {name: ",".join(answer.headers.getall(name, ())) for name in ("Cache-Control", "Age")}


_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")


def _check_head(answer: aiohttp.ClientResponse) -> None:
    host, status = answer.url.raw_host, answer.status
    if 300 <= status < 400:
        raise DocumentError(
            f"{host} redirects to another place instead of sending the client's document, and redirects are "
            "not followed. The client id has to be the document's own URL."
        )
    if status >= 500 or status == 429:
        raise _UnreachableError(
            f"{host} answered {status} instead of the client's document. Try again later."
        )
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


def _lifetime_s(headers: Mapping[str, str]) -> tuple[float, float]:
    """For how long a document is fresh, and for how long after that it may stand in while nobody answers.

    Source: RFC 9111 sections 4.2 (age) and 4.2.4 (what forbids stale use).
    """
    directives = (one.partition("=") for one in headers["Cache-Control"].split(","))
    said = {name.strip().lower(): value for name, _, value in directives}
    if said.keys() & {"no-store", "no-cache"}:
        return FRESH_S_MIN, 0.0
    max_age_s = _seconds(said.get("max-age", ""), FRESH_S_DEFAULT)
    fresh_s = min(max(max_age_s - _seconds(headers["Age"], 0.0), FRESH_S_MIN), FRESH_S_MAX)
    return fresh_s, 0.0 if "must-revalidate" in said else STALE_S_MAX


def _seconds(value: str, otherwise: float) -> float:
    digits = value.strip().strip('"')
    return float(digits[:12]) if digits.isascii() and digits.isdigit() else otherwise


_LISTS = ("grant_types", "response_types")
_STRINGS = ("scope", "application_type", "software_id", "software_version")
# Controls, line ends, and what turns the direction of text: the name is shown where consent is asked for.
_MISLEADING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _checked_document(url: str, body: bytes) -> dict[str, Any]:
    """The members that are known, of a document that may be gone by. Raises DocumentError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DocumentError("The client's document is not JSON.") from None
    if not isinstance(document, dict):
        raise DocumentError("The client's document is not a JSON object.")
    if document.get("client_id") != url:
        raise DocumentError(
            "The client's document is another client's: its client_id is not the URL it was fetched from."
        )
    _check_authentication(document)
    checked: dict[str, Any] = {"client_id": url, "token_endpoint_auth_method": "none"}
    checked["redirect_uris"] = _redirect_uris(document)
    checked |= {name: document[name] for name in _STRINGS if _is_string(document.get(name))}
    checked |= {name: document[name] for name in _LISTS if _is_list(document.get(name))}
    if name := _client_name(document):
        checked["client_name"] = name
    uri = document.get("client_uri")
    if isinstance(uri, str) and len(uri) <= URL_CHARACTERS_MAX and uri.startswith("https://"):
        checked["client_uri"] = uri
    return checked


def _client_name(document: Mapping[str, Any]) -> str:
    name = document.get("client_name", "")
    if not isinstance(name, str) or len(name) > CLIENT_NAME_CHARACTERS_MAX or _MISLEADING.search(name):
        raise DocumentError(
            f"The client's document has a client_name that is not plain text of at most "
            f"{CLIENT_NAME_CHARACTERS_MAX} characters."
        )
    return name.strip()


def _check_authentication(document: Mapping[str, Any]) -> None:
    """Only a client without credentials: what it publishes holds no secret, and keys are not offered here."""
    if document.keys() & {"client_secret", "client_secret_expires_at"}:
        raise DocumentError(
            "The client's document holds a client_secret, which everybody can read. Whoever runs the client "
            "has to remove it."
        )
    match document.get("token_endpoint_auth_method", "none"):
        case "none":
            return
        case "private_key_jwt":
            raise DocumentError(
                "The client's document asks for private_key_jwt, which is not offered here. Publish "
                'token_endpoint_auth_method "none"; PKCE protects the code.'
            )
        case _:
            raise DocumentError(
                "The client's document asks for a way to authenticate that needs a shared secret. Publish "
                'token_endpoint_auth_method "none"; PKCE protects the code.'
            )


def _redirect_uris(document: Mapping[str, Any]) -> list[str]:
    uris = document.get("redirect_uris")
    if (
        not isinstance(uris, list)
        or not 1 <= len(uris) <= REDIRECT_URIS_MAX
        or not all(isinstance(uri, str) and 0 < len(uri) <= URL_CHARACTERS_MAX for uri in uris)
    ):
        raise DocumentError(
            f"The client's document has to list 1 to {REDIRECT_URIS_MAX} redirect_uris, each a string of at "
            f"most {URL_CHARACTERS_MAX} characters."
        )
    return uris


def _is_string(value: object) -> bool:
    return isinstance(value, str) and len(value) <= OTHER_CHARACTERS_MAX


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) <= OTHER_VALUES_MAX and all(map(_is_string, value))


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
