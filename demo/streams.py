"""Bytes in both directions: uploads, downloads, an endless event stream, a WebSocket.

Every one of them runs in constant memory, so what a test measures is the way there and not this end.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from demo.calls import CallLog

BLOCK_BYTES = 64 * 1024
BLOCK = bytes(range(256)) * (BLOCK_BYTES // 256)
"""What downloads repeat: every byte value, so that a lost or doubled part shows in a digest."""
DOWNLOAD_MAX_BYTES = 16 * 1024**3
INTERVAL_MIN_S, INTERVAL_MAX_S = 0.001, 3600.0
PUSHED_MAX_COUNT = 100_000


async def upload(request: Request) -> Response:
    """Count and digest the body."""
    digest = hashlib.sha256()
    size_bytes = 0
    async for part in request.stream():
        digest.update(part)
        size_bytes += len(part)
    return JSONResponse({"bytes": size_bytes, "sha256": digest.hexdigest()})


async def download(request: Request) -> Response:
    """Send `?bytes=n` bytes; with a length, or chunked when `?chunked=1`."""
    size_bytes = _number(request.query_params.get("bytes"), 1024.0, 0, DOWNLOAD_MAX_BYTES)
    if size_bytes is None:
        return Response(f"bytes must be a number from 0 to {DOWNLOAD_MAX_BYTES}\n", 400)
    headers = {} if request.query_params.get("chunked") == "1" else {"content-length": str(int(size_bytes))}
    return StreamingResponse(_blocks(int(size_bytes)), headers=headers, media_type="application/octet-stream")


async def _blocks(size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(size_bytes // BLOCK_BYTES):
        yield BLOCK
    if rest := size_bytes % BLOCK_BYTES:
        yield BLOCK[:rest]


async def sse(request: Request) -> Response:
    """Tick for ever, every `?interval=` seconds; `?label=` names the record of it in the calls."""
    interval_s = _number(request.query_params.get("interval"), 1.0, INTERVAL_MIN_S, INTERVAL_MAX_S)
    if interval_s is None:
        return Response(f"interval must be a number from {INTERVAL_MIN_S} to {INTERVAL_MAX_S}\n", 400)
    calls: CallLog = request.app.state.calls
    ticks = _ticks(calls, request.query_params.get("label") or uuid4().hex, interval_s)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(ticks, headers=headers, media_type="text/event-stream")


async def _ticks(calls: CallLog, label: str, interval_s: float) -> AsyncIterator[str]:
    with calls.recorded(label) as call:
        while True:
            yield f'id: {call.steps_count}\ndata: {{"tick": {call.steps_count}}}\n\n'
            call.steps_count += 1
            await asyncio.sleep(interval_s)


async def websocket(socket: WebSocket) -> None:
    """Push `?push=n` ticks first, then give back each frame as it came, text as text and bytes as bytes."""
    offered = socket.scope.get("subprotocols") or [None]
    await socket.accept(subprotocol=offered[0])
    calls: CallLog = socket.app.state.calls
    pushed_count = _number(socket.query_params.get("push"), 0.0, 0, PUSHED_MAX_COUNT) or 0
    with calls.recorded(socket.query_params.get("label") or uuid4().hex) as call:
        try:
            for tick in range(int(pushed_count)):
                await socket.send_text(f"tick {tick}")
            while True:
                await _echo(socket)
                call.steps_count += 1
        except WebSocketDisconnect:
            return


async def _echo(socket: WebSocket) -> None:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    if message.get("bytes") is not None:
        await socket.send_bytes(message["bytes"])
    else:
        await socket.send_text(message["text"])


def _number(text: str | None, default: float, least: float, most: float) -> float | None:
    """The number in `text`, the default without one, and None for what is no number within the bounds."""
    try:
        number = default if text is None else float(text)
    except ValueError:
        return None
    return number if least <= number <= most else None
