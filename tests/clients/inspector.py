"""Drives the Inspector's command line: one run signs in and lists tools, the next calls one as signed in.

Without a terminal it refuses to sign in, so it gets one as its standard input; it tells the address to open
on its standard error. NODE and NPM_MODULES say where Node and the package are.
"""

import asyncio
import json
import os
import pty
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.said import Order, ordered, say_done, say_open

INVITATION = "Please navigate to:"
PACKAGE = Path(os.environ["NPM_MODULES"]) / "@modelcontextprotocol" / "inspector"
RUN_S_MAX = 90.0


class Inspector:
    """Its runs share what it keeps."""

    def __init__(self, order: Order, keeps: str, terminal: int) -> None:
        self._order = order
        self._terminal = terminal
        self._environment = {
            **os.environ,
            "HOME": keeps,
            "MCP_STORAGE_DIR": keeps,
            "MCP_INSPECTOR_SECRET_STORE": "file",
            "MCP_AUTO_OPEN_ENABLED": "false",
            "MCP_OAUTH_CALLBACK_URL": f"http://127.0.0.1:{_free_port()}/oauth/callback",
        }

    async def run(self, *words: str) -> Any:
        program = PACKAGE / "clients" / "launcher" / "build" / "index.js"
        fixed = ("--cli", self._order.url, "--transport", "http", "--format", "json")
        running = await asyncio.create_subprocess_exec(
            *(os.environ["NODE"], str(program), *fixed, *words),
            env=self._environment,
            stdin=self._terminal,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert running.stdout is not None
        assert running.stderr is not None
        async with asyncio.timeout(RUN_S_MAX):
            output, errors = await asyncio.gather(running.stdout.read(), _read_invitations(running.stderr))
            if await running.wait():
                raise RuntimeError(f"the Inspector ended with {running.returncode}: {errors}")
        return json.loads(output)["result"]


async def _read_invitations(said: asyncio.StreamReader) -> str:
    lines = []
    while line := (await said.readline()).decode(errors="replace"):
        lines.append(line)
        if INVITATION in line and (address := re.search(r"https?://\S+", line)):
            say_open(address[0])
    return "".join(lines)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def main() -> None:
    order = ordered()
    ours, its = pty.openpty()
    with tempfile.TemporaryDirectory() as keeps:
        inspector = Inspector(order, keeps, its)
        listed = await inspector.run("--method", "tools/list")
        call = ("--method", "tools/call", "--tool-name", order.tool)
        answer = await inspector.run(
            *call, "--tool-args-json", json.dumps(order.arguments), "--stored-auth-only"
        )
    os.close(ours)
    os.close(its)
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    tools = [tool["name"] for tool in listed["tools"]]
    say_done(f"@modelcontextprotocol/inspector {version}", tools, answer.get("structuredContent"))


if __name__ == "__main__":
    asyncio.run(main())
