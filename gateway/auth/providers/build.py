"""From the settings, the providers; and their end. Asks nothing of anybody."""

import asyncio
from collections.abc import Mapping
from typing import assert_never

from gateway.auth.providers.github import GitHubProvider
from gateway.auth.providers.limits import Limits
from gateway.auth.providers.oidc import OidcProvider
from gateway.auth.providers.port import Provider
from gateway.auth.providers.settings import GitHubSettings, OidcSettings, ProviderSettings
from gateway.settings import GatewaySettings


def build_providers(settings: GatewaySettings, limits: Limits | None = None) -> dict[str, Provider]:
    """By name, in the order in which they stand on the sign-in page. Close them: :func:`close_providers`."""
    return {name: _provider(one, limits) for name, one in settings.oauth_providers.items()}


def _provider(settings: ProviderSettings, limits: Limits | None) -> Provider:
    match settings:
        case GitHubSettings():
            return GitHubProvider(settings, limits)
        case OidcSettings():
            return OidcProvider(settings, limits)
    assert_never(settings)


async def close_providers(providers: Mapping[str, Provider]) -> None:
    await asyncio.gather(*(provider.close() for provider in providers.values()))
