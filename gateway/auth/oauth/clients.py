"""A client as Authlib asks about it: registered (a row of ``auth.db``) or by the document it publishes.

Decides which address it may be answered at and how it says who it is. Next: :mod:`gateway.auth.oauth.core`.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson
from authlib.oauth2.rfc6749 import ClientMixin  # type: ignore[import-untyped]

from gateway.auth.oauth.client_metadata import (
    GRANT_TYPES,
    NONE,
    SECRET_METHODS,
    ClientMetadata,
    MetadataError,
    published,
)
from gateway.auth.oauth.port import DocumentError
from gateway.auth.oauth.redirects import Redirect, matches, read_redirect
from gateway.auth.resources import SCOPES
from state.store.auth_rows import Client

CLIENT_ID_CHARS_MAX: Final = 2048
_DOCUMENT: Final = "https://"


@dataclass(frozen=True, slots=True)
class OAuthClient(ClientMixin):  # type: ignore[misc]
    """Implements Authlib's port. ``secret_sha256``: empty for a public client."""

    client_id: str
    name: str
    redirects: tuple[Redirect, ...]
    grant_types: tuple[str, ...]
    secret_sha256: str = ""

    def redirect_for(self, asked: str | None) -> str | None:
        """The address to answer at; None where it may not be. Left out, there has to be one alone."""
        if asked is None:
            return self.redirects[0].uri if len(self.redirects) == 1 else None
        return asked if self.check_redirect_uri(asked) else None

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        return self.redirect_for(None)

    def get_allowed_scope(self, scope: str | None) -> str:
        """Narrowed to what there is; what is left may be nothing. In the order asked, each once."""
        return " ".join(dict.fromkeys(word for word in (scope or "").split() if word in SCOPES))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return any(matches(redirect, redirect_uri) for redirect in self.redirects)

    def check_client_secret(self, client_secret: str) -> bool:
        given = sha256(client_secret.encode()).hexdigest()
        return bool(self.secret_sha256) and hmac.compare_digest(given, self.secret_sha256)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whoever has a secret may send it in either way: RFC 6749 section 2.3.1 asks for Basic anyhow."""
        del endpoint
        return method in SECRET_METHODS if self.secret_sha256 else method == NONE

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


def is_document(client_id: str) -> bool:
    """Whether the id is the address of a document. Ids that are given out at registration never look so."""
    return client_id.startswith(_DOCUMENT)


def of_row(row: Client) -> OAuthClient:
    members = orjson.loads(row.document)
    return OAuthClient(
        row.client_id,
        members.get("client_name", ""),
        _read(members["redirect_uris"]),
        tuple(members["grant_types"]),
        row.secret_sha256,
    )


def of_document(client_id: str, document: Mapping[str, Any]) -> OAuthClient:
    """The client that published ``document``. Raises DocumentError."""
    try:
        metadata: ClientMetadata = published(document, client_id)
    except MetadataError as error:
        raise DocumentError(f"The program's description cannot be used: {error.description}.") from None
    return OAuthClient(client_id, metadata.name, _read(metadata.redirect_uris), metadata.grant_types)


def consented(client_id: str, redirect_uri: str = "") -> OAuthClient:
    """A client by document whose document was read when consent was asked for: it is not fetched again."""
    return OAuthClient(client_id, "", _read([redirect_uri] if redirect_uri else []), GRANT_TYPES)


def _read(uris: list[str] | tuple[str, ...]) -> tuple[Redirect, ...]:
    """What is not good any more, because the rules became stricter, is passed over."""
    return tuple(redirect for redirect in map(read_redirect, uris) if isinstance(redirect, Redirect))
