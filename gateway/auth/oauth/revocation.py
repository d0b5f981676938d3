"""The revocation endpoint: a client gives back what it was granted, by any token that came of it.

Decides that a grant ends whole: no access token of it outlives its refresh token, nor the other way round.
Source: RFC 7009. Next: :mod:`gateway.auth.oauth.server`.
"""

from dataclasses import dataclass
from typing import Final

from authlib.oauth2.rfc6749 import InvalidRequestError  # type: ignore[import-untyped]
from authlib.oauth2.rfc7009 import RevocationEndpoint  # type: ignore[import-untyped]

from gateway.auth.oauth.authorize import client_in
from gateway.auth.oauth.client_metadata import AUTH_METHODS
from gateway.auth.oauth.clients import OAuthClient
from gateway.auth.oauth.core import Core, FormRequest
from gateway.auth.oauth.terms import digest
from gateway.auth.oauth.tokens import AccessTokens
from state.store.auth import AuthTx
from state.store.auth_rows import Grant


@dataclass(frozen=True, slots=True)
class _Held:
    grant: Grant

    def check_client(self, client: OAuthClient) -> bool:
        return self.grant.client_id == client.client_id


class Revocation(Core):
    """Authlib's server for one revocation, inside ``tx``. ``has_revoked``: every worker has to hear."""

    def __init__(self, tx: AuthTx, tokens: AccessTokens) -> None:
        super().__init__(lambda client_id: client_in(tx, client_id))
        self.tx = tx
        self.tokens = tokens
        self.has_revoked = False
        self.register_endpoint(_Endpoint)


class _Endpoint(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS: Final = list(AUTH_METHODS)

    def check_params(self, request: FormRequest, client: OAuthClient) -> None:
        """A hint is only that, and an unknown one is none (RFC 7009 section 2.1)."""
        del client
        if "token" not in request.form:
            raise InvalidRequestError("token is missing")

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Held | None:
        del token_type_hint
        tx: AuthTx = self.server.tx
        row = tx.refresh_tokens.get(digest(token_string))
        grant_id = row.grant_id if row is not None else self.server.tokens.grant_of(token_string)
        grant = None if grant_id is None else tx.grants.get(grant_id)
        return None if grant is None else _Held(grant)

    def revoke_token(self, token: _Held, request: FormRequest) -> None:
        """Whoever asks again, because an announcement did not come through, has it announced again."""
        del request
        self.server.tx.grants.revoke(token.grant.grant_id, self.server.tx.now)
        self.server.has_revoked = True
