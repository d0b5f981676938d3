"""Drives fastmcp 4.x as its users have it: with its own callback server, and its look before it leaps."""

import asyncio
import webbrowser
from typing import Any

from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.memory import MemoryStore

from tests.clients.said import ordered, released, say_done, say_open


def _open(url: str, *_: Any, **__: Any) -> bool:
    say_open(url)
    return True


async def main() -> None:
    order = ordered()
    webbrowser.open = _open
    async with Client(order.url, auth=OAuth(token_storage=MemoryStore())) as client:
        tools = [tool.name for tool in await client.list_tools()]
        answer = await client.call_tool(order.tool, order.arguments)
        say_done(released("fastmcp"), tools, answer.structured_content)


if __name__ == "__main__":
    asyncio.run(main())
