"""From the settings, the providers: each of its kind, and nothing asked of any."""

from urllib.parse import urlsplit

import pytest

from gateway.auth.providers.build import build_providers, close_providers
from gateway.auth.providers.github import GitHubProvider
from gateway.auth.providers.oidc import OidcProvider
from gateway.settings import GatewaySettings
from state.settings import load_settings
from tests.gateway.providers.github_stand_in import GitHubStandIn
from tests.gateway.providers.oidc_stand_in import OidcStandIn
from tests.gateway.providers.traveller import depart, sign_in


async def test_several_providers_at_once_each_under_its_name(
    github: GitHubStandIn, issuer: OidcStandIn
) -> None:
    environ = {
        **github.settings,
        **{
            f"OAUTH_{name}_{part}": value
            for name in ("GOOGLE", "ACME")
            for part, value in (
                ("ISSUER", issuer.issuer),
                ("CLIENT_ID", issuer.client_id),
                ("CLIENT_SECRET", issuer.client_secret),
            )
        },
    }
    providers = build_providers(load_settings(GatewaySettings, environ))
    assert [(name, type(one)) for name, one in providers.items()] == [
        ("acme", OidcProvider),
        ("github", GitHubProvider),
        ("google", OidcProvider),
    ]
    assert [one.label for one in providers.values()] == ["Acme", "GitHub", "Google"]
    assert github.broken.asked == issuer.broken.asked == []
    users = {(await sign_in(one)).user for one in providers.values()}
    assert users == {"acme:subject-1", "google:subject-1", "github:583231"}, "one subject, two people"
    await close_providers(providers)


async def test_nobody_configured_is_nobody_to_sign_in_with() -> None:
    providers = build_providers(load_settings(GatewaySettings, {}))
    assert providers == {}
    await close_providers(providers)


@pytest.mark.parametrize("url", ["https://github.com", "https://git.example.com/base"])
async def test_the_way_to_github_is_below_its_address(url: str) -> None:
    environ = {
        "OAUTH_GITHUB_CLIENT_ID": "i",
        "OAUTH_GITHUB_CLIENT_SECRET": "s",
        "OAUTH_GITHUB_URL": url,
    }
    providers = build_providers(load_settings(GatewaySettings, environ))
    there = urlsplit((await depart(providers["github"])).url)
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{url}/login/oauth/authorize"
    await close_providers(providers)
