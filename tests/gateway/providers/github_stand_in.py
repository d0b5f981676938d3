"""A stand-in for GitHub, and a strict one: what GitHub would refuse, it refuses, in GitHub's own way.

It is no GitHub: a person approves by being named in ``visitor``. Its wire facts are those of GitHub's
documentation: errors of the token endpoint come with status 200; the answer is a form unless JSON is asked
for; PKCE is S256; a code is good once, for ten minutes; ``/user`` may have no address; a request without
User-Agent is refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.gateway.providers.serving import Broken, serving

CODE_S = 600
ORGANIZATION_SCOPES = {"read:org", "write:org", "admin:org"}


@dataclass
class Person:
    """Somebody with an account there."""

    id: int
    login: str
    name: str | None = None
    emails: list[dict[str, Any]] = field(default_factory=list)
    organizations: list[str] = field(default_factory=list)
    teams: list[tuple[str, str]] = field(default_factory=list)
    is_suspended: bool = False


@dataclass
class _Code:
    login: str
    redirect_uri: str
    challenge: str
    scope: str
    made_at: float


@dataclass
class GitHubStandIn:
    """Running. ``url`` is what github.com is, ``api_url`` what api.github.com is."""

    client_id: str = "Iv1.stand-in"
    client_secret: str = "stand-in-secret-0123456789"
    callbacks: tuple[str, ...] = ()  # empty: any
    people: dict[str, Person] = field(default_factory=dict)
    visitor: str = ""  # the login of whoever sits at the browser
    cancels: bool = False
    grants: str | None = None  # the scope that the visitor allows; None: all that is asked for
    clock: Callable[[], float] = time.time
    broken: Broken = field(default_factory=Broken)
    port: int = 0
    _codes: dict[str, _Code] = field(default_factory=dict)
    _tokens: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v3"

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's variables for it."""
        return {
            "OAUTH_GITHUB_CLIENT_ID": self.client_id,
            "OAUTH_GITHUB_CLIENT_SECRET": self.client_secret,
            "OAUTH_GITHUB_URL": self.url,
            "OAUTH_GITHUB_API_URL": self.api_url,
        }

    def add(self, person: Person) -> None:
        self.people[person.login] = person
        self.visitor = self.visitor or person.login

    # The web flow

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("client_id") != self.client_id:
            return web.Response(status=404, text="Not Found")
        redirect_uri, state = query.get("redirect_uri", ""), query.get("state", "")
        if self.callbacks and redirect_uri not in self.callbacks:
            return _back(self.callbacks[0], error="redirect_uri_mismatch", state=state)
        if query.get("code_challenge_method") != "S256" or len(query.get("code_challenge", "")) != 43:
            return _back(redirect_uri, error="invalid_request", state=state)
        if self.cancels:
            described = "The user has denied your application access."
            return _back(redirect_uri, error="access_denied", error_description=described, state=state)
        code = secrets.token_hex(10)
        scope = query.get("scope", "") if self.grants is None else self.grants
        self._codes[code] = _Code(self.visitor, redirect_uri, query["code_challenge"], scope, self.clock())
        return _back(redirect_uri, code=code, state=state)

    async def access_token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        given = {name: str(value) for name, value in form.items()}
        if given.get("client_id") != self.client_id:
            return _token_answer(request, {"error": "Not Found"}, status=404)
        return _token_answer(request, self._redeem(given))

    def _redeem(self, given: dict[str, str]) -> dict[str, str]:
        if given.get("client_secret") != self.client_secret:
            return {"error": "incorrect_client_credentials"}
        code = self._codes.pop(given.get("code", ""), None)
        if code is None or self.clock() - code.made_at > CODE_S:
            return {"error": "bad_verification_code"}
        if given.get("redirect_uri") != code.redirect_uri:
            return {"error": "redirect_uri_mismatch"}
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            return {"error": "bad_verification_code"}
        token = f"gho_{secrets.token_hex(18)}"
        self._tokens[token] = (code.login, code.scope)
        return {"access_token": token, "scope": ",".join(code.scope.split()), "token_type": "bearer"}

    # The API

    def _who(self, request: web.Request) -> tuple[Person, set[str]]:
        if not request.headers.get("User-Agent"):
            raise _refused(web.HTTPForbidden, "Request forbidden by administrative rules.")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            raise _refused(web.HTTPUnauthorized, "Bad credentials")
        login, scope = self._tokens[token]
        person = self.people[login]
        if person.is_suspended:
            raise _refused(web.HTTPForbidden, "Sorry. Your account was suspended.")
        return person, set(scope.split())

    async def user(self, request: web.Request) -> web.StreamResponse:
        person, _ = self._who(request)
        return web.json_response(
            {"id": person.id, "login": person.login, "name": person.name, "email": None, "type": "User"}
        )

    async def emails(self, request: web.Request) -> web.StreamResponse:
        person, scopes = self._who(request)
        if not scopes & {"user:email", "user"}:
            raise _refused(web.HTTPNotFound, "Not Found")
        return _page(request, person.emails)

    async def orgs(self, request: web.Request) -> web.StreamResponse:
        person, scopes = self._who(request)
        shown = person.organizations if scopes & ORGANIZATION_SCOPES else []
        return _page(request, [{"login": name, "id": number} for number, name in enumerate(shown, 1)])

    async def teams(self, request: web.Request) -> web.StreamResponse:
        person, scopes = self._who(request)
        if not scopes & ORGANIZATION_SCOPES:
            raise _refused(web.HTTPForbidden, "Must have admin rights to Repository.")
        return _page(
            request,
            [
                {"slug": slug, "name": slug.title(), "organization": {"login": organization}}
                for organization, slug in person.teams
            ],
        )


def _back(redirect_uri: str, **params: str) -> web.Response:
    return web.Response(status=302, headers={"Location": f"{redirect_uri}?{urlencode(params)}"})


def _token_answer(request: web.Request, members: dict[str, str], status: int = 200) -> web.Response:
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response(members, status=status)
    return web.Response(
        text=urlencode(members), status=status, content_type="application/x-www-form-urlencoded"
    )


def _refused(kind: type[web.HTTPException], message: str) -> web.HTTPException:
    return kind(text=json.dumps({"message": message}), content_type="application/json")


def _page(request: web.Request, entries: list[dict[str, Any]]) -> web.Response:
    size = min(100, int(request.query.get("per_page", "30")))
    page = int(request.query.get("page", "1"))
    end = page * size
    headers = {}
    if end < len(entries):
        following = request.url.update_query(page=str(page + 1))
        headers["Link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
    return web.json_response(entries[end - size : end], headers=headers)


@contextlib.asynccontextmanager
async def github_stand_in(**options: Any) -> AsyncIterator[GitHubStandIn]:
    """A running stand-in with nobody in it."""
    stand_in = GitHubStandIn(**options)
    app = web.Application()
    app.router.add_get("/login/oauth/authorize", stand_in.authorize)
    app.router.add_post("/login/oauth/access_token", stand_in.access_token)
    app.router.add_get("/api/v3/user", stand_in.user)
    app.router.add_get("/api/v3/user/emails", stand_in.emails)
    app.router.add_get("/api/v3/user/orgs", stand_in.orgs)
    app.router.add_get("/api/v3/user/teams", stand_in.teams)
    async with serving(app, stand_in.broken) as port:
        stand_in.port = port
        yield stand_in
