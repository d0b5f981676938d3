"""Stands between a house's reconciler and its engine, in a thread of its own, and breaks what tests name.

What breaks how is :mod:`tests.reconciler.engine.proxy`'s; here it is reached from tests without a loop.
"""

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines import RealEngine
from tests.reconciler.engine.proxy import EngineProxy, Failure

__all__ = ["Between", "Failure", "between"]

EVENTS = r"GET \S*/events"
LOOKS = r"GET \S*/containers/"  # lists and single ones
CREATE = r"POST \S*/containers/create"
EVERYTHING = ""
CALL_S_MAX = 10.0


class Between:
    def __init__(self, engine: RealEngine, path: Path) -> None:
        self.url = f"unix://{path}"
        self._loop = asyncio.new_event_loop()
        self._proxy = EngineProxy(engine.url.removeprefix("unix://"), path)
        self._thread = threading.Thread(target=self._loop.run_forever)

    def fail(self, pattern: str, failure: Failure) -> None:
        """Break what comes from now on and matches; connections that stand are broken once."""
        self._do(self._set(pattern, failure))

    def mend(self) -> None:
        self._do(self._mended())

    def go_away(self) -> None:
        """Nobody listens any more."""
        self._do(self._proxy.stop())

    def come_back(self) -> None:
        self._do(self._proxy.start())

    def asked(self, method: str) -> list[str]:
        """What was asked with such a method so far."""
        return [line for line in list(self._proxy.asked) if line.startswith(method)]

    def open(self) -> None:
        self._thread.start()
        self.come_back()

    def close(self) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S_MAX)
        self._loop.close()

    async def _set(self, pattern: str, failure: Failure) -> None:
        self._proxy.fail(pattern, failure)
        self._proxy.break_connections()

    async def _mended(self) -> None:
        self._proxy.mend()
        self._proxy.break_connections()

    def _do(self, work: Awaitable[Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S_MAX)  # type: ignore[arg-type]


@contextmanager
def between(engine: RealEngine, folder: Path) -> Iterator[Between]:
    standing = Between(engine, folder / "between.sock")
    standing.open()
    try:
        yield standing
    finally:
        standing.close()
