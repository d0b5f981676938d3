"""Hosts, origins and paths that two readers understand differently, byte for byte on the wire."""

from __future__ import annotations

import pytest

from tests.gateway.attacks.conftest import Place
from tests.gateway.attacks.test_smuggling import paths, serves
from tests.gateway.conftest import BOB_HOME
from tests.proxy.rig import status

pytestmark = pytest.mark.asyncio(loop_scope="module")

# {own}: the gateway's authority; {bob}: that of Bob's Home; {port}: the port of both.
HOSTS = {
    "another site's": ("Host: evil.example",),
    "Bob's Home": ("Host: {bob}",),
    "a name below Bob's Home": ("Host: x.{bob}",),
    "the gateway's with another's behind": ("Host: {own}.evil.example",),
    "the gateway's in front of an at": ("Host: {own}@evil.example",),
    "the gateway's behind an at": ("Host: evil.example@{own}",),
    "with a path": ("Host: {own}/x",),
    "with a query": ("Host: {own}?x",),
    "with a fragment": ("Host: {own}#x",),
    "with a backslash": ("Host: {own}\\x",),
    "with a space in it": ("Host: local host:{port}",),
    "with two behind a comma": ("Host: {own},{bob}",),
    "with another port": ("Host: localhost:1",),
    "with two ports": ("Host: {own}:{port}",),
    "with a port that is no number": ("Host: localhost:http",),
    "with a port that overflows": ("Host: localhost:4294976296",),
    "with no port": ("Host: localhost",),
    "empty": ("Host:",),
    "escaped": ("Host: localhos%74:{port}",),
    "in full-width letters": ("Host: \uff4c".encode().decode("latin-1") + "ocalhost:{port}",),
    "with a NUL": ("Host: {own}\x00",),
    "twice": ("Host: {own}", "Host: {own}"),
    "twice, and different": ("Host: {own}", "Host: {bob}"),
    "folded": ("Host:\r\n {own}",),
    "with a space before its colon": ("Host : {own}",),
}
TARGETS = {
    "absolute, of another site": "http://evil.example/mcp",
    "absolute, of Bob's Home": "http://{bob}/mcp",
    "absolute, with an at": "http://x@{own}/mcp",
    "absolute, of another scheme": "ftp://{own}/mcp",
    "without its scheme": "//{own}/mcp",
    "an authority": "{own}",
    "an asterisk": "*",
    "a parent": "/mcp/../u/app:shop.bob/mcp",
    "a parent, escaped": "/mcp/%2e%2e/u/app:shop.bob/mcp",
    "a parent, half escaped": "/mcp/.%2e/u/app:shop.bob/mcp",
    "a parent, escaped twice": "/mcp/%252e%252e/u/app:shop.bob/mcp",
    "a parent behind a parameter": "/mcp/..;/u/app:shop.bob/mcp",
    "a parent behind a backslash": "/mcp\\..\\u\\app:shop.bob\\mcp",
    "a slash, escaped": "/mcp%2f..%2fu%2fapp:shop.bob%2fmcp",
    "two slashes": "//mcp",
    "a NUL, escaped": "/mcp%00/u/app:shop.bob/mcp",
    "a line end, escaped": "/mcp%0d%0aX-App-User:%20bob",
    "an overlong dot": "/mcp/%c0%ae%c0%ae/u/app:shop.bob/mcp",
    "a question mark, escaped": "/mcp%3fx/../u/app:shop.bob/mcp",
    "a fragment": "/mcp#/../u/app:shop.bob/mcp",
    "another's path": "/u/app:shop.bob/mcp",
    "another's path, escaped": "/u/app%3Ashop.bob/mcp",
    "another's path by name": "/u/bob/mcp",
    "another's path in capitals": "/u/APP:SHOP.BOB/mcp",
    "what no route names": "/admin/mcp",
}
ORIGINS = {
    "another site": "Origin: https://evil.example",
    "no site": "Origin: null",
    "Bob's Home": "Origin: http://{bob}",
    "the gateway's with another's behind": "Origin: http://{own}.evil.example",
    "the gateway's in front of an at": "Origin: http://{own}@evil.example",
    "the gateway's by another scheme": "Origin: https://{own}",
    "the gateway's at another port": "Origin: http://localhost:1",
    "two": "Origin: http://{own}, https://evil.example",
    "two headers": "Origin: http://{own}\r\nOrigin: https://evil.example",
}


@pytest.mark.parametrize("name", HOSTS)
async def test_no_other_host_is_served(place: Place, name: str) -> None:
    lines = "".join(f"{line}\r\n" for line in HOSTS[name])
    await is_refused(place, f"POST /mcp HTTP/1.1\r\n{lines}")


@pytest.mark.parametrize("name", TARGETS)
async def test_no_other_target_is_served(place: Place, name: str) -> None:
    await is_refused(place, f"POST {TARGETS[name]} HTTP/1.1\r\nHost: {{own}}\r\n")


@pytest.mark.parametrize("name", ORIGINS)
async def test_no_page_of_another_origin_is_served(place: Place, name: str) -> None:
    await is_refused(place, f"POST /mcp HTTP/1.1\r\nHost: {{own}}\r\n{ORIGINS[name]}\r\n")


async def test_forwarding_headers_change_neither_the_host_nor_the_path(place: Place) -> None:
    place.bob.requests.clear()
    forged = (
        f"X-Forwarded-Host: {BOB_HOME}.localhost:{place.rig.port}",
        f"Forwarded: host={BOB_HOME}.localhost:{place.rig.port}",
        "X-Original-URL: /u/app:shop.bob/mcp",
        "X-Rewrite-URL: /u/app:shop.bob/mcp",
        "X-HTTP-Method-Override: DELETE",
        "X-Forwarded-Prefix: /u/app:shop.bob",
    )
    client = await place.connect()
    lines = (*forged, "Content-Length: 2", "Connection: close")
    await client.send(place.head("mallory", *lines) + b"\r\n{}")
    answer = await client.rest()
    await client.close()
    assert status(answer) == 200
    assert b'"container": "mallory"' in answer
    assert not place.bob.requests


async def is_refused(place: Place, start: str) -> None:
    """Mallory's request with this beginning is answered by the gateway, and reaches no container."""
    for one in (place.mallory, place.bob):
        one.requests.clear()
    names = {"own": place.host, "bob": f"{BOB_HOME}.localhost:{place.rig.port}", "port": str(place.rig.port)}
    for name, value in names.items():
        start = start.replace(f"{{{name}}}", value)
    proof = "".join(f"{line}\r\n" for line in place.proof("mallory"))
    client = await place.connect()
    await client.send(f"{start}{proof}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode("latin-1"))
    answer = await client.rest()
    await client.close()
    assert 400 <= status(answer) < 500, answer
    assert not paths(place.mallory), answer
    assert not paths(place.bob), answer
    await serves(place)
