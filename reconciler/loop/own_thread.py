"""A thread of its own for what may hang: a file system that does holds up nothing else that uses threads.

Decides that such calls come one by one, and that nobody waits longer than they said. Next:
:mod:`reconciler.loop.gauge`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """One thread, begun when it is first asked."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._turn = asyncio.Lock()
        self._under_way: asyncio.Future[Any] | None = None

    async def ask(self, seconds: float, ask: Callable[[], T]) -> T:
        """What ``ask`` returns or raises, with the wait for one's turn. Raises TimeoutError.

        A thread cannot be ended: while one call hangs, the next ones wait here, each as long as it said.
        """
        async with asyncio.timeout(seconds), self._turn:
            if self._under_way is not None:  # nobody waits for it any more, else they had the turn
                await asyncio.wait({self._under_way})
            answer = asyncio.get_running_loop().run_in_executor(self._threads, ask)
            self._under_way = answer
            return await asyncio.shield(answer)

    def close(self) -> None:
        """What runs just now is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
