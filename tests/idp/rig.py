"""Providers to sign in at, as async context managers: loopback only, on free ports, gone with the block.

``oidc_provider`` is a real one. ``emulated`` has the wire shapes of GitHub and Google and is no judge of
security.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.idp.node import NodeServer, node_server

HERE = Path(__file__).parent
CLIENT_ID = "the-gateway"
CLIENT_SECRET = "a-secret-of-the-tests"

Service = Literal["github", "google"]


@dataclass(frozen=True)
class Idp:
    """Where it is, and what the gateway is registered as there."""

    issuer: str
    server: NodeServer
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET

    async def register(self, *redirect_uris: str) -> None:
        """Where the gateway takes people back, for tests that learn it after the provider was started."""
        await self.server.ask({"redirectUris": redirect_uris})


ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "alice": {"sub": "1001", "name": "Alice", "email": "alice@example.com", "email_verified": True},
    "bob": {"sub": "1002", "name": "Bob", "email": "bob@example.com", "email_verified": True},
    "carol": {"sub": "1003", "name": "Carol", "email": "carol@example.com", "email_verified": False},
    "mallory": {"sub": "1666", "name": "Alice", "email": "alice@example.com", "email_verified": False},
    "nomail": {"sub": "1005", "name": "No Mail"},
}
"""By login name. Any other name signs in too, and has a verified address at example.com.

Carol's address is unverified, Mallory claims Alice's, and the last has none.
"""

GITHUB_SEED: Mapping[str, Any] = {
    "users": [
        {"login": "alice", "name": "Alice", "email": "alice@example.com"},
        {"login": "bob", "name": "Bob", "email": None},
    ],
    "orgs": [{"login": "acme", "name": "Acme", "members": [{"login": "alice", "role": "admin"}]}],
}
GOOGLE_SEED: Mapping[str, Any] = {
    "users": [
        {"email": "alice@example.com", "name": "Alice", "hd": "example.com"},
        {"email": "carol@example.com", "name": "Carol", "email_verified": False},
    ]
}


@asynccontextmanager
async def oidc_provider(
    *redirect_uris: str,
    accounts: Mapping[str, Mapping[str, Any]] = ACCOUNTS,
    email_in: Literal["userinfo", "id_token"] = "userinfo",
) -> AsyncIterator[Idp]:
    """npm's oidc-provider. The sign-in form has a field ``login``; the buttons ``answer`` are ``sign-in`` and
    ``refuse``."""
    client = _registered(redirect_uris) | {
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    settings = {"client": client, "accounts": accounts, "emailIn": email_in}
    async with node_server(HERE / "oidc_provider.mjs", settings) as server:
        yield Idp((await server.hear())["issuer"], server)


@asynccontextmanager
async def emulated(
    service: Service, *redirect_uris: str, seed: Mapping[str, Any] | None = None
) -> AsyncIterator[Idp]:
    """npm's emulate. A person signs in with one of a page's buttons, one for each of ``seed``'s users."""
    apps = "oauth_apps" if service == "github" else "oauth_clients"
    people = seed or (GITHUB_SEED if service == "github" else GOOGLE_SEED)
    client = _registered(redirect_uris) | {"name": "The gateway"}
    settings = {"service": service, "apps": apps, "seed": {**people, apps: [client]}}
    async with node_server(HERE / "emulate.mjs", settings) as server:
        yield Idp((await server.hear())["issuer"], server)


def _registered(redirect_uris: tuple[str, ...]) -> dict[str, Any]:
    return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": list(redirect_uris)}
