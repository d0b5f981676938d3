"""Supervises the two processes on a laptop: start, restart with backoff, stop within a limit.

Decides nothing about what they do. A process that ends with EXIT_SETTINGS cannot be helped by another
start, so everything stops and its own one line stands.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from state.settings import EXIT_SETTINGS

RESTART_S_MIN = 0.5
RESTART_S_MAX = 15.0
STEADY_AFTER_S = 30.0  # a process that ran this long starts over with the shortest wait
STOP_S_MAX = 20.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One of the processes: its name, the words after Python's own, and how long it may finish its work."""

    name: str
    words: Sequence[str]
    drain_s: float = 0.0


def _end_with_parent() -> None:
    """In the child: SIGTERM when the supervisor dies, however it dies. Source: prctl(2), Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keeps the parts running until told to stop, or until one says that it never can."""

    def __init__(self, parts: Sequence[Part], environment: Mapping[str, str]) -> None:
        self._parts = parts
        self._environment = {**os.environ, **environment}
        self._stopping = asyncio.Event()
        self.exit_code = 0

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> int:
        """Run every part; the exit code for the shell."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(self._keep(part))
        return self.exit_code

    async def _keep(self, part: Part) -> None:
        wait_s = RESTART_S_MIN
        while not self._stopping.is_set():
            started_at = time.monotonic()
            code = await self._run_once(part)
            if self._stopping.is_set():
                return
            if code == EXIT_SETTINGS:
                self.exit_code = EXIT_SETTINGS
                self.stop()
                return
            wait_s = RESTART_S_MIN if time.monotonic() - started_at > STEADY_AFTER_S else wait_s
            print(f"mcpgw: {part.name} ended with {code}; starting it again in {wait_s:g} s", file=sys.stderr)
            await self._wait(wait_s)
            wait_s = min(wait_s * 2, RESTART_S_MAX)

    async def _run_once(self, part: Part) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *part.words,
            env=self._environment,
            start_new_session=True,  # Ctrl-C reaches us alone; we end the parts in order
            preexec_fn=_end_with_parent,
        )
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            await self._end(process, ended, STOP_S_MAX + part.drain_s)
        return await ended

    async def _end(
        self, process: asyncio.subprocess.Process, ended: "asyncio.Task[int]", stop_s_max: float
    ) -> None:
        process.terminate()
        done, _ = await asyncio.wait({ended}, timeout=stop_s_max)
        if not done:
            process.kill()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
