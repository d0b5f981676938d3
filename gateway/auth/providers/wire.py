"""How a provider is spoken to: bounded in time and size, never redirected, and nothing odd let in.

Decides what of an answer reaches the adapters: a status, and JSON of the kind that was asked for. Whatever
else happens (silence, a refused connection, a page of HTML, a flood) becomes a ProviderError that names the
provider. Cookies of a provider are dropped: connections are shared by everybody who signs in.
Next: :mod:`gateway.auth.providers.oidc` and :mod:`gateway.auth.providers.github`, which know what to ask.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote_plus

import httpx2
import orjson
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]  # it has no types
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]  # the same
from authlib.oauth2.auth import encode_client_secret_basic  # type: ignore[import-untyped]  # the same

from gateway.auth.providers.limits import Limits
from gateway.auth.providers.port import ProviderError

USER_AGENT: Final = "mcp-gateway"
_HEADERS: Final = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
# What is taken from a token endpoint's answer; the rest never reaches anybody.
_TOKEN_MEMBERS: Final = ("error", "access_token", "id_token", "token_type", "scope")
# Source: RFC 6750 section 2.1: what fits into an Authorization header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered. ``label`` names it to people."""

    label: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def as_object(self) -> dict[str, Any]:
        """Raises ProviderError where it is no JSON object."""
        value = self._json()
        if not isinstance(value, dict):
            raise nonsense(self.label)
        return value

    def as_objects(self) -> list[dict[str, Any]]:
        """Raises ProviderError where it is no JSON array of objects."""
        value = self._json()
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise nonsense(self.label)
        return value

    def _json(self) -> object:
        try:
            return orjson.loads(self.body)
        except ValueError:
            raise nonsense(self.label) from None


@dataclass(frozen=True, slots=True)
class Client:
    """What the provider knows the gateway as."""

    id: str
    secret: str
    auth_method: str = "client_secret_basic"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a code was good for; empty where the provider gave none."""

    access_token: str
    id_token: str
    scope: str


class CodeRefused(Exception):
    """The token endpoint's ``error``, as RFC 6749 section 5.2 has it or the provider invents it."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Wire:
    """One provider's. ``transport`` is the way there, httpx2's own unless a test says otherwise."""

    def __init__(
        self, label: str, limits: Limits, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self.label = label
        self.limits = limits
        self._transport = _Guarded(transport or _real_transport(limits), limits)
        self._timeout = httpx2.Timeout(limits.silence_s, connect=limits.connect_s, pool=limits.login_s)
        self._client = httpx2.AsyncClient(
            transport=self._transport, timeout=self._timeout, headers=_HEADERS, follow_redirects=False
        )

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """All that is asked inside takes ``seconds`` at the most. Raises ProviderError."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise slow(self.label) from None

    async def get(self, url: str, *, token: str = "", accept: str = "application/json") -> Answer:
        """An answer below 500 that is neither a redirect nor a plea for patience. Raises ProviderError."""
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
        with self._translated():
            response = await self._client.get(url, headers=headers)
        return self._answer(response)

    def authorization_url(self, url: str, client: Client, *, verifier: str, **params: str) -> str:
        """Where to send the browser, with PKCE S256. Source: RFC 7636 section 4.3."""
        made, _ = self._oauth(client).create_authorization_url(url, code_verifier=verifier, **params)
        return str(made)

    async def exchange(
        self, url: str, client: Client, *, code: str, verifier: str, redirect_uri: str
    ) -> Tokens:
        """Raises ProviderError, and CodeRefused where the provider says no."""
        oauth = self._oauth(client)
        oauth.register_client_auth_method(("client_secret_basic", _form_encoded_basic))
        oauth.register_compliance_hook("access_token_response", self._fit_for_authlib)
        try:
            with self._translated():
                token = await oauth.fetch_token(
                    url,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    redirect_uri=redirect_uri,
                )
        except OAuthError as error:
            raise CodeRefused(error.error) from None
        return self._tokens(token)

    async def close(self) -> None:
        await self._client.aclose()
        await self._transport.close()

    def _oauth(self, client: Client) -> Any:
        """Authlib's client, for one person's sign-in: it keeps their tokens."""
        return AsyncOAuth2Client(
            client.id,
            client.secret,
            token_endpoint_auth_method=client.auth_method,
            code_challenge_method="S256",
            transport=self._transport,
            timeout=self._timeout,
            headers=_HEADERS,
            follow_redirects=False,
        )

    def _fit_for_authlib(self, response: httpx2.Response) -> httpx2.Response:
        """The answer with what is understood of it, and nothing else. Raises ProviderError."""
        answer = self._answer(response)
        if answer.status == HTTPStatus.UNAUTHORIZED and not _is_json_object(answer):
            return httpx2.Response(HTTPStatus.OK, json={"error": "invalid_client"})
        found = answer.as_object()
        members = {name: found[name] for name in _TOKEN_MEMBERS if isinstance(found.get(name), str)}
        if "error" not in members and answer.status != HTTPStatus.OK:
            raise nonsense(self.label)
        return httpx2.Response(HTTPStatus.OK, json=members)

    def _tokens(self, token: Mapping[str, str]) -> Tokens:
        access, identity = token.get("access_token", ""), token.get("id_token", "")
        if not _TOKEN.fullmatch(access) or token.get("token_type", "").lower() != "bearer":
            raise nonsense(self.label)
        return Tokens(access, identity, token.get("scope", ""))

    def _answer(self, response: httpx2.Response) -> Answer:
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise busy(self.label)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ProviderError(
                "ProviderFailed",
                f"{self.label} has a fault of its own. Try again in a minute.",
                retryable=True,
            )
        if status < HTTPStatus.OK or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise nonsense(self.label)
        return Answer(self.label, status, response.headers, response.content)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException:
            raise slow(self.label) from None
        except (_UnfitError, httpx2.ProtocolError, httpx2.DecodingError):
            raise nonsense(self.label) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _unreachable(self.label, error) from None


def slow(label: str) -> ProviderError:
    return ProviderError(
        "ProviderSlow", f"{label} takes too long to answer. Try again in a minute.", retryable=True
    )


def busy(label: str) -> ProviderError:
    return ProviderError(
        "ProviderBusy", f"{label} is asked too often just now. Try again in some minutes.", retryable=True
    )


def nonsense(label: str) -> ProviderError:
    return ProviderError(
        "ProviderNonsense",
        f"{label} gave an answer that cannot be understood. Try again in a minute; if it stays so, an "
        "operator has to look whether the addresses in its settings are the right ones.",
        retryable=True,
    )


def _unreachable(label: str, error: Exception) -> ProviderError:
    if isinstance(error, ssl.SSLError) or "certificate" in str(error).lower():
        return ProviderError(
            "ProviderUntrusted",
            f"{label} cannot be reached safely: its certificate is not trusted here. An operator has to mend "
            "it, or name its authority in SSL_CERT_FILE.",
            retryable=True,
        )
    return ProviderError(
        "ProviderUnreachable",
        f"{label} cannot be reached. Try again in a minute; whoever is signed in stays so.",
        retryable=True,
    )


def _is_json_object(answer: Answer) -> bool:
    try:
        answer.as_object()
    except ProviderError:
        return False
    return True


def _form_encoded_basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> Any:
    """Source: RFC 6749 section 2.3.1: id and secret are form-encoded first, which Authlib leaves out."""
    encoded = Client(quote_plus(client.client_id), quote_plus(client.client_secret))
    return encode_client_secret_basic(_AsAuthlib(encoded.id, encoded.secret), method, uri, headers, body)


@dataclass(frozen=True, slots=True)
class _AsAuthlib:
    client_id: str
    client_secret: str


@cache
def _trust() -> ssl.SSLContext:
    """Made once: reading the authorities takes tens of milliseconds. SSL_CERT_FILE is honoured."""
    return httpx2.create_ssl_context()


def _real_transport(limits: Limits) -> httpx2.AsyncHTTPTransport:
    return httpx2.AsyncHTTPTransport(
        verify=_trust(),
        limits=httpx2.Limits(
            max_connections=limits.connections_max, max_keepalive_connections=limits.idle_connections_max
        ),
    )


class _UnfitError(httpx2.TransportError):
    """An answer that is longer than allowed, or coded as nobody asked."""


class _Guarded(httpx2.AsyncBaseTransport):
    """The transport that all clients of one provider share; theirs to use, not to close."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limits: Limits) -> None:
        self._inner = inner
        self._bytes_max = limits.body_bytes_max

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream), "an asynchronous transport streams so"
        stream = _Capped(response.stream, self._bytes_max)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await stream.aclose()
            raise _UnfitError("the answer is compressed, which was not asked for")
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"set-cookie"]
        return httpx2.Response(
            response.status_code, headers=headers, stream=stream, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Whoever made it closes it: :meth:`close`."""

    async def close(self) -> None:
        await self._inner.aclose()


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, bytes_max: int) -> None:
        self._inner = inner
        self._bytes_left = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._bytes_left -= len(part)
            if self._bytes_left < 0:
                raise _UnfitError("the answer is longer than any that is read")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
