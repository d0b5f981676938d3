"""An OpenID Connect issuer that costs little and lets everybody in as whom they say they are.

A browser of the benchmark's says who it is in a header, or is somebody. What is refused is no matter of
figures. Source: OpenID Connect Core 1.0 section 3.1, OpenID Connect Discovery 1.0 section 3.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from bench.people import PROVIDER, subject_of

CLIENT_ID, CLIENT_SECRET = "gateway", "secret"
ID_TOKEN_S = 300
PERSON_HEADER = "X-Person"
SOMEBODY = 0  # the number of whoever does not say


class Issuer:
    """Running at ``url``; any number of gateways may ask it."""

    def __init__(self) -> None:
        self.url = ""
        self._key = RSAKey.generate_key(2048, {"kid": "bench", "use": "sig"})
        self._codes: dict[str, tuple[str, str]] = {}  # whom a code stands for, and the nonce of the request

    @property
    def settings(self) -> dict[str, str]:
        """A gateway's variables for it."""
        family = f"OAUTH_{PROVIDER.upper()}"
        return {
            f"{family}_ISSUER": self.url,
            f"{family}_CLIENT_ID": CLIENT_ID,
            f"{family}_CLIENT_SECRET": CLIENT_SECRET,
        }

    async def discover(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
            }
        )

    async def jwks(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"keys": [self._key.as_dict(private=False)]})

    async def authorize(self, request: web.Request) -> web.Response:
        code = secrets.token_urlsafe(16)
        self._codes[code] = request.headers.get(PERSON_HEADER, subject_of(SOMEBODY)), request.query["nonce"]
        answer = urlencode({"code": code, "state": request.query["state"]})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{answer}")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        subject, nonce = self._codes.pop(str(form["code"]))
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": CLIENT_ID, "iat": now, "exp": now + ID_TOKEN_S}
        claims |= {"nonce": nonce, "email": f"{subject}@example.com", "email_verified": True}
        signed = jwt.encode({"alg": "RS256", "kid": "bench"}, claims, self._key)
        return web.json_response(
            {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "id_token": signed}
        )


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """One on a free port of this loop's."""
    issuer, app = Issuer(), web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.discover)
    app.router.add_get("/jwks", issuer.jwks)
    app.router.add_get("/authorize", issuer.authorize)
    app.router.add_post("/token", issuer.token)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()
