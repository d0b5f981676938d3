"""The bell inside one event loop: whoever waits for a change is woken, none is missed.

Decides nothing about what changed: a ring only says "look". :mod:`state.store.doorbell` carries rings
between processes. Not thread-safe: ring from another thread through ``call_soon_threadsafe``.
"""

import asyncio


class Bell:
    """Counts rings, so that a waiter who read the count before looking misses nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        self.count += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seen_count: int, timeout_s: float | None) -> None:
        """Return once the bell rang after ``seen_count`` was read, or after ``timeout_s``."""
        if self.count != seen_count:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)
