"""Drives mcp-remote: a program that speaks MCP on its standard streams and signs in when it must.

It tells the address to open on its standard error. NODE and NPM_MODULES say where Node and the package are.
"""

import asyncio
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TextIO

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.clients.said import Order, ordered, say_done, say_open

INVITATION = "Please authorize this client by visiting:"
PROGRAM = Path(os.environ["NPM_MODULES"]) / "mcp-remote"
SIGN_IN_S_MAX = 60


def server(order: Order, keeps: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=os.environ["NODE"],
        args=[str(PROGRAM / "dist" / "proxy.js"), order.url, "--auth-timeout", str(SIGN_IN_S_MAX)],
        # `true` is the browser that opens nothing: the robot reads the address.
        env={"MCP_REMOTE_CONFIG_DIR": keeps, "HOME": keeps, "BROWSER": "true"},
    )


async def read_invitations(said: asyncio.StreamReader) -> None:
    is_next = False
    while line := (await said.readline()).decode(errors="replace").strip():
        address = re.search(r"https?://\S+", line)
        if is_next and address:
            say_open(address[0])
        is_next = INVITATION in line


async def reading(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
    return reader


async def drive(order: Order, keeps: str, errors: TextIO) -> None:
    async with Client(stdio_client(server(order, keeps), errlog=errors), mode="legacy") as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool(order.tool, order.arguments)
        assert not answer.is_error, answer.content
        version = json.loads((PROGRAM / "package.json").read_text())["version"]
        say_done(f"mcp-remote {version}", tools, answer.structured_content)


async def main() -> None:
    order = ordered()
    ours, its = os.pipe()
    with tempfile.TemporaryDirectory() as keeps, os.fdopen(its, "w") as errors:
        invitations = asyncio.create_task(read_invitations(await reading(ours)))
        await drive(order, keeps, errors)
        invitations.cancel()


if __name__ == "__main__":
    asyncio.run(main())
