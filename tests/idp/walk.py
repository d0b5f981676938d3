"""The code flow as any client goes through it, step by step: what providers are checked with."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode

from aiohttp import web

from tests.clients.robot import Person


@dataclass
class Callback:
    """Where the browser comes back to: it keeps what it was told."""

    url: str = ""
    told: dict[str, str] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.Response:
        self.told = dict(request.query)
        return web.Response(text="done")


@dataclass(frozen=True)
class Proof:
    """A PKCE verifier, with S256. Source: RFC 7636, section 4."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        code_challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return {"code_challenge": code_challenge, "code_challenge_method": "S256"}


async def authorized(endpoint: str, callback: Callback, person: Person, **parameters: str) -> dict[str, str]:
    """What the provider tells the callback, after the person has said whatever they say."""
    query = {"redirect_uri": callback.url, "response_type": "code", "state": "the-state", **parameters}
    await person.visit(f"{endpoint}?{urlencode(query)}")
    assert callback.told["state"] == "the-state"
    return callback.told


def form_of(callback: Callback, code: str, **parameters: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback.url,
        **parameters,
    }
