"""Reads the fence's report, again and again: it may go, or grow old, at any time.

Decides nothing: :mod:`reconciler.core.isolation` says what a report is worth. Next:
:mod:`reconciler.controllers.report`, which tells it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import structlog

from reconciler.core.isolation import (
    NOT_LOOKED_YET,
    FenceAsked,
    Isolation,
    isolation_of,
    unfenced,
)
from reconciler.loop.own_threads import OwnThreads
from state.fence import FenceReport, FenceUnreadable, boot_id, read_fence

LOOK_PERIOD_S = 15.0
READ_S_MAX = 5.0  # a file system that hangs tells nothing, which is as good as no report

ReadFence = Callable[[], Awaitable[FenceReport | None]]
"""Raises FenceUnreadable, or TimeoutError."""

_log = structlog.get_logger(__name__)


async def no_fence() -> None:
    """Where nobody writes a report."""


def fence_file(path: Path) -> ReadFence:
    """Reads the file at ``path``, in a thread of its own."""
    thread = OwnThreads("fence")

    async def read() -> FenceReport | None:
        return await thread.ask(READ_S_MAX, lambda: read_fence(path))

    return read


class Fence:
    """What is known of the fence. ``on_change`` is called when that is something else than before."""

    def __init__(
        self,
        read: ReadFence,
        asked: FenceAsked,
        now: Callable[[], datetime],
        *,
        on_change: Callable[[], None],
        beyond: Callable[[], Isolation | None] = lambda: None,
    ) -> None:
        self._read = read
        self._asked = asked
        self._now = now
        self._on_change = on_change
        self._beyond = beyond  # why none can stand, as far as the engine has told
        self.isolation = NOT_LOOKED_YET

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """Look once, in a bounded time."""
        before, self.isolation = self.isolation, await self._look()
        if before == self.isolation:
            return
        if before.is_fenced is not self.isolation.is_fenced:
            _log.info("isolation.changed", reason=self.isolation.reason)
        self._on_change()

    async def _look(self) -> Isolation:
        if (beyond := self._beyond()) is not None:
            return beyond
        try:
            async with asyncio.timeout(READ_S_MAX):
                report = await self._read()
        except TimeoutError:
            why = f"the fence's report could not be read within {READ_S_MAX:.0f} s"
            return unfenced("FenceUnreadable", why)
        except FenceUnreadable as error:
            return unfenced("FenceUnreadable", str(error))
        return isolation_of(report, self._asked, boot_id(), self._now())
