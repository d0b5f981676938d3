"""Drives the official client (mcp 2.x)."""

import asyncio
from typing import Any

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from tests.clients.said import Callback, callback, ordered, released, say_done, say_open

CALL_S_MAX = 60.0


class Memory:
    """What the client keeps, for as long as it runs."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


def provider(url: str, heard: Callback) -> OAuthClientProvider:
    async def open_url(authorization_url: str) -> None:
        say_open(authorization_url)

    async def answer() -> AuthorizationCodeResult:
        told = await heard.answer()
        return AuthorizationCodeResult(code=told["code"], state=told.get("state"), iss=told.get("iss"))

    metadata = OAuthClientMetadata.model_validate(
        {
            "client_name": "mcp 2.x of the tests",
            "redirect_uris": [heard.url],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
    )
    return OAuthClientProvider(url, metadata, Memory(), open_url, answer)


async def main() -> None:
    order = ordered()
    async with (
        callback() as heard,
        httpx2.AsyncClient(
            auth=provider(order.url, heard), timeout=CALL_S_MAX, trust_env=False, follow_redirects=True
        ) as http,
        Client(streamable_http_client(order.url, http_client=http)) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool(order.tool, order.arguments)
        assert not answer.is_error, answer.content
        say_done(released("mcp"), tools, answer.structured_content)


if __name__ == "__main__":
    asyncio.run(main())
