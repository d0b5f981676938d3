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

START_S_MAX = 30.0
END_S_MAX = 5.0
PRELOADED = Path(__file__).parent.parent / "npm" / "modules.mjs"


async def node_words(script: Path, modules: Path | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command and the environment with which Node runs the script on ``modules``, or on tests/npm's."""
    base = await asyncio.to_thread(ensure_conformance_suite)
    words = (node_program(base), f"--import={PRELOADED.as_uri()}", str(script))
    return words, {**os.environ, "NPM_MODULES": str(modules or base)}


@asynccontextmanager
async def node_server(script: Path, settings: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The line of JSON that the script prints when it serves. It ends with the block."""
    words, environment = await node_words(script)
    server = await asyncio.create_subprocess_exec(
        *words,
        json.dumps(settings),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(START_S_MAX):
            line = await server.stdout.readline()
        if not line:
            raise AssertionError(f"{script.name} ended with {await server.wait()} before it served")
        drain = asyncio.create_task(server.stdout.read())  # so that it never blocks on a full pipe
        yield json.loads(line)
        drain.cancel()
    finally:
        await _end(server)


async def _end(server: asyncio.subprocess.Process) -> None:
    if server.returncode is None:
        server.terminate()
    try:
        async with asyncio.timeout(END_S_MAX):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()
    if server.stdin is not None:
        server.stdin.close()
