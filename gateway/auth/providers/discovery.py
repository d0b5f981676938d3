"""What an OpenID Connect issuer says of itself, as far as signing in needs it.

Decides whether a metadata document is the configured issuer's and can be used; refuses to know how it was
fetched. Source: OpenID Connect Discovery 1.0 sections 3 and 4. Next: :mod:`gateway.auth.providers.oidc`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.auth.providers.port import ProviderError
from gateway.auth.providers.settings import OidcSettings
from gateway.auth.providers.wire import nonsense
from state.manifests.problem import shown
from state.setting_values import is_secure_url

BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"


@dataclass(frozen=True, slots=True)
class Metadata:
    """``names_itself``: every answer by way of a browser carries ``iss`` (RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    auth_method: str
    names_itself: bool


def metadata_url(issuer: str) -> str:
    """Source: OpenID Connect Discovery 1.0 section 4.1: a terminating slash is removed first."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


def parse_metadata(document: Mapping[str, Any], settings: OidcSettings) -> Metadata:
    """Raises ProviderError where the document is another's, or says something that is not to be trusted."""
    issuer = document.get("issuer")
    if issuer != settings.issuer:
        raise _another_issuer(issuer, settings)
    return Metadata(
        issuer=settings.issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", settings),
        token_endpoint=_endpoint(document, "token_endpoint", settings),
        jwks_uri=_endpoint(document, "jwks_uri", settings),
        userinfo_endpoint=(
            _endpoint(document, "userinfo_endpoint", settings) if "userinfo_endpoint" in document else None
        ),
        auth_method=_auth_method(document, settings),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _another_issuer(issuer: object, settings: OidcSettings) -> ProviderError:
    if not isinstance(issuer, str):
        return nonsense(settings.label)
    return ProviderError(
        "IssuerDiffers",
        f"{settings.label} calls itself {shown(issuer)}, which is not, letter by letter, what is configured.",
        retryable=False,
        setting=settings.variable("ISSUER"),
    )


def _endpoint(document: Mapping[str, Any], member: str, settings: OidcSettings) -> str:
    """An https address; on loopback http is good enough for an issuer that is there itself."""
    url = document.get(member)
    if not isinstance(url, str):
        raise nonsense(settings.label)
    before_query = url.partition("?")[0] if member == "authorization_endpoint" else url
    if not is_secure_url(before_query, loopback_too=settings.issuer.startswith("http:")):
        raise ProviderError(
            "EndpointUnsafe",
            f"{settings.label} names {shown(url)} as its {member}, and only https is trusted.",
            retryable=False,
            setting=settings.variable("ISSUER"),
        )
    return url


def _auth_method(document: Mapping[str, Any], settings: OidcSettings) -> str:
    """The first that is spoken here: Google names, and documents, post before basic.

    Source: OpenID Connect Discovery 1.0 section 3: basic where nothing is said.
    """
    methods = document.get("token_endpoint_auth_methods_supported", [BASIC])
    if not isinstance(methods, list):
        raise nonsense(settings.label)
    for method in methods:
        if method in (BASIC, POST):
            return str(method)
    raise ProviderError(
        "AuthMethodUnknown",
        f"{settings.label} takes neither {BASIC} nor {POST}, and nothing else is spoken here.",
        retryable=False,
        setting=settings.variable("ISSUER"),
    )
