"""A provider of each kind, and the stand-in that it talks to."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from gateway.auth.providers.github import GitHubProvider
from gateway.auth.providers.limits import Limits
from gateway.auth.providers.oidc import OidcProvider
from gateway.auth.providers.settings import GitHubSettings, OidcSettings
from gateway.settings import GatewaySettings
from state.settings import load_settings
from tests.gateway.providers.github_stand_in import GitHubStandIn, Person, github_stand_in
from tests.gateway.providers.oidc_stand_in import OidcStandIn, oidc_stand_in

HASTY = Limits(login_s=1.0, fetch_s=0.4, connect_s=0.5, silence_s=0.3)
"""For what takes too long."""
ANN = Person(
    id=583231,
    login="Ann",
    name="Ann Example",
    emails=[
        {"email": "Ann@Example.com", "primary": True, "verified": True, "visibility": None},
        {"email": "ann@old.example", "primary": False, "verified": False, "visibility": None},
    ],
    organizations=["Acme"],
    teams=[("Acme", "Developers")],
)


@pytest.fixture
async def github() -> AsyncIterator[GitHubStandIn]:
    async with github_stand_in() as stand_in:
        stand_in.add(ANN)
        yield stand_in


@pytest.fixture
async def issuer() -> AsyncIterator[OidcStandIn]:
    async with oidc_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def to_github(github: GitHubStandIn, closing: AsyncExitStack) -> Callable[..., GitHubProvider]:
    """Makes a provider that talks to ``github``, with settings that differ."""

    def made(limits: Limits | None = None, **changed: str) -> GitHubProvider:
        settings = load_settings(GatewaySettings, {**github.settings, **changed}).oauth_providers["github"]
        assert isinstance(settings, GitHubSettings)
        provider = GitHubProvider(settings, limits)
        closing.push_async_callback(provider.close)
        return provider

    return made


@pytest.fixture
def to_issuer(issuer: OidcStandIn, closing: AsyncExitStack) -> Callable[..., OidcProvider]:
    """Makes a provider that talks to ``issuer``, with settings that differ."""

    def made(limits: Limits | None = None, **changed: object) -> OidcProvider:
        provider = OidcProvider(oidc_settings(issuer, **changed), limits)
        closing.push_async_callback(provider.close)
        return provider

    return made


def oidc_settings(issuer: OidcStandIn, /, **changed: object) -> OidcSettings:
    known: dict[str, object] = {
        "name": "acme",
        "issuer": issuer.issuer,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
    }
    return OidcSettings.model_validate({**known, **changed})
