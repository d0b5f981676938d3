"""The gateway's settings: where it listens, how long it holds, and who may sign in. Nothing of the engine.

Next: :mod:`gateway.main`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from gateway.auth.providers.settings import (
    ProviderSettings,
    families,
    family_place,
    is_provider_secret,
    missing_in_family,
    provider_variables,
)
from gateway.sites import Sites
from state.kinds.resource import NAME_PATTERN
from state.setting_values import (
    Emails,
    ExtraOrigins,
    HostPort,
    Listen,
    Location,
    Lower,
    Networks,
    Origins,
)
from state.settings import Place, SharedSettings

INSPECTOR_ORIGIN = "http://localhost:6274"  # where the MCP Inspector runs
SITE_LABELS: Final = 2


class GatewaySettings(SharedSettings):
    """What the gateway is told."""

    family_fields: ClassVar[frozenset[str]] = frozenset({"oauth_providers"})
    family_variables: ClassVar[tuple[str, ...]] = provider_variables()

    gateway_bind: Listen = HostPort("127.0.0.1", 9000)
    gateway_private_bind: Listen = HostPort("127.0.0.1", 9001)
    gateway_workers: Annotated[int, Field(ge=1, le=64)] = 1
    drain_timeout_s: Annotated[int, Field(ge=1, le=100)] = 5
    hold_timeout_s: Annotated[float, Field(ge=1, le=600)] = 60.0
    default_template: Annotated[str, Field(pattern=NAME_PATTERN, description="a template's name")] = "demo"
    oauth_providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    admin_emails: Emails = ()
    unmatched_users: Annotated[Literal["refuse", "pending"], Lower] = "refuse"
    secret_key_file: Location | None = None
    cors_origins: Origins = (INSPECTOR_ORIGIN,)
    extra_origins: ExtraOrigins = ()
    trusted_proxies: Networks = ()

    @classmethod
    def gathered(cls, given: Mapping[str, str]) -> dict[str, Any]:
        return {"oauth_providers": families(given)}

    @classmethod
    def is_secret(cls, variable: str) -> bool:
        return is_provider_secret(variable) or super().is_secret(variable)

    @classmethod
    def place(cls, loc: tuple[str | int, ...]) -> Place:
        return family_place(loc) if loc[0] in cls.family_fields else super().place(loc)

    @classmethod
    def missing(cls, loc: tuple[str | int, ...], given: Mapping[str, Any]) -> str:
        return missing_in_family(loc, given)

    @property
    def no_local_sign_in(self) -> str:
        """Why the local developer's link signs nobody in, with the mend; "" where it does."""
        if self.oauth_providers:
            return f"a provider is configured; sign in at {self.gateway_origin}/"
        if not Sites(self.gateway_origin).is_local:
            return f"nobody can sign in at {self.gateway_origin}: set a provider's OAUTH_… settings"
        if not self.gateway_bind.is_loopback:
            return (
                f"nobody can sign in at {self.gateway_origin}: set a provider's OAUTH_… settings (README.md, "
                "Let people sign in); the local developer's link is off, as "
                f"GATEWAY_BIND={self.gateway_bind} lets others in than this machine"
            )
        return ""

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.gateway_bind.port == self.gateway_private_bind.port:
            raise ValueError("GATEWAY_PRIVATE_BIND has the port of GATEWAY_BIND; choose another")
        return self

    @model_validator(mode="after")
    def _origins_are_further_ones(self) -> Self:
        """Whatever Host already means the gateway, or a Home, cannot mean an extra origin too."""
        own = Sites(self.gateway_origin, workload_domain=self.workload_domain)
        for extra in self.extra_origins:
            if own.find(extra.authority.encode()) is not None:
                raise ValueError(
                    f"EXTRA_ORIGINS has {extra.origin} among them, where the gateway answers already "
                    f"(GATEWAY_ORIGIN={self.gateway_origin}); leave it out"
                )
        return self

    @model_validator(mode="after")
    def _pages_set_no_cookie_of_ours(self) -> Self:
        """Over https our cookies begin with ``__Host-``, which no other host can set. Over http any page of
        the same site can: a container's would sign people in as somebody else.
        """
        origin = urlsplit(self.gateway_origin)
        site, theirs = _site(origin.hostname or ""), _site(self.workload_domain)
        if origin.scheme == "http" and len(site) == SITE_LABELS and site == theirs:
            raise ValueError(
                f"WORKLOAD_DOMAIN={self.workload_domain} shares {'.'.join(site)} with GATEWAY_ORIGIN, whose "
                "cookies its pages could set over plain http; use https, or a domain apart"
            )
        return self

    @model_validator(mode="after")
    def _admins_have_their_providers(self) -> Self:
        for one in self.admin_emails:
            if ":" in one:
                self._require_provider(one.partition(":")[0], "ADMIN_EMAILS")
        return self

    @model_validator(mode="after")
    def _origins_have_their_providers(self) -> Self:
        for extra in self.extra_origins:
            for name in extra.providers:
                self._require_provider(name, "EXTRA_ORIGINS")
        return self

    def _require_provider(self, name: str, setting: str) -> None:
        if name not in self.oauth_providers:
            raise ValueError(
                f'{setting} names the provider "{name}", which is not configured; set its OAUTH_… settings, '
                "or leave it out"
            )


def _site(host: str) -> tuple[str, ...]:
    """The end of a name, by which browsers tell whose cookies may reach whom; where they know a longer one to
    be public (``co.uk``), this is stricter than they are.
    """
    return tuple(host.lower().split(".")[-SITE_LABELS:])
