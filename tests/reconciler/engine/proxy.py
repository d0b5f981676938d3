"""A Unix socket between an adapter and its engine, at which tests break what passes.

Failures are named; each applies to the requests whose head a pattern matches, until it is lifted.
"""

import asyncio
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CHUNK_BYTES = 64 * 1024


class Failure(StrEnum):
    ANSWER_500 = "answers 500 without asking the engine"
    HANG = "asks nothing and never answers"
    ASK_AND_ANSWER_500 = "asks the engine, then answers 500"
    ASK_AND_CLOSE = "asks the engine, then closes without an answer"
    CLOSE_MID_ANSWER = "passes half of the engine's answer, then closes"
    ANSWER_NONSENSE = "answers 200 with what is no JSON"


@dataclass
class Rule:
    pattern: re.Pattern[str]
    failure: Failure
    times_left: float  # how often it still applies


INTERNAL_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
    b'Content-Length: 21\r\nConnection: close\r\n\r\n{"message": "it\'s I"}'
)
NONSENSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\nConnection: close\r\n\r\n}{}{"
)


class EngineProxy:
    def __init__(self, engine_path: str, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []  # request lines that reached us
        self._engine_path = engine_path
        self._rule: Rule | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def fail(self, pattern: str, failure: Failure, times: float = float("inf")) -> None:
        self._rule = Rule(re.compile(pattern), failure, times)

    def mend(self) -> None:
        self._rule = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))

    def break_connections(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.break_connections()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side went away, or the test broke the connection
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests one by one, each on an engine connection of its own."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.partition(b"\r\n")[0].decode()
            self.asked.append(line)
            body = await reader.readexactly(_content_length(head))
            rule = self._rule
            if rule is None or rule.times_left < 1 or not rule.pattern.search(line):
                await self._pass(head, body, writer)
            else:
                rule.times_left -= 1
                await self._fail(rule.failure, head, body, writer)
            return

    async def _pass(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        answer, ask = await self._ask(head, body)
        try:
            while chunk := await answer.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        finally:
            ask.transport.abort()
        writer.close()
        await writer.wait_closed()

    async def _fail(self, failure: Failure, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        match failure:
            case Failure.ANSWER_500:
                writer.write(INTERNAL_ERROR)
            case Failure.ANSWER_NONSENSE:
                writer.write(NONSENSE)
            case Failure.HANG:
                await asyncio.Event().wait()
            case Failure.ASK_AND_ANSWER_500:
                await self._whole_answer(head, body)
                writer.write(INTERNAL_ERROR)
            case Failure.ASK_AND_CLOSE:
                await self._whole_answer(head, body)
            case Failure.CLOSE_MID_ANSWER:
                answer = await self._whole_answer(head, body)
                writer.write(answer[: len(answer) // 2])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _whole_answer(self, head: bytes, body: bytes) -> bytes:
        answer, ask = await self._ask(head, body)
        try:
            return await answer.read(-1)
        finally:
            ask.transport.abort()

    async def _ask(self, head: bytes, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        answer, ask = await asyncio.open_unix_connection(self._engine_path)
        ask.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
        return answer, ask


def _content_length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0
