"""What the gateway says of itself to OAuth clients, as pure functions. Everything in it is true.

Source: RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3, RFC 9728 section 2, RFC 9207 section 3,
draft-ietf-oauth-client-id-metadata-document section 6. Next: :mod:`gateway.auth.oauth.server`.
"""

from collections.abc import Sequence
from typing import Any, Final

from gateway.auth.oauth.client_metadata import AUTH_METHODS, GRANT_TYPES
from gateway.auth.oauth.core import S256
from gateway.auth.oauth.keys import ALGORITHM

AUTHORIZE_PATH: Final = "/authorize"
TOKEN_PATH: Final = "/token"  # noqa: S105 (a path)
REGISTER_PATH: Final = "/register"
REVOKE_PATH: Final = "/revoke"
JWKS_PATH: Final = "/.well-known/jwks.json"


def server_metadata(issuer: str, scopes: Sequence[str], *, takes_documents: bool) -> dict[str, Any]:
    """``issuer`` has no path, and stands here as in tokens: byte for byte."""
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE_PATH,
        "token_endpoint": issuer + TOKEN_PATH,
        "registration_endpoint": issuer + REGISTER_PATH,
        "revocation_endpoint": issuer + REVOKE_PATH,
        "jwks_uri": issuer + JWKS_PATH,
        "scopes_supported": list(scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "code_challenge_methods_supported": [S256],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": takes_documents,
    }


def openid_metadata(issuer: str, scopes: Sequence[str], *, takes_documents: bool) -> dict[str, Any]:
    """The same for clients that look for an OpenID provider first. There are no id_tokens.

    The two members more are what such a document must have; they say how one would be signed.
    """
    return {
        **server_metadata(issuer, scopes, takes_documents=takes_documents),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }


def resource_metadata(issuer: str, resource: str, scopes: Sequence[str]) -> dict[str, Any]:
    """Of one protected resource. ``resource`` is exactly what a person pastes; ``scopes``: what it takes."""
    return {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
    }
