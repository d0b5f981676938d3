"""The official MCP client as a program uses it for its users, in either era."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcpgw.testing.house import House

LEGACY, MODERN = "legacy", "2026-07-28"
BOTH_ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])
ANSWER_S_MAX = 120.0


@asynccontextmanager
async def client_of(house: House, user_id: str, era: str, **headers: str) -> AsyncIterator[Client]:
    """A connected client; ``headers`` are sent besides the App's."""
    async with (
        httpx2.AsyncClient(
            headers={**house.headers(user_id), **headers}, timeout=ANSWER_S_MAX, trust_env=False
        ) as http,
        Client(streamable_http_client(house.mcp_url, http_client=http), mode=era) as client,
    ):
        yield client


async def tool(client: Client, name: str, **arguments: Any) -> Any:
    """What a tool gave back."""
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    return answer.structured_content
