"""The tools through the official client, in both eras: sessions, and the stateless protocol."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mcp import Client
from mcp.types import TextContent

from tests.demo.rig import demo_container, the_call
from tests.engines import RealEngine

LEGACY, MODERN = "legacy", "2026-07-28"
BOTH_ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])
TOOLS = {"echo", "slow", "big", "whoami", "counter", "disk", "calls"}
BIG_BYTES = 1_000_000
"""The official client takes no event over 1 MiB unless told to."""


def client(url: str, era: str) -> Client:
    return Client(f"{url}/mcp", mode=era)


async def structured(mcp: Client, tool: str, **arguments: Any) -> Any:
    answer = await mcp.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    return answer.structured_content


@BOTH_ERAS
async def test_the_tools_are_listed_in_the_era_that_was_asked_for(demo_url: str, era: str) -> None:
    async with client(demo_url, era) as mcp:
        assert {tool.name for tool in (await mcp.list_tools()).tools} >= TOOLS
        assert mcp.protocol_version == ("2025-11-25" if era == LEGACY else MODERN)


@BOTH_ERAS
async def test_echo_big_and_whoami_answer(demo_url: str, era: str) -> None:
    async with client(demo_url, era) as mcp:
        assert (await structured(mcp, "echo", text="hällo"))["result"] == "hällo"
        [content] = (await mcp.call_tool("big", {"size_bytes": BIG_BYTES})).content
        assert isinstance(content, TextContent)
        assert len(content.text) == BIG_BYTES
        headers = dict((await structured(mcp, "whoami"))["headers"])
        assert headers["content-type"] == "application/json"


@BOTH_ERAS
async def test_counter_and_disk_keep_their_state(demo_url: str, era: str) -> None:
    async with client(demo_url, era) as mcp:
        before = (await structured(mcp, "counter", add=0))["result"]
        await structured(mcp, "disk", text=f"kept in {era}")
        assert (await structured(mcp, "counter", add=3))["result"] == before + 3
        assert (await structured(mcp, "disk"))["result"] == f"kept in {era}"


@BOTH_ERAS
async def test_progress_arrives_before_the_answer(demo_url: str, era: str) -> None:
    seen: list[float] = []
    label = f"progress-{era}"

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if not seen:
            running = await the_call(demo_url, label, state="running")
            assert running["ended_at"] is None
        seen.append(progress)

    async with client(demo_url, era) as mcp:
        arguments = {"steps": 3, "interval_s": 0.3, "label": label}
        await mcp.call_tool("slow", arguments, progress_callback=on_progress)
    assert seen == [1, 2, 3]


async def test_a_disconnect_cancels_the_tool_in_the_stateless_era(demo_url: str) -> None:
    await _start_and_drop(demo_url, MODERN, "dropped-modern")
    call = await the_call(demo_url, "dropped-modern", state="cancelled")
    assert call["disconnected_at"] >= call["started_at"]


async def test_a_disconnect_reaches_the_tool_and_does_not_cancel_it_in_the_session_era(demo_url: str) -> None:
    await _start_and_drop(demo_url, LEGACY, "dropped-legacy")
    call = await the_call(demo_url, "dropped-legacy", state="finished")
    assert call["disconnected_at"] >= call["started_at"]


async def _start_and_drop(url: str, era: str, label: str) -> None:
    """Call `slow` by hand and close the connection in the middle; the SDK's client would cancel politely."""
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN}
    params: dict[str, Any] = {"name": "slow", "arguments": {"steps": 4, "interval_s": 0.5, "label": label}}
    async with aiohttp.ClientSession(headers=headers) as http:
        if era == LEGACY:
            http.headers["mcp-protocol-version"] = "2025-11-25"
            http.headers["mcp-session-id"] = await _session_id(http, url)
            params["_meta"] = {"progressToken": 1}
        else:
            http.headers["mcp-method"], http.headers["mcp-name"] = "tools/call", "slow"
            params["_meta"] = {
                "progressToken": 1,
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        async with http.post(f"{url}/mcp", json=body) as answer:
            assert answer.status == 200, await answer.text()
            await the_call(url, label, state="running")
            answer.close()


async def _session_id(http: aiohttp.ClientSession, url: str) -> str:
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    async with http.post(f"{url}/mcp", json=body) as answer:
        await answer.read()
        session_id = answer.headers["mcp-session-id"]
    http.headers["mcp-session-id"] = session_id
    async with http.post(
        f"{url}/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}
    ) as answer:
        assert answer.status == 202
    return session_id


@pytest.mark.engine
async def test_a_container_of_each_engine_serves_both_eras(
    real_engine: RealEngine, project_name: str, tmp_path: Path
) -> None:
    async with demo_container(real_engine, project_name, tmp_path) as url:
        for era in (LEGACY, MODERN):
            async with client(url, era) as mcp:
                assert (await structured(mcp, "disk", text=era))["result"] == era
                assert (await structured(mcp, "disk"))["result"] == era
