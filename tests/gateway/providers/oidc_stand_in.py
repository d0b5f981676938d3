"""A stand-in for an OpenID Connect issuer that can be told to lie, which no real one can.

Real issuers are for showing that signing in works; this one is for showing what is refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import time
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.gateway.providers.serving import Broken, serving

Signer = Callable[["OidcStandIn", dict[str, Any]], str]
METADATA = "/.well-known/openid-configuration"
RSA = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "curve", "use": "sig"})
ED = OKPKey.generate_key("Ed25519", {"kid": "edwards", "use": "sig"})


@dataclass
class OidcStandIn:
    """Running. What it says by default is true; every field can be changed between two sign-ins."""

    client_id: str = "gateway"
    client_secret: str = "s3cret+/%:~&="  # to be form-encoded in an Authorization header
    subject: str = "subject-1"
    claims: dict[str, Any] = field(
        default_factory=lambda: {"email": "Ann@Example.com", "email_verified": True, "name": "Ann"}
    )
    userinfo: dict[str, Any] | None = None  # None: there is none
    metadata: dict[str, Any] = field(default_factory=dict)  # members that differ; None leaves one out
    lies: dict[str, Any] = field(default_factory=dict)  # claims of the id_token that differ; the same
    names_itself: str | None = None  # iss in the answer by way of the browser
    keys: list[Any] = field(default_factory=lambda: [RSA])
    sign: Signer | None = None
    alg: str = "RS256"
    auth_method: str = "client_secret_basic"
    cancels: bool = False
    broken: Broken = field(default_factory=Broken)
    clock: Callable[[], float] = time.time
    port: int = 0
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _tokens: set[str] = field(default_factory=set)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def discover(self, request: web.Request) -> web.StreamResponse:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo" if self.userinfo is not None else None,
            "token_endpoint_auth_methods_supported": [self.auth_method],
            "authorization_response_iss_parameter_supported": self.names_itself is not None,
            **self.metadata,
        }
        return web.json_response({name: value for name, value in document.items() if value is not None})

    async def jwks(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["nonce"]
        answer = {"state": query["state"]}
        if self.names_itself is not None:
            answer["iss"] = self.names_itself
        if self.cancels:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = dict(query)
        return web.Response(status=302, headers={"Location": f"{query['redirect_uri']}?{urlencode(answer)}"})

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self._client(request, form) != (self.client_id, self.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or asked["redirect_uri"] != form.get("redirect_uri")
            or asked["code_challenge"] != challenge
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        access = secrets.token_urlsafe(16)
        self._tokens.add(access)
        return web.json_response(
            {
                "access_token": access,
                "token_type": "Bearer",
                "expires_in": 3600,
                "id_token": self._signed(self._said(asked["nonce"])),
            }
        )

    async def show_userinfo(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self.userinfo)

    def _client(self, request: web.Request, form: dict[str, str]) -> tuple[str, str]:
        if self.auth_method == "client_secret_post":
            return form.get("client_id", ""), form.get("client_secret", "")
        encoded = request.headers.get("Authorization", "").removeprefix("Basic ")
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)

    def _said(self, nonce: str) -> dict[str, Any]:
        now = int(self.clock())
        said = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.claims,
            **self.lies,
        }
        return {name: value for name, value in said.items() if value is not None}

    def _signed(self, said: dict[str, Any]) -> str:
        if self.sign is not None:
            return self.sign(self, said)
        key = self.keys[-1]
        return jwt.encode({"alg": self.alg, "kid": key.kid}, said, key, algorithms=[self.alg])


def signed_by_nobody(stand_in: OidcStandIn, said: dict[str, Any]) -> str:
    """``alg: none``, as a forger sends it."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(said)}."


def signed_with_the_client_secret(stand_in: OidcStandIn, said: dict[str, Any]) -> str:
    key = OctKey.import_key(stand_in.client_secret.encode() * 4)
    return jwt.encode({"alg": "HS256"}, said, key)


def signed_with_the_public_key_as_a_secret(stand_in: OidcStandIn, said: dict[str, Any]) -> str:
    """The classic: whoever takes the algorithm from the token takes the public key for a shared one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        key = OctKey.import_key(base64.b64encode(RSA.as_der(private=False)))
    return jwt.encode({"alg": "HS256", "kid": "first"}, said, key)


def signed_with_escapes(stand_in: OidcStandIn, said: dict[str, Any]) -> str:
    """As JSON may be written: every character that is not ASCII escaped, half a one too."""
    return jws.serialize_compact({"alg": "RS256", "kid": "first"}, json.dumps(said).encode(), RSA)


def signed_by_a_stranger(stand_in: OidcStandIn, said: dict[str, Any]) -> str:
    """With the right key's name, and another key."""
    return jwt.encode({"alg": "RS256", "kid": "first"}, said, OTHER_RSA)


@contextlib.asynccontextmanager
async def oidc_stand_in(**options: Any) -> AsyncIterator[OidcStandIn]:
    """A running stand-in."""
    stand_in = OidcStandIn(**options)
    app = web.Application()
    app.router.add_get(METADATA, stand_in.discover)
    app.router.add_get("/jwks", stand_in.jwks)
    app.router.add_get("/authorize", stand_in.authorize)
    app.router.add_post("/token", stand_in.token)
    app.router.add_get("/userinfo", stand_in.show_userinfo)
    async with serving(app, stand_in.broken) as port:
        stand_in.port = port
        yield stand_in
