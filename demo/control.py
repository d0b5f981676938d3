"""Health, and the ways to lose it on purpose.

`/health` is what probes ask. `POST /control` takes one JSON object with one key: `{"health": "fail"}` or
`"ok"`, `{"exit": <code>}`, `{"hang": true}` (the event loop stops for good), `{"allocate_mib": <n>}`.
It is there only when DEMO_CONTROLS=1; `demo.app` sees to that.
"""

import asyncio
import os
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

HANG_S = 24 * 3600
ALLOCATE_MAX_MIB = 64 * 1024
ANSWER_FIRST_S = 0.05
PAGE_BYTES = 4096


async def health(request: Request) -> Response:
    """200 with a text that starts with OK, or 503 once told to fail."""
    if request.app.state.healthy:
        return PlainTextResponse("OK\n")
    return PlainTextResponse("told to be unhealthy\n", 503)


async def control(request: Request) -> Response:
    """Do the one harmful thing that is asked for, after the answer has gone out."""
    try:
        asked: Any = await request.json()
        [(what, value)] = asked.items()
    except (ValueError, AttributeError):
        return JSONResponse({"error": "send one JSON object with one key"}, 400)
    match what, value:
        case "health", "ok" | "fail":
            request.app.state.healthy = value == "ok"
        case "exit", int():
            _soon(os._exit, value)
        case "hang", True:
            _soon(time.sleep, HANG_S)
        case "allocate_mib", int() if 0 < value <= ALLOCATE_MAX_MIB:
            _soon(_allocate, request.app.state.ballast, value)
        case _:
            return JSONResponse({"error": f"no such control: {what}"}, 400)
    return JSONResponse({"done": what})


def _soon(action: Any, *arguments: Any) -> None:
    asyncio.get_running_loop().call_later(ANSWER_FIRST_S, action, *arguments)


def _allocate(ballast: list[bytearray], size_mib: int) -> None:
    """Hold so much memory and touch each page of it, or the kernel would not count it."""
    for _ in range(size_mib):
        block = bytearray(1024 * 1024)
        block[::PAGE_BYTES] = b"x" * (len(block) // PAGE_BYTES)
        ballast.append(block)
