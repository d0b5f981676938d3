"""Threads for what is done below HOST_DATA_DIR: one call a Home at a time, each within a limit.

A thread cannot be ended: what hangs on a disk that does not answer is waited for no longer, and may yet be
done. So the next call for that Home begins only once it is over. Next: :mod:`reconciler.loop.directories`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

THREADS_MAX = 16


class HomeThreads:
    """A pool of their own: whoever else uses threads does not wait for a disk."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS_MAX, "homes")
        self._under_way: dict[str, asyncio.Future[Any]] = {}

    async def run(self, home: str, seconds: float, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises, after an earlier one for ``home``. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (earlier := self._under_way.get(home)) is not None:
                await asyncio.wait({earlier})
            answer = asyncio.get_running_loop().run_in_executor(self._threads, call)
            self._under_way[home] = answer
            answer.add_done_callback(lambda over: self._ended(home, over))
            return await asyncio.shield(answer)

    def close(self) -> None:
        """What runs just now is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, home: str, answer: "asyncio.Future[T]") -> None:
        del self._under_way[home]
        if not answer.cancelled():
            answer.exception()  # nobody may wait for it any more
