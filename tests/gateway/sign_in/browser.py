"""A person's browser, played: cookies by origin, redirects followed one by one, forms as pages have them."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from tests.gateway.rig import Rig

HOPS_MAX = 12
CALLBACK = "http://127.0.0.1:9/callback"
"""Where a program waits for its answer. Nobody listens: the browser stops there."""
_FORM = re.compile(r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
_SET_COOKIE_SKIPPED = {"max-age", "path", "samesite", "httponly", "secure"}


@dataclass
class Seen:
    """What the browser ended at."""

    status: int
    url: str
    text: str
    headers: Any

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def fields(self, action: str) -> dict[str, str]:
        """The hidden fields of the form that leads to ``action``."""
        found = [body for target, body in _FORM.findall(self.text) if target == action]
        assert found, f"no form leads to {action}: {self.text}"
        return {html.unescape(name): html.unescape(value) for name, value in _HIDDEN.findall(found[0])}


@dataclass
class Browser:
    """``keeps_cookies``: some do not."""

    rig: Rig
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    keeps_cookies: bool = True
    visited: list[str] = field(default_factory=list)

    async def visit(self, url: str) -> Seen:
        """Go there, and on to wherever that leads."""
        return await self._go("GET", urljoin(self.rig.origin, url))

    async def step(self, url: str) -> Seen:
        """Go there, and no further."""
        return await self._once("GET", urljoin(self.rig.origin, url))

    async def submit(self, seen: Seen, action: str, **chosen: str) -> Seen:
        data = {**seen.fields(action), **chosen}
        return await self._go("POST", urljoin(self.rig.origin, action), data)

    async def depart(self, seen: Seen, action: str, **chosen: str) -> Seen:
        """Send the form, and stop before following where it leads."""
        data = {**seen.fields(action), **chosen}
        return await self._once("POST", urljoin(self.rig.origin, action), data)

    async def sign_in(self, provider: str) -> Seen:
        page = await self.visit("/signin")
        return await self.submit(page, "/signin", provider=provider)

    async def _go(self, method: str, url: str, data: dict[str, str] | None = None) -> Seen:
        seen = await self._once(method, url, data)
        for _ in range(HOPS_MAX):
            if seen.status not in (301, 302, 303, 307):
                return seen
            target = urljoin(seen.url, seen.headers["Location"])
            if target.startswith(CALLBACK):
                return Seen(200, target, "", {})
            seen = await self._once("GET", target)
        raise AssertionError(f"a loop of redirects: {self.visited[-HOPS_MAX:]}")

    async def _once(self, method: str, url: str, data: dict[str, str] | None = None) -> Seen:
        self.visited.append(url)
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Host": parts.netloc}
        if jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if method == "POST":
            headers["Origin"] = f"{parts.scheme}://{parts.netloc}"
        target = re.sub(r"^http://[a-z0-9.]*localhost:", "http://127.0.0.1:", url)
        async with self.rig.client.request(
            method, target, headers=headers, data=data, allow_redirects=False
        ) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                self._keep(jar, line)
            return Seen(answer.status, url, await answer.text(), answer.headers)

    def _keep(self, jar: dict[str, str], line: str) -> None:
        if not self.keeps_cookies:
            return
        for name, morsel in SimpleCookie(line).items():
            if morsel["max-age"] == "0":
                jar.pop(name, None)
            else:
                jar[name] = morsel.value


@dataclass
class Program:
    """A public client of ours: registered, with a verifier of its own for every time it asks."""

    rig: Rig
    client_id: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(8))

    def url(self, **differs: str | None) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": self.state,
            "resource": f"{self.rig.origin}/mcp",
            **differs,
        }
        return "/authorize?" + urlencode({name: value for name, value in query.items() if value is not None})

    async def redeem(self, answer: Seen, **differs: str) -> tuple[int, dict[str, Any]]:
        """The code for tokens."""
        assert answer.query.get("state") == self.state, answer
        fields = {
            "grant_type": "authorization_code",
            "code": answer.query["code"],
            "redirect_uri": CALLBACK,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            **differs,
        }
        return await self.post("/token", fields)

    async def refresh(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self.client_id}
        return await self.post("/token", fields)

    async def post(self, path: str, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with self.rig.request("POST", path, data=fields) as answer:
            text = await answer.text()
            return answer.status, (await answer.json() if text else {})


async def program(rig: Rig, name: str = "A program", redirect_uri: str = CALLBACK) -> Program:
    body = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    async with rig.request("POST", "/register", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return Program(rig, (await answer.json())["client_id"])
