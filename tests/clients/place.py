"""A gateway with the demo as everybody's container, and a real provider to sign in at."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import GatewaySettings
from state.kinds.access_policy import Rule
from tests.clients.robot import Person
from tests.gateway.rig import Rig, gateway
from tests.gateway.test_mcp_clients import demo
from tests.idp.rig import Idp

CALLBACK_PATH = "/auth/callback"


@dataclass(frozen=True)
class Place:
    """Where ``alice`` has a container, as the provider knows her."""

    rig: Rig
    provider: str

    @property
    def mcp_url(self) -> str:
        return f"{self.rig.origin}/mcp"

    def person(self, *presses: str, **fills: str) -> Person:
        """Somebody who allows what a client asks for, signs in with the provider, and does as told there."""
        return Person("decision=allow", f"provider={self.provider}", *presses, fills=fills)


@asynccontextmanager
async def place(
    idp: Idp, provider: str, user: str | None, settings: Mapping[str, str], folder: Path
) -> AsyncIterator[Place]:
    """``user`` is whose container the demo is; ``settings`` are those of the provider."""
    values = GatewaySettings.gathered(dict(settings))
    async with gateway(**values) as rig, demo("demo", folder / "demo") as container:
        await idp.register(rig.origin + CALLBACK_PATH)
        await rig.add_template()
        await rig.add_policy(Rule(provider=provider))
        if user is not None:
            await rig.add_user("alice", user)
            await rig.route("alice", container)
        await rig.applied()
        yield Place(rig, provider)


def oidc_settings(idp: Idp) -> dict[str, str]:
    return {
        "OAUTH_OIDC_ISSUER": idp.issuer,
        "OAUTH_OIDC_CLIENT_ID": idp.client_id,
        "OAUTH_OIDC_CLIENT_SECRET": idp.client_secret,
    }


def github_settings(idp: Idp) -> dict[str, str]:
    return {
        "OAUTH_GITHUB_URL": idp.issuer,
        "OAUTH_GITHUB_API_URL": idp.issuer,
        "OAUTH_GITHUB_CLIENT_ID": idp.client_id,
        "OAUTH_GITHUB_CLIENT_SECRET": idp.client_secret,
    }


def google_settings(idp: Idp) -> dict[str, str]:
    return {
        "OAUTH_GOOGLE_ISSUER": idp.issuer,
        "OAUTH_GOOGLE_CLIENT_ID": idp.client_id,
        "OAUTH_GOOGLE_CLIENT_SECRET": idp.client_secret,
    }
