"""A gateway with GitHub and an OpenID issuer as providers, both of them stand-ins."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.settings import GatewaySettings
from state.kinds.access_policy import Rule
from tests.gateway.conftest import WORKERS
from tests.gateway.providers.github_stand_in import GitHubStandIn, Person, github_stand_in
from tests.gateway.providers.oidc_stand_in import OidcStandIn, oidc_stand_in
from tests.gateway.rig import Container, Rig, container, gateway

ANN = Person(
    id=583231,
    login="ann",
    name="Ann",
    emails=[{"email": "ann@example.com", "verified": True, "primary": True, "visibility": None}],
)
BOB = Person(
    id=77,
    login="bob",
    emails=[{"email": "bob@example.com", "verified": True, "primary": True, "visibility": None}],
)
ANN_USER = "github:583231"
BOB_USER = "github:77"


@dataclass
class Place:
    """Where people sign in."""

    rig: Rig
    github: GitHubStandIn
    oidc: OidcStandIn
    ann: Container


def oidc_settings(oidc: OidcStandIn) -> dict[str, str]:
    return {
        "OAUTH_OIDC_ISSUER": oidc.issuer,
        "OAUTH_OIDC_CLIENT_ID": oidc.client_id,
        "OAUTH_OIDC_CLIENT_SECRET": oidc.client_secret,
        "OAUTH_OIDC_LABEL": "Example ID",
    }


def settings_of(github: GitHubStandIn, oidc: OidcStandIn) -> dict[str, Any]:
    return GatewaySettings.gathered({**github.settings, **oidc_settings(oidc)})


@pytest.fixture
async def github() -> AsyncIterator[GitHubStandIn]:
    async with github_stand_in() as github:
        github.add(ANN)
        github.add(BOB)
        yield github


@pytest.fixture
async def oidc() -> AsyncIterator[OidcStandIn]:
    async with oidc_stand_in() as oidc:
        yield oidc


@pytest.fixture(params=WORKERS)
async def place(
    request: pytest.FixtureRequest, github: GitHubStandIn, oidc: OidcStandIn
) -> AsyncIterator[Place]:
    async with (
        gateway(workers=request.param, **settings_of(github, oidc)) as rig,
        container("ann") as ann,
    ):
        await rig.add_template()
        await rig.add_policy(Rule(provider="github"), Rule(provider="oidc"))
        await rig.add_user("ann", ANN_USER)
        await rig.route("ann", ann)
        await rig.applied()
        yield Place(rig, github, oidc, ann)


@pytest.fixture
async def strict(github: GitHubStandIn, oidc: OidcStandIn) -> AsyncIterator[Place]:
    """One that lets in only whom a test says: no policy is there yet."""
    async with (
        gateway(**settings_of(github, oidc), admin_emails=("boss@example.com",)) as rig,
        container("ann") as ann,
    ):
        await rig.add_template()
        await rig.applied()
        yield Place(rig, github, oidc, ann)
