"""The official MCP client as a program uses it for its users, in either era."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import structlog
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcpgw.testing.house import House

LEGACY, MODERN = "legacy", "2026-07-28"
BOTH_ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])
ANSWER_S_MAX = 120.0

_log = structlog.get_logger(__name__)


async def _show_refusal(answer: httpx2.Response) -> None:
    """The official client swallows what a refusal says; where a test fails, its report shows it."""
    if answer.is_error:
        await answer.aread()
        said = f"{answer.status_code} {answer.text:.500}"
        _log.warning("refused", request=f"{answer.request.method} {answer.request.url}", answer=said)


@asynccontextmanager
async def client_of(house: House, user_id: str, era: str, **headers: str) -> AsyncIterator[Client]:
    """A connected client; ``headers`` are sent besides the App's."""
    async with (
        httpx2.AsyncClient(
            headers={**house.headers(user_id), **headers},
            timeout=ANSWER_S_MAX,
            trust_env=False,
            event_hooks={"response": [_show_refusal]},
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
