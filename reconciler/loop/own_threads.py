"""Threads of one's own for what may hang: a file system that does holds up nothing else that uses threads.

Decides which calls come one by one, and that nobody waits longer than they said. Next:
:mod:`reconciler.loop.gauge`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThreads:
    """Begun when they are first asked; one thread unless more are allowed."""

    def __init__(self, name: str, threads_max: int = 1) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix=name)
        self._under_way: dict[str, asyncio.Future[Any]] = {}

    async def ask(self, seconds: float, ask: Callable[[], T], *, about: str = "") -> T:
        """What ``ask`` returns or raises, with the wait for one's turn. Raises TimeoutError.

        A thread cannot be ended: while one call hangs, the next ones about the same wait here, each as long
        as it said, and the one that was given up may yet be done.
        """
        async with asyncio.timeout(seconds):
            while (earlier := self._under_way.get(about)) is not None:
                await asyncio.wait({earlier})
            answer = asyncio.get_running_loop().run_in_executor(self._threads, ask)
            self._under_way[about] = answer
            answer.add_done_callback(lambda over: self._ended(about, over))
            return await asyncio.shield(answer)

    def close(self) -> None:
        """What runs just now is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, about: str, answer: "asyncio.Future[T]") -> None:
        del self._under_way[about]
        if not answer.cancelled():
            answer.exception()  # nobody may wait for it any more
