"""Drives the official client of the major before ours (mcp 1.x), in an environment of its own."""

import asyncio
from typing import Any

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from tests.clients.said import Callback, callback, ordered, released, say_done, say_open


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

    async def answer() -> tuple[str, str | None]:
        told = await heard.answer()
        return told["code"], told.get("state")

    metadata = OAuthClientMetadata.model_validate(
        {
            "client_name": "mcp 1.x of the tests",
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
        create_mcp_http_client(auth=provider(order.url, heard)) as http,
        streamable_http_client(order.url, http_client=http) as (reads, writes, _),
        ClientSession(reads, writes) as session,
    ):
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        answer = await session.call_tool(order.tool, order.arguments)
        assert not answer.isError, answer.content
        say_done(released("mcp"), tools, answer.structuredContent)


if __name__ == "__main__":
    asyncio.run(main())
