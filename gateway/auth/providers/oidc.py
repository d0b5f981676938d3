"""Signing in with an OpenID Connect issuer: found by its metadata, believed by its signature.

Decides what is asked (code, PKCE S256, nonce) and in which order the answer is judged: whose it is, yes or
no, the code, the id_token, and userinfo only where no address was said. Its metadata and keys are fetched at
the first sign-in, and kept. Source: OpenID Connect Core 1.0 section 3.1.
Next: :mod:`gateway.auth.providers.id_token`.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx2

from gateway.auth.identity import Identity
from gateway.auth.providers.answers import (
    client_refused,
    code_in,
    code_refused,
    exchange_refused,
    foreign_issuer,
    kept_of,
)
from gateway.auth.providers.cached import Cached
from gateway.auth.providers.discovery import Metadata, metadata_url, parse_metadata
from gateway.auth.providers.id_token import Expected, Keys, UnknownKeyError, parse_keys, verified_claims
from gateway.auth.providers.limits import Limits
from gateway.auth.providers.port import Departure, ProviderError, Wants
from gateway.auth.providers.said import claims_of, emails, text
from gateway.auth.providers.settings import OidcSettings
from gateway.auth.providers.wire import Client, CodeRefused, Tokens, Wire, nonsense
from state.kinds.account import Claims

VERIFIER_BYTES: Final = 48  # 64 characters; RFC 7636 section 4.1 asks for 43 to 128
NONCE_BYTES: Final = 32


class OidcProvider:
    """One issuer. ``clock`` gives Unix seconds."""

    def __init__(
        self,
        settings: OidcSettings,
        limits: Limits | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = settings.name
        self.label = settings.label
        self._settings = settings
        self._limits = limits or Limits()
        self._clock = clock
        self._wire = Wire(settings.label, self._limits, transport)
        self._metadata = Cached(self._fetch_metadata, self._limits, name=self.name, clock=monotonic)
        self._keys = Cached(self._fetch_keys, self._limits, name=self.name, clock=monotonic)

    async def depart(self, *, state: str, redirect_uri: str, wants: Wants) -> Departure:
        """``wants`` is GitHub's: no issuer has a way to say it that all agree on."""
        del wants
        async with self._wire.within(self._limits.login_s):
            metadata = await self._metadata.get()
        kept = {
            "nonce": secrets.token_urlsafe(NONCE_BYTES),
            "verifier": secrets.token_urlsafe(VERIFIER_BYTES),
        }
        url = self._wire.authorization_url(
            metadata.authorization_endpoint,
            self._client(metadata),
            verifier=kept["verifier"],
            nonce=kept["nonce"],
            state=state,
            redirect_uri=redirect_uri,
            scope=" ".join(self._settings.scopes),
        )
        return Departure(url, kept)

    async def arrive(
        self, params: Mapping[str, str], kept: Mapping[str, str], *, redirect_uri: str, wants: Wants
    ) -> Identity:
        del wants
        async with self._wire.within(self._limits.login_s):
            metadata = await self._metadata.get()
            self._check_issuer(params, metadata)
            code = code_in(params, self.label, self._settings.variable("CLIENT_ID"))
            tokens = await self._exchange(metadata, code, kept_of(kept, "verifier"), redirect_uri)
            said = await self._verified(tokens, kept_of(kept, "nonce"))
            if said.get("email") is None and metadata.userinfo_endpoint is not None:
                said = await self._with_userinfo(said, metadata.userinfo_endpoint, tokens)
        return Identity(self.name, said["sub"], self._claims(said))

    async def close(self) -> None:
        await self._metadata.close()
        await self._keys.close()
        await self._wire.close()

    def _check_issuer(self, params: Mapping[str, str], metadata: Metadata) -> None:
        """Source: RFC 9207 section 2.4."""
        if "iss" not in params and not metadata.names_itself:
            return
        if params.get("iss") != self._settings.issuer:
            raise foreign_issuer(self.label)

    async def _exchange(self, metadata: Metadata, code: str, verifier: str, redirect_uri: str) -> Tokens:
        try:
            return await self._wire.exchange(
                metadata.token_endpoint,
                self._client(metadata),
                code=code,
                verifier=verifier,
                redirect_uri=redirect_uri,
            )
        except CodeRefused as refused:
            raise self._refusal(refused.error) from None

    def _refusal(self, error: str) -> ProviderError:
        """Source: RFC 6749 section 5.2."""
        match error:
            case "invalid_client":
                return client_refused(self.label, self._settings.variable("CLIENT_SECRET"))
            case "unauthorized_client":
                return client_refused(self.label, self._settings.variable("CLIENT_ID"))
            case "invalid_grant":
                return code_refused(self.label)
            case "invalid_scope":
                return exchange_refused(self.label, error, self._settings.variable("SCOPES"))
        return exchange_refused(self.label, error, "")

    async def _verified(self, tokens: Tokens, nonce: str) -> dict[str, Any]:
        """The claims of the id_token; with newer keys, once, where none of those at hand has signed it."""
        expected = Expected(self.label, self._settings.issuer, self._settings.client_id, nonce)
        keys = await self._keys.get()
        try:
            return verified_claims(tokens.id_token, keys, expected, self._clock())
        except UnknownKeyError:
            keys = await self._keys.newer_than(keys)
        try:
            return verified_claims(tokens.id_token, keys, expected, self._clock())
        except UnknownKeyError:
            raise ProviderError(
                "BadSignature",
                f"What {self.label} said of you is not signed with any of its keys, so nobody was signed in. "
                "Begin anew; if it happens again, tell whoever runs this gateway.",
                retryable=False,
            ) from None

    async def _with_userinfo(self, said: dict[str, Any], url: str, tokens: Tokens) -> dict[str, Any]:
        """Source: OpenID Connect Core 1.0 section 5.3.2: another's ``sub`` means another's answer."""
        answer = await self._wire.get(url, token=tokens.access_token)
        if answer.status != HTTPStatus.OK:
            raise nonsense(self.label)
        userinfo = answer.as_object()
        if userinfo.get("sub") != said["sub"]:
            raise foreign_issuer(self.label)
        said.pop("email_verified", None)  # it was not said of the address that stands here
        return {**said, **userinfo}

    def _claims(self, said: Mapping[str, Any]) -> Claims:
        """An address counts only if it is verified; one that was not asked for is not known."""
        is_verified = said.get("email_verified") is True or said.get("email_verified") == "true"
        verified = emails([said.get("email")] if is_verified else [])
        was_asked = "email" in self._settings.scopes
        return claims_of(
            self.label,
            login=text(said.get("preferred_username")),
            name=text(said.get("name")),
            emails=verified if verified or was_asked else None,
        )

    def _client(self, metadata: Metadata) -> Client:
        return Client(
            self._settings.client_id, self._settings.client_secret.get_secret_value(), metadata.auth_method
        )

    async def _fetch_metadata(self) -> Metadata:
        return parse_metadata(await self._document(metadata_url(self._settings.issuer)), self._settings)

    async def _fetch_keys(self) -> Keys:
        metadata = await self._metadata.get()
        return parse_keys(await self._document(metadata.jwks_uri), self.label, self._limits.keys_max)

    async def _document(self, url: str) -> dict[str, Any]:
        async with self._wire.within(self._limits.fetch_s):
            answer = await self._wire.get(url)
        if answer.status != HTTPStatus.OK:
            raise ProviderError(
                "MetadataMissing",
                f"{self.label} has no metadata where its issuer says it is.",
                retryable=True,
                setting=self._settings.variable("ISSUER"),
            )
        return answer.as_object()
