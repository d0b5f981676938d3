"""The fastest upstream that one Python process can be: raw bytes in, canned bytes out.

`python -m bench.upstream PORT`. It stands for a workload that costs nothing, so that what is measured is the
proxy before it. By path: ``/mcp`` answers a call with 336 bytes and a GET with an idle event stream;
``/mcp/sink`` swallows a body; ``/mcp/flood`` sends FLOOD_BYTES; ``/mcp/hang`` never answers and prints the
moment (CLOCK_MONOTONIC, seconds) at which its client went away.
"""

import asyncio
import sys
import time

import uvloop

ANSWER_BODY_BYTES = 336
FLOOD_BYTES = 1 << 30
PIECE = b"\0" * (256 << 10)

_HEAD = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: %b\r\n%b\r\n\r\n"
ANSWER = (
    _HEAD
    % (b"application/json", b"mcp-session-id: 0123456789abcdef0123456789abcdef\r\ncontent-length: %d")
    % ANSWER_BODY_BYTES
) + b"x" * ANSWER_BODY_BYTES
STREAM = _HEAD % (b"text/event-stream", b"transfer-encoding: chunked") + b"7\r\n: hi\n\n\r\n"
SWALLOWED = _HEAD % (b"text/plain", b"content-length: 0")
FLOOD = _HEAD % (b"application/octet-stream", b"content-length: %d" % FLOOD_BYTES)


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._unread = b""
        self._swallow_bytes = 0  # of a sink's body, still to come
        self._hangs = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # asyncio's signature

    def data_received(self, data: bytes) -> None:
        if self._swallow_bytes:
            self._swallow(data)
            return
        data = self._unread + data
        answers = []
        while data and (end := data.find(b"\r\n\r\n")) >= 0:
            length = _content_length(data[:end])
            if data.startswith(b"POST /mcp HTTP") and len(data) >= end + 4 + length:
                answers.append(ANSWER)
                data = data[end + 4 + length :]
            elif data.startswith(b"POST /mcp HTTP"):
                break
            else:
                self._special(data[:end], length, data[end + 4 :])
                data = b""
        self._unread = data
        if answers:
            self._transport.write(b"".join(answers))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._flowing.set()
        if self._hangs:
            print(time.monotonic(), flush=True)

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    def _special(self, head: bytes, length: int, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/mcp/sink":
            self._swallow_bytes = length
            self._swallow(body)
        elif path == b"/mcp/flood":
            self._flooding = asyncio.ensure_future(self._flood())
        elif path == b"/mcp/hang":
            self._hangs = True
            print("held", flush=True)
        else:
            self._transport.write(STREAM)

    def _swallow(self, piece: bytes) -> None:
        self._swallow_bytes -= len(piece)
        if self._swallow_bytes <= 0:
            self._transport.write(SWALLOWED)

    async def _flood(self) -> None:
        self._transport.write(FLOOD)
        for _ in range(FLOOD_BYTES // len(PIECE)):
            await self._flowing.wait()
            if self._transport.is_closing():
                return
            self._transport.write(PIECE)


def _content_length(head: bytes) -> int:
    start = head.lower().find(b"content-length: ")
    return int(head[start + 16 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
