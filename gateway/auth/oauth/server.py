"""The authorization server's one face: plain values in, plain answers out, nothing of an HTTP framework.

Decides how the parts follow each other: keys before tokens, one transaction for each request, and every
worker hears of what was revoked before anybody is answered. Next: :mod:`gateway.auth.oauth.authorize`.
"""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from gateway.auth.oauth.answers import Answer, error_answer
from gateway.auth.oauth.authorize import AuthorizationRequest, Authorizations, Checked, Refusal
from gateway.auth.oauth.core import FormRequest, Pairs, Parameters
from gateway.auth.oauth.exchange import Exchange
from gateway.auth.oauth.keys import SigningKeys
from gateway.auth.oauth.metadata import openid_metadata, resource_metadata, server_metadata
from gateway.auth.oauth.port import ClientDocuments
from gateway.auth.oauth.registration import Registrations
from gateway.auth.oauth.revocation import Revocation
from gateway.auth.oauth.terms import ENDED_KEPT_S, Terms
from gateway.auth.oauth.tokens import AccessToken, AccessTokens
from gateway.auth.resources import SCOPES
from gateway.auth.secret_key import SecretKey
from state.store.auth import AuthDatabase, AuthTx

UNUSED_KEPT_S: Final = 86400.0  # a client that nobody ever granted anything
IDLE_KEPT_S: Final = 90 * 86400.0  # and one whose grants are all over

Headers = Mapping[bytes, bytes]  # names in lower case; who passes them saw to it that none stood twice


class Swept(NamedTuple):
    """How many were dropped."""

    codes: int
    refresh_tokens: int
    grants: int
    clients: int


class AuthorizationServer:
    """One a worker. What awaits may raise StoreError: nothing was issued then that anybody holds."""

    def __init__(
        self,
        auth: AuthDatabase,
        secret_key: SecretKey,
        terms: Terms,
        documents: ClientDocuments | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._auth = auth
        self._terms = terms
        self._takes_documents = documents is not None
        self._keys = SigningKeys(auth, secret_key, now)
        self._registrations = Registrations(auth, now)
        self._authorizations = Authorizations(auth, terms, documents)
        self.tokens = AccessTokens(self._keys, terms.issuer, now)

    async def start(self) -> None:
        """Once, before anything else: see to it that there are keys, and know them."""
        await self._keys.keep()

    async def register(self, body: bytes, content_type: str) -> Answer:
        """POST /register."""
        return await self._registrations.register(body, content_type)

    async def check(self, pairs: Pairs) -> Checked:
        """/authorize: what a person is asked for, or what to answer. ``pairs``: the query's, in order."""
        return await self._authorizations.check(pairs)

    async def grant(self, request: AuthorizationRequest, user: str, name: str = "") -> Answer | Refusal:
        """``user``, who may come in, consented."""
        return await self._authorizations.grant(request, user, name)

    def denied(self, request: AuthorizationRequest) -> Answer:
        """They did not."""
        return self._authorizations.denied(request)

    async def token(self, pairs: Pairs, headers: Headers) -> Answer:
        """POST /token. ``pairs``: the form's, in order."""
        request = _form(pairs, headers)
        if isinstance(request, Answer):
            return request
        if not request.payload.grant_type:
            return _malformed("grant_type is missing")
        await self._keys.refresh()
        key = self._keys.signer()
        assert key is not None, "refresh sees to one, or raises"

        def exchanged(tx: AuthTx) -> tuple[Answer, bool]:
            exchange = Exchange(tx, self._terms, self.tokens, key)
            return exchange.create_token_response(request), exchange.has_revoked

        return await self._announced(*await self._auth.transact(exchanged))

    async def revoke(self, pairs: Pairs, headers: Headers) -> Answer:
        """POST /revoke. ``pairs``: the form's, in order."""
        request = _form(pairs, headers)
        if isinstance(request, Answer):
            return request

        def revoked(tx: AuthTx) -> tuple[Answer, bool]:
            revocation = Revocation(tx, self.tokens)
            return revocation.create_endpoint_response("revocation", request), revocation.has_revoked

        return await self._announced(*await self._auth.transact(revoked))

    async def jwks(self) -> dict[str, Any]:
        """What /.well-known/jwks.json says; good for less than a day (keys.PUBLISHED_BEFORE_S)."""
        await self._keys.refresh()
        return self._keys.jwks()

    def metadata(self) -> dict[str, Any]:
        """RFC 8414."""
        return server_metadata(self._terms.issuer, sorted(SCOPES), takes_documents=self._takes_documents)

    def openid_metadata(self) -> dict[str, Any]:
        return openid_metadata(self._terms.issuer, sorted(SCOPES), takes_documents=self._takes_documents)

    def resource_metadata(self, resource: str) -> dict[str, Any]:
        """RFC 9728, of one of our resources."""
        return resource_metadata(self._terms.issuer, resource, [self._terms.scope_of(resource)])

    def verify(self, token: str) -> AccessToken:
        """What a token says, by what is known. Raises InvalidToken (a ValueError)."""
        return self.tokens.verify(token)

    async def verified(self, token: str) -> AccessToken:
        """The same; an unknown key is looked up first, as another worker may just have made it."""
        return await self.tokens.verified(token)

    async def sweep(self) -> Swept:
        """Forget what is over, and rotate keys. Every worker may call it, every few minutes."""
        await self._keys.keep()
        return await self._auth.transact(_swept)

    async def _announced(self, answer: Answer, has_revoked: bool) -> Answer:
        if has_revoked:
            await self._terms.announce()
        return answer


def _form(pairs: Pairs, headers: Headers) -> FormRequest | Answer:
    parameters = Parameters(pairs)
    if parameters.are_too_many:
        return _malformed("The request is too large.")
    if parameters.doubled() is not None:
        return _malformed("A parameter stands twice.")
    return FormRequest(parameters, headers.get(b"authorization", b"").decode("latin-1"))


def _malformed(description: str) -> Answer:
    return error_answer(HTTPStatus.BAD_REQUEST, "invalid_request", description)


def _swept(tx: AuthTx) -> Swept:
    ended_before = tx.now - ENDED_KEPT_S
    return Swept(
        codes=tx.codes.drop_ended(ended_before),
        refresh_tokens=tx.refresh_tokens.drop_ended(ended_before),
        grants=tx.grants.drop_ended(ended_before),
        clients=tx.clients.drop_unused(tx.now - UNUSED_KEPT_S, tx.now - IDLE_KEPT_S),
    )
