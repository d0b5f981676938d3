"""What changes while others wait for it to: a seat, a log. Next: :mod:`gateway.routes.seat`."""

import asyncio


class Changing:
    """Whoever must wait for a change awaits `next_change`; whoever changes it calls `wake`."""

    __slots__ = ("_waiters", "watched_count")

    def __init__(self) -> None:
        self.watched_count = 0  # pages that follow it
        self._waiters: list[asyncio.Future[None]] = []

    def next_change(self) -> asyncio.Future[None]:
        """Done when anything about it has changed. Give it back to `forget_waiter`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def forget_waiter(self, waiter: asyncio.Future[None]) -> None:
        waiter.cancel()
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
