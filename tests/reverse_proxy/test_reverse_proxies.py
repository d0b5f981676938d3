"""The reverse proxies of docs/reverse-proxy.md, by the configuration that is printed there; and the edge."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from tests.reverse_proxy.rig import BLOCK, CLIENT_ADDRESS, PROXIES, Proxied, behind

LARGE_BLOCKS = (200 << 20) // len(BLOCK)
GROWTH_MIB_MAX = 64.0
LONG_VALUE = "x" * 12_000


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PROXIES)
async def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Proxied]:
    async with behind(request.param, tmp_path_factory.mktemp(request.param)) as built:
        yield built


async def test_people_get_the_sign_in_page_and_leave_for_their_provider(proxied: Proxied) -> None:
    async with proxied.client.get(f"{proxied.origin}/signin", headers={"Accept": "text/html"}) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        assert "GitHub" in text
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    token = re.search(r'name="csrf" value="([^"]+)"', text)
    assert token is not None, text
    headers = {"Origin": proxied.origin, "Cookie": cookie.partition(";")[0]}
    form = {"csrf": token[1], "provider": "github"}
    async with proxied.client.post(
        f"{proxied.origin}/signin", data=form, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == 303, await answer.text()
        assert f"redirect_uri=https%3A%2F%2Fmcp.test%3A{proxied.port}" in answer.headers["Location"]


async def test_plain_http_leads_to_https(proxied: Proxied) -> None:
    url = f"http://mcp.test:{proxied.plain_port}/account"
    async with proxied.client.get(url, allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"].startswith("https://mcp.test")


async def test_events_arrive_as_they_happen(proxied: Proxied) -> None:
    """The second comes only once the first was read: whoever collects them waits for ever."""
    async with proxied.client.get(f"{proxied.home}/open/events") as answer:
        async with asyncio.timeout(30):
            assert await answer.content.readuntil(b"\n\n") == b"data: first\n\n"
            proxied.workload.go_on.set()
            assert await answer.content.readuntil(b"\n\n") == b"data: second\n\n"


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", ["waits", "waits/streaming"])
async def test_who_hangs_up_is_not_worked_for_any_longer(proxied: Proxied, path: str, method: str) -> None:
    """It is how a client cancels a call, and how streams end."""
    proxied.workload.waits.clear()
    proxied.workload.was_left.clear()

    lines = (f"{method} /open/{path} HTTP/1.1", f"Host: {URL(proxied.home).authority}", "Content-Length: 2")
    client = await proxied.connect()
    client.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + b"{}")
    async with asyncio.timeout(30):
        await proxied.workload.waits.wait()
        client.transport.abort()
        await proxied.workload.was_left.wait()


async def test_a_websocket_passes_both_ways(proxied: Proxied) -> None:
    url = f"{proxied.home}/open/socket"
    async with proxied.client.ws_connect(url, headers={"Origin": proxied.home}, max_msg_size=0) as socket:
        await socket.send_str("hello")
        assert (await socket.receive_str(timeout=30)) == "hello"
        await socket.send_bytes(BLOCK * 16)
        assert (await socket.receive_bytes(timeout=30)) == BLOCK * 16


async def test_large_bodies_pass_both_ways_in_constant_memory(proxied: Proxied) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(LARGE_BLOCKS):
            yield BLOCK

    checksum = 0
    for _ in range(LARGE_BLOCKS):
        checksum = zlib.crc32(BLOCK, checksum)
    before = proxied.now_mib()
    proxied.reset_peaks()
    size_bytes = LARGE_BLOCKS * len(BLOCK)
    async with proxied.client.post(f"{proxied.home}/open/upload", data=blocks()) as answer:
        assert answer.status == 200
        assert json.loads(await answer.read()) == [size_bytes, checksum]
    async with proxied.client.get(f"{proxied.home}/open/download/{LARGE_BLOCKS}") as answer:
        received, got = 0, 0
        async for piece in answer.content.iter_chunked(len(BLOCK)):
            received, got = received + len(piece), zlib.crc32(piece, got)
    assert (received, got) == (size_bytes, checksum)
    grown = {pid: peak - before[pid] for pid, peak in proxied.peak_mib().items()}
    assert max(grown.values()) < GROWTH_MIB_MAX, grown


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 502, 503, 504])
async def test_an_answer_that_is_no_success_passes_as_it_is(proxied: Proxied, status: int) -> None:
    async with proxied.client.get(f"{proxied.home}/open/status/{status}") as answer:
        assert answer.status == status
        assert await answer.text() == f"the workload says {status}"


async def test_the_gateways_own_refusals_pass_as_they_are(proxied: Proxied) -> None:
    async with proxied.client.post(f"{proxied.origin}/mcp", data=b"{}") as answer:
        assert answer.status == 401
        assert f'resource_metadata="{proxied.origin}/' in answer.headers["WWW-Authenticate"]
    async with proxied.client.get(f"{proxied.origin}/no/such/page") as answer:
        assert answer.status in (401, 404)
        assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_who_calls_is_the_client_and_not_what_it_claims(proxied: Proxied) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    async with proxied.client.get(f"{proxied.home}/open", headers=forged) as answer:
        seen = json.loads(await answer.read())
    assert seen["x-forwarded-for"] == CLIENT_ADDRESS
    assert f"https://{seen['x-forwarded-host']}" == proxied.home
    assert seen["x-forwarded-proto"] == "https"


async def test_a_long_header_passes(proxied: Proxied) -> None:
    async with proxied.client.get(f"{proxied.home}/open", headers={"X-Long": LONG_VALUE}) as answer:
        assert json.loads(await answer.read())["x-long"] == LONG_VALUE


async def test_a_path_with_two_readings_is_still_refused(proxied: Proxied) -> None:
    """A proxy that tidied it up would have the gateway judge another path than was asked for."""
    for path in ("/open/%2e%2e/mcp", "/open/%2fmcp", "/open;x/y"):
        async with proxied.client.get(URL(f"{proxied.home}{path}", encoded=True)) as answer:
            assert answer.status == 400, path
