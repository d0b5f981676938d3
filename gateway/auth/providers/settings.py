"""The settings of providers: families of variables, ``OAUTH_<NAME>_<PART>``, one for each provider.

Decides which families there are in an environment and which values they take. GitHub and Google have names
of their own; every other name is an OpenID Connect issuer. A family begins with a variable that it cannot do
without, so that defaults which were written out configure nobody. Next: :mod:`gateway.auth.providers.build`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from gateway.auth.providers.google import GOOGLE_ISSUER, GOOGLE_LABEL
from state.kinds.access_policy import ANY_PROVIDER, GITHUB, PROVIDER_PATTERN
from state.kinds.app import APP_PROVIDER
from state.manifests.problem import did_you_mean
from state.setting_values import SecureUrl, SpaceList
from state.settings import Place

GOOGLE: Final = "google"
OIDC: Final = "oidc"  # the name that env.template shows; any other does as well
STEM: Final = "OAUTH"
GITHUB_URL: Final = "https://github.com"
GITHUB_API_URL: Final = "https://api.github.com"
SCOPES: Final = ("openid", "email", "profile")
_RESERVED: Final = frozenset({APP_PROVIDER, ANY_PROVIDER})
_CREDENTIALS: Final = ("CLIENT_ID", "CLIENT_SECRET")

# Source: RFC 6749 appendix A.1 and A.2: visible ASCII and blanks; a blank is a slip of the hand here.
_VISIBLE = StringConstraints(strip_whitespace=True, pattern=r"^[\x21-\x7e]{1,512}$")
# Source: RFC 6749 section 3.3, scope-token.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")


def _visible_secret(value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.fullmatch(r"[\x21-\x7e]{1,512}", text.strip()):
        raise ValueError("does not fit; write what the provider shows, in one word")
    return SecretStr(text.strip())


def _provider_name(name: str) -> str:
    if name in _RESERVED:
        raise ValueError("cannot name a provider, it means something else here; choose another name")
    if not re.fullmatch(PROVIDER_PATTERN, name):
        raise ValueError("cannot name a provider; write a letter first, then letters and digits, at most 32")
    return name


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_SCOPE.fullmatch, scopes)) or "openid" not in scopes:
        raise ValueError("are no scopes with openid among them; write them like openid email profile")
    return scopes


class _Credentials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: Annotated[str, AfterValidator(_provider_name)]
    client_id: Annotated[str, _VISIBLE, Field(description="what the provider shows, in one word")]
    client_secret: Annotated[SecretStr, BeforeValidator(_visible_secret)]

    def variable(self, part: str) -> str:
        """The variable of one of the fields."""
        return variable(self.name, part)


_Base: TypeAlias = Annotated[SecureUrl, AfterValidator(lambda url: url.rstrip("/"))]


class GitHubSettings(_Credentials):
    """GitHub, or a GitHub of one's own."""

    kind: Literal["github"] = "github"
    url: _Base = GITHUB_URL
    api_url: _Base = Field(default_factory=lambda known: _api_url(known.get("url", GITHUB_URL)))

    @property
    def label(self) -> str:
        return "GitHub"


class OidcSettings(_Credentials):
    """An OpenID Connect issuer."""

    kind: Literal["oidc"] = "oidc"
    issuer: SecureUrl
    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] = Field(
        default_factory=lambda known: known.get("name", "").replace("-", " ").title()
    )
    scopes: Annotated[SpaceList, AfterValidator(_scopes)] = SCOPES


ProviderSettings: TypeAlias = Annotated[GitHubSettings | OidcSettings, Field(discriminator="kind")]

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    GITHUB: (*_CREDENTIALS, "URL", "API_URL"),
    GOOGLE: (*_CREDENTIALS, "ISSUER"),
    OIDC: ("ISSUER", *_CREDENTIALS, "LABEL", "SCOPES"),
}
_BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    GITHUB: _CREDENTIALS,
    GOOGLE: _CREDENTIALS,
    OIDC: ("ISSUER", *_CREDENTIALS),
}
_MEMBER = re.compile(
    rf"{STEM}_(?P<name>[A-Z0-9_]+?)_(?P<part>{'|'.join(sorted({p for ps in _PARTS.values() for p in ps}))})"
)


def provider_variables() -> tuple[str, ...]:
    """Those that have names of their own; the ones of ``OIDC`` stand for every other name."""
    return tuple(variable(name, part) for name, parts in _PARTS.items() for part in parts)


def is_provider_secret(name: str) -> bool:
    """Whether the variable ``name`` is the secret of some provider."""
    match = _MEMBER.fullmatch(name)
    return match is not None and match["part"] == "CLIENT_SECRET"


def variable(name: str, part: str) -> str:
    return f"{STEM}_{name}_{part}".upper().replace("-", "_")


def families(given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The providers that an environment configures, each with its fields as they were written."""
    found: dict[str, dict[str, str]] = {}
    for one, value in given.items():
        match = _MEMBER.fullmatch(one)
        if match is None:
            continue
        name = match["name"].lower().replace("_", "-")
        if match["part"] in _PARTS.get(name, _PARTS[OIDC]):
            found.setdefault(name, {})[match["part"].lower()] = value.strip()
    return {name: _family(name, fields) for name, fields in sorted(found.items()) if _begins(name, fields)}


def family_place(loc: tuple[str | int, ...]) -> Place:
    """Where what is at ``oauth_providers.<name>.<kind>.<field>`` is written."""
    _, name, *_, field = map(str, loc)
    model = GitHubSettings if name == GITHUB else OidcSettings
    if field == "name":
        return Place(variable(name, "*"), model, "name")
    return Place(variable(name, field), model, field)


def missing_in_family(loc: tuple[str | int, ...], given: Mapping[str, object]) -> str:
    """What to say of a variable that a family lacks, beside those it has."""
    name = str(loc[1])
    begun = [part for part in _BEGINNINGS.get(name, _BEGINNINGS[OIDC]) if part.lower() in given]
    others = " and ".join(variable(name, part) for part in begun)
    meant = None if name in _PARTS else did_you_mean(name, (GITHUB, GOOGLE), cutoff=0.75)
    hint = f" (or did you mean {variable(meant, begun[0])}?)" if meant else ""
    return f"is missing beside {others}; set it too, or none of them{hint}"


def _begins(name: str, fields: Mapping[str, str]) -> bool:
    return any(part.lower() in fields for part in _BEGINNINGS.get(name, _BEGINNINGS[OIDC]))


def _family(name: str, fields: Mapping[str, str]) -> dict[str, str]:
    presets = {"name": name, "kind": "github" if name == GITHUB else "oidc"}
    if name == GOOGLE:
        presets |= {"issuer": GOOGLE_ISSUER, "label": GOOGLE_LABEL}
    if name == OIDC:
        presets |= {"label": "Single sign-on"}
    return {**presets, **fields}


def _api_url(url: str) -> str:
    """Where the API of a GitHub of one's own is; never github.com's, which would be shown foreign tokens.

    Source: GitHub's documentation, "Getting started with the REST API", for Enterprise Server and ghe.com.
    """
    if url == GITHUB_URL:
        return GITHUB_API_URL
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(".ghe.com"):
        return f"{parts.scheme}://api.{parts.netloc}"
    return f"{url}/api/v3"
