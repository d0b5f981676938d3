"""The official MCP client, in both eras, through the gateway to the demo workload as a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.hold.limits import HoldLimits
from tests.gateway.rig import MCP_ACCEPT, Container, Rig, bearer, gateway, until_true
from tests.gateway.test_holding import held
from tests.gateway.test_processes import free_port

ROOT = Path(__file__).parents[2]
BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


@asynccontextmanager
async def demo(name: str, data_dir: Path) -> AsyncIterator[Container]:
    """The demo workload; what stands for its container is only where it listens."""
    port = free_port()
    data_dir.mkdir()
    environment = {**os.environ, "PORT": str(port), "DATA_DIR": str(data_dir)}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "demo"), env=environment, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until_true(lambda: _answers(f"http://127.0.0.1:{port}/health"), "the demo's health")
        yield Container(name, port)
    finally:
        running.kill()
        await running.wait()


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return bool(answer.status == 200)
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def client_of(rig: Rig, key: str, user: str, era: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=bearer(key, user), timeout=60, trust_env=False) as http,
        Client(streamable_http_client(f"{rig.origin}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


@BOTH_ERAS
async def test_two_users_reach_two_containers_and_neither_sees_a_token(tmp_path: Path, era: str) -> None:
    async with gateway() as rig, demo("a", tmp_path / "a") as alice, demo("b", tmp_path / "b") as bob:
        await rig.add_template()
        key = await rig.add_app("shop")
        for name, stand_in in (("alice", alice), ("bob", bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.route(name, stand_in)
        await rig.applied()
        async with client_of(rig, key, "alice", era) as one, client_of(rig, key, "bob", era) as other:
            told = await asyncio.gather(call(one, "whoami"), call(other, "whoami"))
            assert told[0]["pid"] != told[1]["pid"]
            again = await asyncio.gather(call(one, "whoami"), call(other, "whoami"))
            assert [told[0]["pid"], told[1]["pid"]] == [again[0]["pid"], again[1]["pid"]]
            names = {name for name, _ in told[0]["headers"]}
            assert not names & {"authorization", "x-app-user"}
            assert "echo" in [tool.name for tool in (await one.list_tools()).tools]


@BOTH_ERAS
async def test_a_client_of_a_container_that_is_not_there_yet_is_answered_when_it_is(
    tmp_path: Path, era: str
) -> None:
    limits = HoldLimits(silence_s=0.3, comment_every_s=0.2)
    async with gateway(limits) as rig, demo("a", tmp_path / "a") as alice:
        await rig.add_template()
        key = await rig.add_app("shop")
        await rig.add_user("alice", "app:shop.alice")
        await rig.applied()

        async def echo() -> Any:
            async with client_of(rig, key, "alice", era) as client:
                return await call(client, "echo", text="hello")

        answer = asyncio.create_task(echo())
        await held(rig, 1)
        await asyncio.sleep(1.0)  # so that whoever takes comments has heard some
        await rig.route("alice", alice)
        assert await answer == {"result": "hello"}


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
JSON_OR_EVENTS = {"Accept": MCP_ACCEPT, "MCP-Protocol-Version": "2025-11-25"}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("POST", marks=pytest.mark.negative(54)),
        pytest.param("GET", marks=pytest.mark.negative(55)),
        pytest.param("DELETE", marks=pytest.mark.negative(56)),
    ],
)
async def test_another_users_session_id_is_404(tmp_path: Path, method: str) -> None:
    async with gateway() as rig, demo("a", tmp_path / "a") as alice, demo("b", tmp_path / "b") as bob:
        await rig.add_template()
        key = await rig.add_app("shop")
        for name, stand_in in (("alice", alice), ("bob", bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.route(name, stand_in)
        await rig.applied()
        headers = bearer(key, "alice", **JSON_OR_EVENTS)
        async with rig.request("POST", "/mcp", headers=headers, json=INITIALIZE) as answer:
            session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]}
            await answer.read()
        body = LIST if method == "POST" else None
        theirs = bearer(key, "bob", **JSON_OR_EVENTS, **session)
        async with rig.request(method, "/mcp", headers=theirs, json=body) as answer:
            assert answer.status == 404
        own = bearer(key, "alice", **JSON_OR_EVENTS, **session)
        async with rig.request("POST", "/mcp", headers=own, json=LIST) as answer:
            assert answer.status == 200, "and it goes on for its owner"


@pytest.mark.negative(65)
async def test_a_method_header_that_is_not_the_bodys_is_400(tmp_path: Path) -> None:
    """No policy of the gateway goes by the header, so it passes, and the server refuses it."""
    async with gateway() as rig, demo("a", tmp_path / "a") as alice:
        await rig.add_template()
        key = await rig.add_app("shop")
        await rig.add_user("alice", "app:shop.alice")
        await rig.route("alice", alice)
        await rig.applied()
        modern = {"Accept": MCP_ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        listing = {**LIST, "params": {"_meta": meta}}
        headers = bearer(key, "alice", **modern)
        async with rig.request("POST", "/mcp", headers=headers, json=listing) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["code"] == -32020
