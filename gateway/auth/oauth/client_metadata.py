"""What a client says of itself, at registration or in its document → what of it is taken. Pure.

Decides bounds, and what stands for what was left out. What this server cannot do is narrowed where the client
still works without it, and refused where it would not; members it does not know are passed over, neither kept
nor given back. Source: RFC 7591 section 2. Next: :mod:`gateway.auth.oauth.registration`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.auth.oauth.redirects import Redirect, read_redirect

BODY_BYTES_MAX: Final = 64 << 10
REDIRECTS_COUNT_MAX: Final = 16
NAME_CHARS_MAX: Final = 200
WORDS_COUNT_MAX: Final = 32
SCOPE_CHARS_MAX: Final = 1000

NONE: Final = "none"
SECRET_METHODS: Final = ("client_secret_post", "client_secret_basic")
AUTH_METHODS: Final = (NONE, *SECRET_METHODS)
CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
GRANT_TYPES: Final = (CODE, REFRESH)

INVALID_REDIRECT: Final = "invalid_redirect_uri"
INVALID_METADATA: Final = "invalid_client_metadata"


class MetadataError(ValueError):
    """``description`` is ASCII without quotes, fit for an error_description (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    name: str  # printable; empty: it gave none
    redirect_uris: tuple[str, ...]
    auth_method: str
    grant_types: tuple[str, ...]

    def members(self) -> dict[str, Any]:
        """As RFC 7591 writes it."""
        named = {"client_name": self.name} if self.name else {}
        return {
            **named,
            "redirect_uris": list(self.redirect_uris),
            "token_endpoint_auth_method": self.auth_method,
            "grant_types": list(self.grant_types),
            "response_types": ["code"],
        }


def registered(document: Mapping[str, Any]) -> ClientMetadata:
    """What a client registers. Raises MetadataError.

    A secret is for who asks for one: whoever names no method is a public client, as most MCP clients are.
    Whoever names no grant types gets both, or people would have to consent anew each hour.
    """
    redirects = [_good(uri) for uri in _redirect_uris(document)]
    method = document.get("token_endpoint_auth_method", NONE)
    if method not in AUTH_METHODS:
        raise MetadataError(
            INVALID_METADATA, f"token_endpoint_auth_method is one of {', '.join(AUTH_METHODS)}"
        )
    _refuse_too_long(document, "client_name", NAME_CHARS_MAX)
    _refuse_too_long(document, "scope", SCOPE_CHARS_MAX)
    return ClientMetadata(
        _name(document), tuple(redirect.uri for redirect in redirects), method, _grant_types(document)
    )


def published(document: Mapping[str, Any], client_id: str) -> ClientMetadata:
    """What the document at ``client_id`` says. Raises MetadataError.

    Of its addresses those that nobody may be sent to are passed over: it is written for every server at once.
    Source: draft-ietf-oauth-client-id-metadata-document, section 4: it has no secret to share.
    """
    if document.get("client_id") != client_id:
        raise MetadataError(
            INVALID_METADATA, "the document is another client's: its client_id is not its URL"
        )
    if document.get("token_endpoint_auth_method", NONE) != NONE:
        raise MetadataError(INVALID_METADATA, "the document asks for a way to authenticate other than none")
    read = [read_redirect(uri) for uri in _redirect_uris(document)]
    good = tuple(redirect.uri for redirect in read if isinstance(redirect, Redirect))
    if not good:
        raise MetadataError(INVALID_REDIRECT, "the document names no address that people may be sent to")
    return ClientMetadata(_name(document)[:NAME_CHARS_MAX], good, NONE, _grant_types(document))


def _redirect_uris(document: Mapping[str, Any]) -> list[Any]:
    uris = document.get("redirect_uris")
    if not isinstance(uris, list) or not 1 <= len(uris) <= REDIRECTS_COUNT_MAX:
        raise MetadataError(
            INVALID_REDIRECT, f"redirect_uris is a list of 1 to {REDIRECTS_COUNT_MAX} redirect URIs"
        )
    return uris


def _good(uri: object) -> Redirect:
    redirect = read_redirect(uri)
    if not isinstance(redirect, Redirect):
        raise MetadataError(INVALID_REDIRECT, redirect)
    return redirect


def _grant_types(document: Mapping[str, Any]) -> tuple[str, ...]:
    asked = _words(document, "grant_types")
    if asked and CODE not in asked:
        raise MetadataError(INVALID_METADATA, f"grant_types has to have {CODE}")
    response_types = _words(document, "response_types")
    if response_types and "code" not in response_types:
        raise MetadataError(INVALID_METADATA, "response_types has to have code")
    return tuple(known for known in GRANT_TYPES if not asked or known in asked)


def _words(document: Mapping[str, Any], name: str) -> list[str]:
    words = document.get(name) or []
    if (
        not isinstance(words, list)
        or len(words) > WORDS_COUNT_MAX
        or not all(isinstance(word, str) for word in words)
    ):
        raise MetadataError(INVALID_METADATA, f"{name} is a list of {WORDS_COUNT_MAX} words at most")
    return words


def _refuse_too_long(document: Mapping[str, Any], name: str, chars_max: int) -> None:
    text = document.get(name)
    if text is not None and (not isinstance(text, str) or len(text) > chars_max):
        raise MetadataError(INVALID_METADATA, f"{name} is a text of {chars_max} characters at most")


def _name(document: Mapping[str, Any]) -> str:
    """Without what cannot be seen, or turns the text around it: people read it before they consent."""
    name = document.get("client_name")
    if not isinstance(name, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())
