"""A Node script of ours that serves: started, waited for, and always ended."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcpgw.bootstrap.node import node_program
from mcpgw.bootstrap.testing import ensure_conformance_suite

ANSWER_S_MAX = 30.0
END_S_MAX = 5.0
PRELOADED = Path(__file__).parent.parent / "npm" / "modules.mjs"


async def node_words(script: Path, modules: Path | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command and the environment with which Node runs the script on ``modules``, or on tests/npm's."""
    base = await asyncio.to_thread(ensure_conformance_suite)
    words = (node_program(base), f"--import={PRELOADED.as_uri()}", str(script))
    return words, {**os.environ, "NPM_MODULES": str(modules or base)}


class NodeServer:
    """A script that serves, and takes lines of JSON for an answer each."""

    def __init__(self, name: str, running: asyncio.subprocess.Process) -> None:
        self._name = name
        self._running = running

    async def hear(self) -> dict[str, Any]:
        """Its next line. Raises AssertionError where it has ended instead."""
        assert self._running.stdout is not None
        async with asyncio.timeout(ANSWER_S_MAX):
            line = await self._running.stdout.readline()
        assert line, f"{self._name} ended with {await self._running.wait()} before it answered"
        return dict(json.loads(line))

    async def ask(self, words: Mapping[str, Any]) -> dict[str, Any]:
        assert self._running.stdin is not None
        self._running.stdin.write(json.dumps(words).encode() + b"\n")
        await self._running.stdin.drain()
        return await self.hear()


@asynccontextmanager
async def node_server(script: Path, settings: Mapping[str, Any]) -> AsyncIterator[NodeServer]:
    """The script, started. It ends with the block."""
    words, environment = await node_words(script)
    running = await asyncio.create_subprocess_exec(
        *words,
        json.dumps(settings),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield NodeServer(script.name, running)
    finally:
        await _end(running)


async def _end(running: asyncio.subprocess.Process) -> None:
    if running.returncode is None:
        running.terminate()
    try:
        async with asyncio.timeout(END_S_MAX):
            await running.wait()
    except TimeoutError:
        running.kill()
        await running.wait()
    if running.stdin is not None:
        running.stdin.close()
