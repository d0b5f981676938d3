"""Somebody at a browser: follows links and redirects, keeps cookies, sends the forms that a page shows.

Every name below ``localhost`` is this machine's, as browsers have it (RFC 6761) and C libraries do not.
"""

import html
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.auth.local import mint_sign_in_link
from gateway.main import AUTH_FILE
from mcpgw.testing.house import House
from state.store.auth import open_auth

NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
_FORM = re.compile(r'<form method="post" action="([^"]+)">(.*?)</form>', re.DOTALL)
_SNIPPET = re.compile(r"^python3 - <<'END'\n.*?^END$", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


class _Loopback(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        assert host == "localhost" or host.endswith(".localhost"), host
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        return


@dataclass(frozen=True)
class Page:
    status: int
    url: str
    text: str
    headers: Mapping[str, str]

    def form(self, action: str, **chosen: str) -> dict[str, str]:
        """The hidden fields of the form that leads to ``action`` and has the ``chosen`` values."""
        forms = [dict(_FIELD.findall(body)) for found, body in _FORM.findall(self.text) if found == action]
        fitting = [{k: html.unescape(v) for k, v in form.items()} for form in forms]
        return next(form for form in fitting if chosen.items() <= form.items())


class Person:
    def __init__(self, origin: str, http: aiohttp.ClientSession) -> None:
        self.origin = origin
        self.http = http

    async def visit(self, url: str) -> Page:
        async with self.http.get(url, headers=NAVIGATION) as answer:
            return await _page(answer)

    async def submit(self, page: Page, action: str, **chosen: str) -> Page:
        """Send a form of ``page`` and go where it leads."""
        headers = {**NAVIGATION, "Origin": self.origin}
        fields = page.form(action, **chosen)
        async with self.http.post(f"{self.origin}{action}", data=fields, headers=headers) as answer:
            return await _page(answer)

    async def account(self) -> Page:
        return await self.visit(f"{self.origin}/")

    def websocket(self, origin: str, path: str, **more: Any) -> Any:
        """A WebSocket as a page of ``origin`` opens it."""
        return self.http.ws_connect(f"{origin}{path}", headers={"Origin": origin}, **more)


async def sign_in_link(house: House) -> str:
    """A fresh one for the local developer, as the verb prints it."""
    auth = await open_auth(house.folder / "state" / AUTH_FILE)
    try:
        return await mint_sign_in_link(auth.tickets, house.origin)
    finally:
        await auth.close()


def printed_snippet(said: str) -> str:
    """The lines of `mcpgw up` that are to be pasted into another terminal."""
    found = _SNIPPET.search(said)
    assert found is not None, said
    return found[0]


@asynccontextmanager
async def person_at(origin: str) -> AsyncIterator[Person]:
    connector = aiohttp.TCPConnector(resolver=_Loopback())
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Person(origin, http)


async def _page(answer: aiohttp.ClientResponse) -> Page:
    return Page(answer.status, str(answer.url), await answer.text(), answer.headers)
