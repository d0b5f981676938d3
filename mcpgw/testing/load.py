"""Constant load on a gateway, of which every failure is told: short calls, long calls, one that listens.

Each caller asks one thing after the other over a connection of its own, as MCP clients do. A stream that ends
is no failure, one that ends in the middle of its framing is. Next: :mod:`mcpgw.testing.composed`.
"""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from mcpgw.testing.calls import META, mcp_headers

ANSWER_S_MAX = 120.0
DIAL_S_MAX = 10.0  # as clients have a limit: what the kernel sends again goes where its first packet went
PAUSE_S = 0.01
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "testing", "version": "1"},
    },
}
AGAIN_S = 0.2  # as a client waits before it opens its stream again


@dataclass(slots=True)
class Tally:
    """What became of it all. ``failures`` are told in words, each with how often."""

    answered_count: int = 0
    slow_count: int = 0
    streams_count: int = 0
    longest_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    answered: asyncio.Event = field(default_factory=asyncio.Event)  # at least one short call was


@asynccontextmanager
async def load(
    base: str,
    headers: Mapping[str, str],
    *,
    callers: int = 8,
    slow_s: float = 0.0,
    address: str = "",
    pause_s: float = PAUSE_S,
) -> AsyncIterator[Tally]:
    """Load at ``base`` (an origin) while the block lasts; what is in flight at its end is waited for.

    ``slow_s``: how long the long calls take, of which two are always in flight; 0 for none. ``address``:
    where to connect to, whatever the name in ``base`` means (host:port). No certificate is checked.
    """
    tally, ending = Tally(), asyncio.Event()
    async with open_session(address) as session:
        caller = _Caller(session, base, dict(headers), tally, ending)
        calls = [caller.call("echo", {"text": "x"}, pause_s) for _ in range(callers)]
        if slow_s:
            calls += [caller.call("slow", {"steps": 2, "interval_s": slow_s / 2}, 0) for _ in range(2)]
        tasks = [asyncio.create_task(call) for call in calls]
        listening = asyncio.create_task(caller.listen())
        try:
            yield tally
        finally:
            ending.set()
            async with asyncio.timeout(ANSWER_S_MAX):
                await asyncio.gather(*tasks)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def serves(base: str, headers: Mapping[str, str], address: str = "") -> None:
    """Return once a call was answered: there is a certificate, and a container."""
    async with asyncio.timeout(ANSWER_S_MAX), load(base, headers, callers=1, address=address) as tally:
        await tally.answered.wait()


@dataclass(frozen=True, slots=True)
class _Caller:
    session: aiohttp.ClientSession
    base: str
    headers: dict[str, str]
    tally: Tally
    ending: asyncio.Event

    async def call(self, tool: str, arguments: dict[str, object], pause_s: float) -> None:
        headers = {**mcp_headers("tools/call", tool), **self.headers}
        params = {"name": tool, "arguments": arguments, "_meta": META}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        while not self.ending.is_set():
            began_at = time.monotonic()
            try:
                async with self.session.post(f"{self.base}/mcp", data=body, headers=headers) as answer:
                    text = await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.tally.failures[f"{tool}: {type(error).__name__} {error}"[:200]] += 1
            else:
                self._note(tool, status, text)
            self.tally.longest_s = max(self.tally.longest_s, time.monotonic() - began_at)
            await asyncio.sleep(pause_s)

    def _note(self, tool: str, status: int, text: bytes) -> None:
        if status != 200 or b'"result"' not in text:
            self.tally.failures[f"{tool}: {status} {text[:160]!r}"] += 1
        elif tool == "slow":
            self.tally.slow_count += 1
        else:
            self.tally.answered_count += 1
            self.tally.answered.set()

    async def listen(self) -> None:
        """Keep the stream of one session open, as a client of the session era does."""
        headers = {**self.headers, "Accept": "application/json, text/event-stream"}
        headers["Mcp-Session-Id"] = await self._session_id(headers)
        while True:
            try:
                async with self.session.get(f"{self.base}/mcp", headers=headers) as stream:
                    if stream.status != 200:
                        self.tally.failures[f"stream: {stream.status} {await stream.read()!r:.160}"] += 1
                    async for _ in stream.content.iter_any():
                        pass
                    self.tally.streams_count += 1
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.tally.failures[f"stream: {type(error).__name__} {error}"[:200]] += 1
            await asyncio.sleep(AGAIN_S)

    async def _session_id(self, headers: Mapping[str, str]) -> str:
        try:
            async with self.session.post(f"{self.base}/mcp", json=INITIALIZE, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.tally.failures[f"initialize: {type(error).__name__} {error}"[:200]] += 1
            return ""
        return answer.headers.get("Mcp-Session-Id", "")


def open_session(address: str) -> aiohttp.ClientSession:
    """Every name is at ``address`` for it (host:port; "" asks the names), and every certificate is good."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    resolver = _At(*address.rsplit(":", 1)) if address else None
    connector = aiohttp.TCPConnector(limit=0, ssl=trusting, resolver=resolver)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=DIAL_S_MAX, sock_read=ANSWER_S_MAX),
    )


class _At(aiohttp.abc.AbstractResolver):
    """Every name is at one address."""

    def __init__(self, host: str, port: str) -> None:
        self._host, self._port = host, int(port)

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        del port
        return [
            {
                "hostname": host,
                "host": self._host,
                "port": self._port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        return
