"""One question to a container over HTTP/1.1: does it answer well, and if not, why not.

A connection a question: what is asked is whether a new one is served. A socket and a parser, nothing around
them: hundreds of these are most of what an idle reconciler does, each on a processor that has done something
else meanwhile, where a whole HTTP client costs several times as much. :mod:`reconciler.loop.prober` asks.
"""

import asyncio
from typing import cast
from urllib.parse import quote

import httptools

ANSWER_BYTES_MAX = 64 * 1024
AT_ONCE_MAX = 64
_NO_ANSWER_YET = 200  # statuses below are only on the way to one. Source: RFC 9110 section 15.2
_GOOD = range(200, 400)
# Source: RFC 3986 section 3.3 and 3.4; what a template wrote coded already stays as it is.
_PATH_SAFE = "/%?:@!$&'()*+,;=~-._"


class HttpAsk:
    """Implements :class:`reconciler.loop.prober.Ask`."""

    def __init__(self) -> None:
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    async def __call__(self, host: str, port: int, path: str, timeout_s: float) -> str:
        """ "" for a whole answer of 2xx or 3xx within the time, else why not. Never raises."""
        async with self._at_once:
            try:
                async with asyncio.timeout(timeout_s):
                    return await _asked(host, port, path)
            except TimeoutError:
                return f"no answer to GET {path} within {timeout_s:g} s"
            except (OSError, ValueError) as error:
                return f"GET {path}: {getattr(error, 'strerror', None) or error}"


async def _asked(host: str, port: int, path: str) -> str:
    loop = asyncio.get_running_loop()
    request = _request(host, port, path)
    transport, answer = await loop.create_connection(lambda: _Answer(loop, request), host, port)
    try:
        why_not = await answer.said
    finally:
        transport.abort()
    return why_not if not why_not else f"GET {path} {why_not}"


def _request(host: str, port: int, path: str) -> bytes:
    named = f"[{host}]" if ":" in host else host
    return (
        f"GET {quote(path, safe=_PATH_SAFE)} HTTP/1.1\r\nHost: {named}:{port}\r\n"
        "User-Agent: mcp-gateway-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


class _Answer(asyncio.Protocol):
    """``said`` becomes "" once the answer is whole and good, else what is wrong with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.said: asyncio.Future[str] = loop.create_future()
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._is_framed = False
        self._bytes_count = 0

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.said.done():
            return
        self._bytes_count += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._say("was not answered in HTTP")
        if self._bytes_count > ANSWER_BYTES_MAX:
            self._say_by_status()  # more of it would tell no more

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_framed:
            self._say("was answered in part")
        elif exc is not None or self._status < _NO_ANSWER_YET:
            self._say("was not answered: the connection was closed")
        else:
            self._say_by_status()  # the end of the connection is the end of the answer

    # What httptools calls

    def on_header(self, name: bytes, _value: bytes) -> None:
        self._is_framed = self._is_framed or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if self._status >= _NO_ANSWER_YET:
            self._say_by_status()

    # Leaves

    def _say_by_status(self) -> None:
        self._say("" if self._status in _GOOD else f"answered {self._status}")

    def _say(self, why_not: str) -> None:
        if not self.said.done():
            self.said.set_result(why_not)
