"""The token endpoint: a code, or a refresh token, for an access token and the next refresh token.

Decides what is redeemed once, what is good until its successor is used, and what its reuse costs: the whole
grant. A reuse is answered like any refusal and not raised, so that the transaction commits what it revoked.
Source: RFC 6749 sections 4.1.3 and 6, RFC 9700 sections 2.1.1 and 4.14.
Next: :mod:`gateway.auth.oauth.server`.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from authlib.oauth2.rfc6749 import InvalidGrantError  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.grants import (  # type: ignore[import-untyped]
    AuthorizationCodeGrant,
    RefreshTokenGrant,
)

from gateway.auth.oauth.authorize import SECRET_BYTES, InvalidTargetError, client_in
from gateway.auth.oauth.client_metadata import AUTH_METHODS, REFRESH
from gateway.auth.oauth.clients import OAuthClient
from gateway.auth.oauth.core import S256, Challenge, Core, FormRequest
from gateway.auth.oauth.keys import TOKEN_S, KnownKey
from gateway.auth.oauth.terms import GRANT_S, REFRESH_IDLE_S, Terms, digest
from gateway.auth.oauth.tokens import AccessTokens
from state.store.auth import AuthTx
from state.store.auth_rows import Code, Grant, RefreshToken

OVER: Final = "It is unknown, over, or was used before. Ask for consent again."
SIBLINGS_COUNT_MAX: Final = 4  # of one whose answer was lost again and again; the newest stay good
NOT_LET_IN: Final = "The person may not come in now. They have to sign in again."


@dataclass(frozen=True, slots=True)
class _Redeemed:
    """A code with its grant, as Authlib asks about it."""

    code: Code
    grant: Grant
    code_challenge: str
    redirect_uri: str | None
    code_challenge_method: str = S256

    def get_redirect_uri(self) -> str | None:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.grant.scope


@dataclass(frozen=True, slots=True)
class _Refreshed:
    """A refresh token with its grant, as Authlib asks about it."""

    token: RefreshToken
    grant: Grant

    def check_client(self, client: OAuthClient) -> bool:
        return self.grant.client_id == client.client_id

    def get_scope(self) -> str:
        return self.grant.scope


class Exchange(Core):
    """Authlib's server for one request of tokens, inside ``tx``. ``has_revoked``: workers have to hear."""

    def __init__(self, tx: AuthTx, terms: Terms, tokens: AccessTokens, key: KnownKey) -> None:
        super().__init__(lambda client_id: client_in(tx, client_id))
        self.tx = tx
        self.has_revoked = False
        self._terms = terms
        self._tokens = tokens
        self._key = key
        self.register_grant(_CodeGrant, [Challenge(required=True)])
        self.register_grant(_RefreshGrant)

    def refuse_unless_good(
        self, request: FormRequest, grant: Grant, *, was_used: bool, ends_at: float
    ) -> None:
        """What holds for codes and refresh tokens alike. Raises OAuth2Error."""
        now = self.tx.now
        if was_used:
            self.has_revoked |= self.tx.grants.revoke(grant.grant_id, now)
            raise InvalidGrantError(OVER)
        if now >= ends_at or not grant.lives(now):
            raise InvalidGrantError(OVER)
        asked = request.payload.resources
        if any(one != grant.resource != self._terms.canonical_resource(one) for one in asked):
            raise InvalidTargetError
        if not self._terms.may_issue(grant.user, grant.created_at):
            raise InvalidGrantError(NOT_LET_IN)

    def generate_token(
        self,
        grant_type: str,
        client: OAuthClient,
        user: Grant | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """``user`` is the grant: Authlib passes on whom a code or a token belongs to."""
        del grant_type, expires_in
        assert user is not None and scope, "every grant is a person's and has a scope"
        has_refresh = include_refresh_token and client.check_grant_type(REFRESH)
        ends_at = self._ends_at(user, has_refresh=has_refresh)
        answer = {
            "access_token": self._tokens.mint(self._key, user, scope, ends_at),
            "token_type": "Bearer",
            "expires_in": int(min(TOKEN_S, ends_at - self.tx.now)),
            "scope": scope,
        }
        return {**answer, "refresh_token": secrets.token_urlsafe(SECRET_BYTES)} if has_refresh else answer

    def save_token(self, token: dict[str, Any], request: FormRequest) -> None:
        grant: Grant = request.user
        refreshed: _Refreshed | None = request.refresh_token
        secret = token.get("refresh_token")
        ends_at = self._ends_at(grant, has_refresh=secret is not None)
        if secret is not None:
            parent = refreshed.token.token_sha256 if refreshed else None
            self.tx.refresh_tokens.add(RefreshToken(digest(secret), grant.grant_id, parent, ends_at))
            if parent is not None:
                self.tx.refresh_tokens.drop_older_siblings(parent, SIBLINGS_COUNT_MAX)
        self.tx.grants.touch(grant.grant_id, self.tx.now, ends_at)
        self.tx.clients.touch(grant.client_id, self.tx.now)

    def _ends_at(self, grant: Grant, *, has_refresh: bool) -> float:
        """When what is issued now is over, if it is not used."""
        lasts_s = REFRESH_IDLE_S if has_refresh else TOKEN_S
        return min(self.tx.now + lasts_s, grant.created_at + GRANT_S)


class _CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: Final = list(AUTH_METHODS)

    def query_authorization_code(self, code: str, client: OAuthClient) -> _Redeemed | None:
        """Also one that was used: only who holds its verifier is told so, and costs the grant."""
        tx: AuthTx = self.server.tx
        row = tx.codes.get(digest(code))
        grant = None if row is None else tx.grants.get(row.grant_id)
        if row is None or grant is None or grant.client_id != client.client_id:
            return None
        # Source: OAuth 2.1 section 10.2: what PKCE binds needs no address; one that is sent has to be right.
        redirect_uri = row.redirect_uri if self.request.payload.redirect_uri else None
        return _Redeemed(row, grant, row.challenge, redirect_uri)

    def create_token_response(self) -> Any:
        found: _Redeemed = self.request.authorization_code
        was_used = found.code.used_at is not None
        self.server.refuse_unless_good(
            self.request, found.grant, was_used=was_used, ends_at=found.code.expires_at
        )
        return super().create_token_response()

    def authenticate_user(self, authorization_code: _Redeemed) -> Grant:
        return authorization_code.grant

    def delete_authorization_code(self, authorization_code: _Redeemed) -> None:
        """Kept a while, so that a replay is known for one."""
        tx: AuthTx = self.server.tx
        tx.codes.set_used(authorization_code.code.code_sha256, tx.now)


class _RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: Final = list(AUTH_METHODS)
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Refreshed | None:
        """Also one that is spent, so that its reuse is seen."""
        tx: AuthTx = self.server.tx
        row = tx.refresh_tokens.get(digest(refresh_token))
        grant = None if row is None else tx.grants.get(row.grant_id)
        return None if row is None or grant is None else _Refreshed(row, grant)

    def create_token_response(self) -> Any:
        found: _Refreshed = self.request.refresh_token
        token = found.token
        self.server.refuse_unless_good(
            self.request, found.grant, was_used=token.is_spent, ends_at=token.expires_at
        )
        self.server.tx.refresh_tokens.spend_forebears(token)
        return super().create_token_response()

    def authenticate_user(self, refresh_token: _Refreshed) -> Grant:
        return refresh_token.grant

    def revoke_old_credential(self, refresh_token: _Refreshed) -> None:
        """Not yet: its answer may be lost. Using what it gave spends it."""
