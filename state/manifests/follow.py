"""Follows the manifests folder: read at the start, on every change, and now and then anyway.

The operating system's events are hints to look at once; the poll behind them is what makes it right where
they are missed or never come (another file system, a folder made anew, a symlink turned elsewhere). Nothing
here decides what a change means: that is :mod:`state.manifests.plan`. The last module of this package.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from state.manifests.apply import apply_folder
from state.manifests.folder import Folder, FolderReader, Identity
from state.manifests.problem import Place, Problem
from state.manifests.verdict import FOLDER_PATH, Plan
from state.manifests.watch import FolderWatch
from state.store.errors import Fenced, StoreError
from state.store.port import Store

READ_TIMEOUT_S = 60.0  # a network file system that hangs; the largest folder takes half of it
RETRY_S_MAX = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds."""

    debounce_s: float = 0.1  # an editor's several events are one change
    poll_s: float = 5.0
    absence_s: float = 2.0  # an editor's save may take a file away for a moment; then it is gone
    retry_s: float = 5.0  # while something waits for the store to change; doubles up to RETRY_S_MAX
    resync_s: float = 300.0  # compare with the store even if the folder stayed the same


USUAL_PACE = Pace()


async def follow(
    folder: Path,
    store: Store,
    variables: Mapping[str, str],
    *,
    stop: asyncio.Event | None = None,
    epoch: Callable[[], int] | None = None,
    first_pass: asyncio.Event | None = None,
    pace: Pace = USUAL_PACE,
) -> None:
    """Keep the store as ``folder`` says until ``stop`` is set or the task is cancelled.

    ``epoch`` fences each write by the reconciler's leadership; ``first_pass`` is set once the folder was
    applied for the first time. Raises Fenced; a store that does not answer is tried again.
    """
    stop = stop or asyncio.Event()
    bell = asyncio.Event()
    watch = FolderWatch(folder, bell, debounce_s=pace.debounce_s)
    follower = _Follower(folder, store, variables, epoch, pace)
    try:
        while not stop.is_set():
            bell.clear()
            next_s = await follower.look()
            watch.renew(follower.folder_identity)
            if first_pass is not None and follower.has_applied:
                first_pass.set()
            await _first_of((stop, bell), next_s)
    finally:
        await watch.end()
        follower.end()


async def _first_of(events: Iterable[asyncio.Event], timeout_s: float) -> None:
    waits = {asyncio.create_task(event.wait()) for event in events}
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class _Follower:
    """Looks at the folder and says after how many seconds to look again."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        variables: Mapping[str, str],
        epoch: Callable[[], int] | None,
        pace: Pace,
    ) -> None:
        self.has_applied = False
        self._folder = folder
        self._store = store
        self._epoch = epoch
        self._pace = pace
        self._reader = FolderReader(folder, variables)
        self._thread = ThreadPoolExecutor(1, "manifests")
        self._reading: asyncio.Future[Folder] | None = None
        self._applied: Folder | None = None
        self._absent_since_s: dict[str, float] = {}
        self._apply_at_s = 0.0
        self._retry_s = pace.retry_s
        self._store_answers = True

    def end(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> float:
        folder = await self._read()
        now_s = asyncio.get_running_loop().time()
        if folder != self._applied:
            self._retry_s = self._pace.retry_s
        elif now_s < self._apply_at_s:
            return self._pause_s(now_s)
        plan = await self._apply(folder, now_s)
        if plan is None:
            return self._pace.poll_s
        self._schedule(plan, now_s)
        return self._pause_s(now_s)

    @property
    def folder_identity(self) -> Identity | None:
        """Which folder was last found under that name."""
        return self._reader.identity

    async def _read(self) -> Folder:
        """One reading at a time: while one hangs, no other is begun."""
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._thread, self._reader.read)
        done, _ = await asyncio.wait({self._reading}, timeout=READ_TIMEOUT_S)
        if not done:
            what = f"the folder {self._folder} does not answer"
            return Folder(problem=Problem(Place(FOLDER_PATH), what, "look at its file system"))
        reading, self._reading = self._reading, None
        return reading.result()

    async def _apply(self, folder: Folder, now_s: float) -> Plan | None:
        """None if the store did not take it; the next look tries again."""
        epoch = self._epoch() if self._epoch is not None else None
        try:
            plan = await apply_folder(self._store, folder, gone=self._gone(now_s), epoch=epoch)
        except Fenced:
            raise
        except StoreError as error:
            if self._store_answers:
                _log.warning("manifests.delayed", why=str(error))
            self._store_answers = False
            return None
        self._applied, self._store_answers, self.has_applied = folder, True, True
        return plan

    def _gone(self, now_s: float) -> frozenset[str]:
        since = self._absent_since_s.items()
        return frozenset(file for file, at_s in since if now_s - at_s >= self._pace.absence_s)

    def _schedule(self, plan: Plan, now_s: float) -> None:
        """When to compare with the store again although the folder stays as it is."""
        self._absent_since_s = {file: self._absent_since_s.get(file, now_s) for file in plan.absent}
        self._apply_at_s = now_s + self._pace.resync_s
        if plan.retry:
            self._apply_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
        if plan.absent - self._gone(now_s):
            self._apply_at_s = min(self._apply_at_s, now_s + self._pace.absence_s)

    def _pause_s(self, now_s: float) -> float:
        return min(self._pace.poll_s, max(self._apply_at_s - now_s, self._pace.debounce_s))
