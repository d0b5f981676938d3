"""Threads that run one blocking call each, with a bound on the queue and on the wait.

Decides what a caller is told when it took too long: a call that never began did nothing, one that began
may yet end. Next: :mod:`state.store.database`, which runs transactions in them.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from state.store.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")

CALLS_QUEUED_MAX = 10_000
# A call that began in time may take this much longer before its caller stops waiting for the outcome.
GRACE_S = 5.0


class Threads:
    """``count`` threads and one queue before them. Each calls ``enter`` before all else."""

    def __init__(
        self, where: str, count: int, timeout_s: float, enter: Callable[[], None] = lambda: None
    ) -> None:
        self._where = where
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(count, "store", initializer=enter)
        self._queued_count = 0

    async def run(self, call: Callable[[float], T]) -> T:
        """``call(deadline)`` in a thread; the deadline is in ``time.monotonic``'s seconds.

        Raises Unavailable where it never began, OutcomeUnknown where it began and did not end. A cancelled
        caller takes a call that did not begin with it; one that began goes on.
        """
        if self._queued_count >= CALLS_QUEUED_MAX:
            raise Unavailable(f"{self._where}: {CALLS_QUEUED_MAX} calls wait already; try again later")
        deadline_s = time.monotonic() + self._timeout_s
        self._queued_count += 1
        try:
            future = self._executor.submit(call, deadline_s)
            return await self._outcome(future)
        finally:
            self._queued_count -= 1

    async def close(self) -> None:
        """Wait a while for what runs; what waits is dropped."""
        ended = asyncio.ensure_future(asyncio.to_thread(self._executor.shutdown, cancel_futures=True))
        await asyncio.wait((ended,), timeout=GRACE_S)

    async def _outcome(self, future: "Future[T]") -> T:
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(_seen)
        try:
            await asyncio.wait((waiter,), timeout=self._timeout_s)
            if not waiter.done() and future.cancel():
                raise Unavailable(f"{self._where}: no turn within {self._timeout_s:g} s; try again later")
            if not waiter.done():
                await asyncio.wait((waiter,), timeout=GRACE_S)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not waiter.done():
            raise OutcomeUnknown(f"{self._where}: no outcome within {self._timeout_s + GRACE_S:g} s")
        return waiter.result()


def _seen(waiter: "asyncio.Future[T]") -> None:
    """An outcome that nobody waits for any more is no unhandled error."""
    if not waiter.cancelled():
        waiter.exception()
