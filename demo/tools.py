"""The MCP tools: small, and each shows one thing that a gateway or a reconciler might get wrong.

What they refuse to know: HTTP routes, and who is allowed to call. `demo.app` mounts the server.
"""

import asyncio
import os
import socket
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from demo.calls import DISCONNECT_KEY, CallLog, paused

STEPS_MAX = 10_000
INTERVAL_MAX_S = 60.0
ANSWER_MAX_BYTES = 64 * 1024 * 1024
NOTE_MAX_BYTES = 1024 * 1024

AnyContext = Context[Any, Any]


def add_tools(server: MCPServer[Any], data_dir: Path, calls: CallLog) -> None:
    """Register every tool on `server`."""
    _add_answers(server)
    _add_long_calls(server, calls)
    _add_state(server, data_dir)


def _add_answers(server: MCPServer[Any]) -> None:
    @server.tool()
    async def echo(text: str) -> str:
        """Give the text back."""
        return text

    @server.tool(structured_output=False)  # or the answer would hold the text twice
    async def big(size_bytes: Annotated[int, Field(ge=0, le=ANSWER_MAX_BYTES)]) -> str:
        """Answer with so many bytes of text."""
        return "x" * size_bytes

    @server.tool()
    async def whoami(ctx: AnyContext) -> dict[str, Any]:
        """Tell which process answers, and every header that reached it."""
        request = ctx.request_context.request
        headers = (
            []
            if request is None
            else [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw]
        )
        return {"hostname": socket.gethostname(), "pid": os.getpid(), "headers": headers}


def _add_long_calls(server: MCPServer[Any], calls: CallLog) -> None:
    @server.tool()
    async def slow(
        ctx: AnyContext,
        steps: Annotated[int, Field(ge=0, le=STEPS_MAX)] = 5,
        interval_s: Annotated[float, Field(ge=0, le=INTERVAL_MAX_S)] = 0.2,
        label: str = "",
    ) -> str:
        """Take some time, and report progress after every step."""
        request = ctx.request_context.request
        gone: asyncio.Event | None = None if request is None else request.scope.get(DISCONNECT_KEY)
        with calls.recorded(label or uuid4().hex) as call:
            for step in range(1, steps + 1):
                await paused(interval_s, call, gone)
                call.steps_count = step
                await ctx.report_progress(step, steps, f"step {step} of {steps}")
            return f"{call.label}: {steps} steps"

    @server.tool(name="calls")
    async def calls_tool(label: str = "") -> dict[str, Any]:
        """Tell what became of the long calls, or of the one with this label."""
        return {"calls": calls.snapshot(label or None)}


def _add_state(server: MCPServer[Any], data_dir: Path) -> None:
    count = 0

    @server.tool()
    async def counter(add: int = 1) -> int:
        """Add to a number that is kept in memory, and tell it."""
        nonlocal count
        count += add
        return count

    @server.tool()
    async def disk(text: Annotated[str | None, Field(max_length=NOTE_MAX_BYTES)] = None) -> str:
        """Keep a text in the data directory, or tell the one that is kept there."""
        return await asyncio.to_thread(_kept, data_dir / "note.txt", text)


def _kept(note: Path, text: str | None) -> str:
    if text is None:
        return note.read_text("utf-8") if note.exists() else ""
    draft = note.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(note)
    return text
