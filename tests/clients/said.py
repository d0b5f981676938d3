"""What a driver says and hears. Standard library alone: drivers run in environments without our packages.

A driver takes an MCP address, a tool's name and its arguments (JSON), and says lines of JSON on its standard
output: ``{"open": url}`` whenever the client would open a browser, and last ``{"client": …, "tools": […],
"answer": …}``. Whoever runs it visits the addresses (:mod:`tests.clients.run`).
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ANSWER_S_MAX = 60.0
HEAD_BYTES_MAX = 16384


@dataclass(frozen=True)
class Order:
    """What the driver is to do."""

    url: str
    tool: str
    arguments: dict[str, Any]


def ordered() -> Order:
    _, url, tool, arguments = sys.argv
    return Order(url, tool, json.loads(arguments))


def say_open(url: str) -> None:
    """In place of a browser."""
    _say({"open": url})


def say_done(client: str, tools: Sequence[str], answer: Any) -> None:
    _say({"client": client, "tools": sorted(tools), "answer": answer})


def released(package: str) -> str:
    return f"{package} {version(package)}"


def _say(said: Mapping[str, Any]) -> None:
    print(json.dumps(said), flush=True)  # noqa: T201 - the standard output is how a driver speaks


class Callback:
    """The client's own address on loopback, where the browser brings the answer."""

    def __init__(self) -> None:
        self._told: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.url = ""

    async def answer(self) -> dict[str, str]:
        async with asyncio.timeout(ANSWER_S_MAX):
            return await self._told

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode()
        query = urlsplit(line.split(" ")[1]).query
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndone\n")
        await writer.drain()
        writer.close()
        if not self._told.done():
            self._told.set_result(dict(parse_qsl(query)))


@contextlib.asynccontextmanager
async def callback() -> AsyncIterator[Callback]:
    made = Callback()
    server = await asyncio.start_server(made.take, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
    async with server:
        yield made
