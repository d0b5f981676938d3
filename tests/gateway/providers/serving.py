"""What both stand-ins share: a server on loopback that can be told to break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Broken:
    """By path, what is answered instead of the truth, and after how long; and what was asked so far."""

    replaced: dict[str, Handler] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    def answer(self, path: str, body: Any = b"", *, status: int = 200, **headers: str) -> None:
        """Always answer ``path`` so; a dict or list goes out as JSON."""

        async def answered(request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(body, dict | list):
                return web.json_response(body, status=status, headers=named)
            return web.Response(body=body, status=status, headers=named)

        self.replaced[path] = answered


@contextlib.asynccontextmanager
async def serving(app: web.Application, broken: Broken) -> AsyncIterator[int]:
    """The port on which ``app`` answers, unless ``broken`` does."""

    @web.middleware
    async def breaks(request: web.Request, handler: Handler) -> web.StreamResponse:
        broken.asked.append(request.path)
        broken.requests.append(request)
        await asyncio.sleep(broken.delays_s.get(request.path, 0))
        return await broken.replaced.get(request.path, handler)(request)

    app.middlewares.append(breaks)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
