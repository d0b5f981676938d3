"""The operating system's hints that something in the manifests folder changed.

Decides nothing: a hint is a reason to look, and where none come, :mod:`state.manifests.follow` polls.
"""

import asyncio
from pathlib import Path

import structlog
from watchfiles import awatch

from state.manifests.folder import Identity

WATCH_AGAIN_S = 30.0  # where the system gives no more watches

_log = structlog.get_logger(__name__)


class FolderWatch:
    """Rings the bell on the system's hints about one folder, whichever that name means at the moment."""

    def __init__(self, folder: Path, bell: asyncio.Event, *, debounce_s: float) -> None:
        self._folder = folder
        self._bell = bell
        self._debounce_s = debounce_s
        self._watched: Identity | None = None
        self._task: asyncio.Task[None] | None = None

    def renew(self, found: Identity | None) -> None:
        """Watch anew after the folder was replaced: a watch stays with the old one and says nothing.

        What happened before the new watch stood is found by another look.
        """
        if found == self._watched and (self._task is None or not self._task.done()):
            return
        self._watched = found
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._ring()) if found is not None else None

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _ring(self) -> None:
        step_ms = int(self._debounce_s * 1000)
        try:
            hints = awatch(
                self._folder, watch_filter=None, debounce=2 * step_ms, step=step_ms, recursive=False
            )
            self._bell.set()
            async for _ in hints:
                self._bell.set()
        except (OSError, RuntimeError) as error:
            _log.debug("manifests.unwatched", why=str(error))  # no hints here; the poll goes on
            await asyncio.sleep(WATCH_AGAIN_S)
