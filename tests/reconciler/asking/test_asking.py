"""What a container may answer to a probe, and what is made of it: real sockets, answers byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from reconciler.loop.asking import ANSWER_BYTES_MAX, AT_ONCE_MAX, HttpAsk

PATIENCE_S = 20.0
GOOD = {
    "with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "to the connection's end": b"HTTP/1.1 200 OK\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "after a word on the way": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "a body without end": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * ANSWER_BYTES_MAX,
}
BAD = {
    "not found": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "GET /health answered 404"),
    "broken": (b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx", "GET /health answered 500"),
    "nothing": (b"", "GET /health was not answered: the connection was closed"),
    "half a head": (b"HTTP/1.1 200 OK\r\nX-A", "GET /health was not answered: the connection was closed"),
    "only on the way": (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        "GET /health was not answered: the connection was closed",
    ),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "GET /health was answered in part"),
    "half a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
        "GET /health was answered in part",
    ),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "GET /health was not answered in HTTP"),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000, "GET /health answered 0"),
}


@dataclass
class Container:
    """Gives whoever asks the same bytes and hangs up; or says nothing at all."""

    answer: bytes | None
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    open_count: int = 0
    open_count_max: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_count += 1
        self.open_count_max = max(self.open_count_max, self.open_count)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await reader.read()
                return
            for start in range(0, len(self.answer), 8192):
                writer.write(self.answer[start : start + 8192])
                await writer.drain()
        except ConnectionError:
            return
        finally:
            self.open_count -= 1
            writer.close()


@asynccontextmanager
async def container(answer: bytes | None) -> AsyncIterator[Container]:
    standing = Container(answer)
    server = await asyncio.start_server(standing.serve, "127.0.0.1", 0)
    standing.port = server.sockets[0].getsockname()[1]
    async with server:
        yield standing


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD.keys())
async def test_a_whole_answer_of_2xx_or_3xx_is_good(answer: bytes) -> None:
    async with container(answer) as standing:
        assert await HttpAsk()("127.0.0.1", standing.port, "/health", PATIENCE_S) == ""
    [request] = standing.requests
    assert request.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % standing.port)
    assert b"\r\nConnection: close\r\n" in request


@pytest.mark.parametrize(("answer", "why"), BAD.values(), ids=BAD.keys())
async def test_anything_else_says_why(answer: bytes, why: str) -> None:
    async with container(answer) as standing:
        assert await HttpAsk()("127.0.0.1", standing.port, "/health", PATIENCE_S) == why


async def test_silence_ends_with_the_time_and_the_connection_too() -> None:
    async with container(None) as standing:
        assert await HttpAsk()("127.0.0.1", standing.port, "/h", 0.2) == "no answer to GET /h within 0.2 s"
        for _ in range(200):
            if not standing.open_count:
                break
            await asyncio.sleep(0.02)
        assert standing.requests
        assert standing.open_count == 0


async def test_a_port_where_nobody_listens_is_told_as_such() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = await HttpAsk()("127.0.0.1", taken.getsockname()[1], "/health", PATIENCE_S)
    assert told.startswith("GET /health: ")
    assert "refused" in told or "Connect call failed" in told


async def test_a_path_stays_one_path() -> None:
    async with container(GOOD["with a length"]) as standing:
        path = "/a b\r\nHost: evil.example\r\n\r\nGET /ü?x=%20&y=[1]#z"
        assert await HttpAsk()("127.0.0.1", standing.port, path, PATIENCE_S) == ""
    [request] = standing.requests
    assert request.split(b"\r\n")[0].count(b" ") == 2
    assert request.count(b"\r\nHost: ") == 1
    assert b"/%C3%BC?x=%20&y=" in request


async def test_no_more_than_so_many_are_asked_at_once() -> None:
    ask = HttpAsk()
    async with container(None) as standing:
        calls = [ask("127.0.0.1", standing.port, "/h", 1.0) for _ in range(2 * AT_ONCE_MAX)]
        await asyncio.gather(*calls)
    assert 0 < standing.open_count_max <= AT_ONCE_MAX
