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
from tests.gateway.rig import Container, Rig, bearer, gateway, until_true
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
