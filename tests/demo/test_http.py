"""The demo's pages, streams and controls, over plain HTTP."""

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.demo.rig import demo_process, the_call

SIZE_BYTES = 5_000_003


@pytest.fixture
async def http(demo_url: str) -> Any:
    async with aiohttp.ClientSession(demo_url) as session:
        yield session


async def test_the_page_calls_its_script_and_style_by_relative_urls(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        page = await answer.text()
    assert 'src="static/demo.js"' in page
    assert "<script>" not in page
    for name in ("static/demo.js", "static/demo.css"):
        async with http.get(f"/{name}") as answer:
            assert answer.status == 200


async def test_the_page_says_what_its_user_filled_in_and_no_secret(tmp_path: Path) -> None:
    with demo_process(tmp_path, DEMO_GREETING="Hi <Ada>", DEMO_TOKEN="sk-secret") as url:
        async with aiohttp.ClientSession(url) as http, http.get("/") as answer:
            page = await answer.text()
    assert '<p id="greeting">Hi &lt;Ada&gt;</p>' in page
    assert '<dd id="token">9 characters</dd>' in page
    assert "sk-secret" not in page


async def test_health_says_ok(http: aiohttp.ClientSession) -> None:
    async with http.get("/health") as answer:
        assert (await answer.text()).startswith("OK")


async def test_an_upload_is_counted_and_digested(http: aiohttp.ClientSession) -> None:
    body = bytes(range(251)) * 20_000
    async with http.post("/upload", data=io.BytesIO(body)) as answer:
        assert await answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("chunked", [0, 1])
async def test_a_download_has_the_size_that_was_asked_for(http: aiohttp.ClientSession, chunked: int) -> None:
    async with http.get(f"/download?bytes={SIZE_BYTES}&chunked={chunked}") as answer:
        assert len(await answer.read()) == SIZE_BYTES
        assert ("content-length" in answer.headers) == (not chunked)


@pytest.mark.parametrize("asked", ["-1", "x", "nan", "inf"])
async def test_a_download_of_no_size_is_refused(http: aiohttp.ClientSession, asked: str) -> None:
    async with http.get("/download", params={"bytes": asked}) as answer:
        assert answer.status == 400


async def test_the_event_stream_ticks_and_notices_its_reader_leaving(
    http: aiohttp.ClientSession, demo_url: str
) -> None:
    async with http.get("/sse?interval=0.01&label=ticks") as answer:
        lines = [await answer.content.readline() for _ in range(6)]
        answer.close()
    assert lines[1] == b'data: {"tick": 0}\n'
    assert lines[4] == b'data: {"tick": 1}\n'
    await the_call(demo_url, "ticks", state="cancelled")


async def test_the_websocket_pushes_then_echoes_text_and_bytes(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/ws?push=2", protocols=("demo",)) as socket:
        assert socket.protocol == "demo"
        assert [await socket.receive_str() for _ in range(2)] == ["tick 0", "tick 1"]
        await socket.send_str("hällo")
        assert await socket.receive_str() == "hällo"
        await socket.send_bytes(b"\x00" * 100_000)
        assert await socket.receive_bytes() == b"\x00" * 100_000


async def test_a_link_page_shows_its_parts_and_escapes_them(http: aiohttp.ClientSession) -> None:
    async with http.get("/link/home-<b>") as answer:
        page = await answer.text()
    assert '<code id="home">home</code>' in page
    assert "&lt;b&gt;" in page


async def test_headers_are_told_with_their_doubles(http: aiohttp.ClientSession) -> None:
    async with http.get("/headers", headers=[("x-a", "1"), ("x-a", "2")]) as answer:
        seen = (await answer.json())["headers"]
    assert [value for name, value in seen if name == "x-a"] == ["1", "2"]


async def test_health_fails_and_recovers_on_demand(http: aiohttp.ClientSession) -> None:
    for wanted, status in (("fail", 503), ("ok", 200)):
        async with http.post("/control", json={"health": wanted}) as answer:
            assert answer.status == 200
        async with http.get("/health") as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"health":"ok","exit":1}', '{"exit":"now"}', '{"allocate_mib":-1}']
)
async def test_a_control_that_is_none_is_refused(http: aiohttp.ClientSession, body: str) -> None:
    async with http.post("/control", data=body) as answer:
        assert answer.status == 400


async def test_the_demo_exits_when_told_to(tmp_path: Path) -> None:
    with demo_process(tmp_path) as url:
        async with aiohttp.ClientSession(url) as http:
            async with http.post("/control", json={"exit": 3}) as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectionError):
                for _ in range(500):
                    async with http.get("/health"):
                        await asyncio.sleep(0.02)


async def test_there_are_no_controls_unless_they_are_asked_for(tmp_path: Path) -> None:
    with demo_process(tmp_path, DEMO_CONTROLS="") as url:
        async with aiohttp.ClientSession(url) as http, http.post("/control", json={"exit": 0}) as answer:
            assert answer.status in (404, 405)
