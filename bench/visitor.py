"""A person's browser and a program of theirs, as far as signing in needs them: cookies, forms, redirects.

Decides what counts as arrived. Raises Astray with what was seen instead.
"""

import base64
import hashlib
import html
import re
import secrets
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bench.issuer import PERSON_HEADER
from bench.people import CALLBACK, PROGRAM, PROVIDER

ANSWER_S_MAX = 60.0
SAID_CHARS_MAX = 200
ACCOUNT_PAGE = "<title>Your account"
_TITLE = re.compile(r"<title>([^<]*)</title>")
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
_CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'


class Astray(Exception):
    """A person or a program did not arrive where it should have."""


class _Loopback(AbstractResolver):
    """A network namespace without addresses has no names either: every name is this machine's."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


class Visitor:
    """Somebody with a browser of their own: its cookies and its connections. Closed by ``async with``."""

    def __init__(self, origin: str, subject: str) -> None:
        self._origin = origin
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", PERSON_HEADER: subject}
        self._browser = aiohttp.ClientSession(
            connector=_connections(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
            headers=headers,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._browser.close()

    async def sign_in(self) -> None:
        """From the sign-in page by way of the provider to the account page."""
        page = await self._seen(self._browser.get(f"{self._origin}/signin"))
        form = {**_hidden(page), "provider": PROVIDER}
        headers = {"Origin": self._origin}
        async with self._browser.post(f"{self._origin}/signin", data=form, headers=headers) as answer:
            text = await answer.text()
            if answer.status != 200 or answer.url.path != "/" or ACCOUNT_PAGE not in text:
                raise Astray(_said(answer, text))

    async def allow(self, query: str) -> str:
        """Consent to what a program asks for; the address that the browser is sent on to."""
        page = await self._seen(self._browser.get(f"{self._origin}/authorize?{query}"))
        form = {**_hidden(page), "decision": "allow"}
        allowing = self._browser.post(
            f"{self._origin}/authorize", data=form, headers={"Origin": self._origin}, allow_redirects=False
        )
        async with allowing as answer:
            target = answer.headers.get("Location", "")
            if not target.startswith(CALLBACK):
                raise Astray(_said(answer, await answer.text()))
            return target

    async def _seen(self, asking: Any) -> str:
        async with asking as answer:
            text: str = await answer.text()
            if answer.status != 200:
                raise Astray(_said(answer, text))
            return text


async def connect(program: aiohttp.ClientSession, visitor: Visitor, origin: str) -> None:
    """All that a program does the first time: register, ask for consent, redeem the code, call."""
    registered = await _told(program, "POST", f"{origin}/register", 201, json=PROGRAM)
    verifier = secrets.token_urlsafe(48)
    client_id = registered["client_id"]
    target = await visitor.allow(_query(client_id, verifier, origin))
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(target).query)["code"][0],
        "redirect_uri": CALLBACK,
        "client_id": client_id,
        "code_verifier": verifier,
    }
    tokens = await _told(program, "POST", f"{origin}/token", 200, data=form)
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Content-Type": "application/json"}
    async with program.post(f"{origin}/mcp", data=_CALL, headers=headers) as answer:
        if answer.status != 200:
            raise Astray(_said(answer, await answer.text()))
        await answer.read()


def programs() -> aiohttp.ClientSession:
    """A program's connections; it has no cookies."""
    return aiohttp.ClientSession(
        connector=_connections(),
        timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _connections() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(resolver=_Loopback())


async def _told(
    program: aiohttp.ClientSession, method: str, url: str, status: int, **body: Any
) -> Mapping[str, Any]:
    async with program.request(method, url, **body) as answer:
        if answer.status != status:
            raise Astray(_said(answer, await answer.text()))
        told: Mapping[str, Any] = await answer.json()
        return told


def _query(client_id: str, verifier: str, origin: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return urlencode(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": secrets.token_urlsafe(8),
            "resource": f"{origin}/mcp",
        }
    )


def _hidden(page: str) -> dict[str, str]:
    return {html.unescape(name): html.unescape(value) for name, value in _HIDDEN.findall(page)}


def _said(answer: aiohttp.ClientResponse, text: str) -> str:
    """In one line: a page by its title, anything else by how it begins."""
    title = _TITLE.search(text)
    told = html.unescape(title[1]) if title else text
    return f"{answer.status} at {answer.url.path}: {' '.join(told.split())[:SAID_CHARS_MAX]}"
