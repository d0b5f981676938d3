"""Runs a driver beside its person: whatever the client would open in a browser, the person visits.

``connected`` is all that tests need: it returns the driver's last line. A driver that fails, or does not end,
fails the test with its last words.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from mcpgw.bootstrap.testing import ensure_client_env, ensure_npm_clients
from tests.clients.robot import Seen
from tests.idp.node import node_words

DRIVE_S_MAX = 120.0
LAST_WORDS_CHARS_MAX = 3000
LINE_BYTES_MAX = 1 << 20
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Driver(StrEnum):
    """The real clients. Their values are the files that drive them."""

    MCP_1 = "mcp1.py"
    MCP_2 = "mcp2.py"
    FASTMCP_4 = "fastmcp4.py"
    TYPESCRIPT = "typescript.mjs"
    INSPECTOR = "inspector.py"
    MCP_REMOTE = "mcp_remote.py"
    STRICT = "strict.mjs"


class Visitor(Protocol):
    """Whoever goes where a client sends them, and allows it there."""

    async def visit(self, url: str, /) -> Seen: ...


@dataclass
class Connected:
    """What a client got: its tools' names, what the tool answered, and what else its driver tells."""

    client: str
    tools: list[str]
    answer: Any
    more: dict[str, Any] = field(default_factory=dict)
    visits: list[Seen] = field(default_factory=list)


async def connected(
    driver: Driver,
    mcp_url: str,
    person: Visitor,
    *,
    tool: str = "echo",
    arguments: Mapping[str, Any] | None = None,
) -> Connected:
    """Connect with OAuth, list the tools and call one. Raises AssertionError with the driver's last words."""
    words, environment = await _command(driver)
    order = (mcp_url, tool, json.dumps({"text": "hello"} if arguments is None else arguments))
    running = await asyncio.create_subprocess_exec(
        *(*words, *order),
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        start_new_session=True,  # so that what a driver starts ends with it
    )
    assert running.stderr is not None
    last_words = asyncio.create_task(running.stderr.read())
    try:
        async with asyncio.timeout(DRIVE_S_MAX):
            done = await _follow(running, person)
            code = await running.wait()
    except BaseException as error:
        _end(running)
        error.add_note(f"{driver}: {_tail(await last_words)}")
        raise
    finally:
        _end(running)
        await running.wait()
    assert code == 0, f"{driver} ended with {code}: {_tail(await last_words)}"
    assert done is not None, f"{driver} told no result: {_tail(await last_words)}"
    return done


async def _follow(running: asyncio.subprocess.Process, person: Visitor) -> Connected | None:
    assert running.stdout is not None
    visits: list[Seen] = []
    while line := await running.stdout.readline():
        told = json.loads(line)
        if "open" in told:
            visits.append(await person.visit(told["open"]))
        else:
            known = {name: told.pop(name) for name in ("client", "tools", "answer")}
            return Connected(**known, more=told, visits=visits)
    return None


async def _command(driver: Driver) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words that start it, and its environment."""
    if driver is Driver.MCP_1:
        python = await asyncio.to_thread(ensure_client_env)
        return (str(python), "-m", f"tests.clients.{Path(driver).stem}"), dict(os.environ)
    if driver in (Driver.MCP_2, Driver.FASTMCP_4):
        return (sys.executable, "-m", f"tests.clients.{Path(driver).stem}"), dict(os.environ)
    modules = await asyncio.to_thread(ensure_npm_clients)
    words, environment = await node_words(HERE / driver, modules)
    if driver in (Driver.INSPECTOR, Driver.MCP_REMOTE):
        environment["NODE"] = words[0]
        words = (sys.executable, "-m", f"tests.clients.{Path(driver).stem}")
    return words, environment


def _end(running: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)


def _tail(said: bytes) -> str:
    return said.decode(errors="replace")[-LAST_WORDS_CHARS_MAX:]
