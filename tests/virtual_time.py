"""An event loop whose time jumps to the next timer once nothing else is left to do.

Hours pass in milliseconds, exactly, and always in the same order. No threads, no sockets: whoever waits for
one of those waits for ever here, and is told so.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Stalled(AssertionError):
    """Everything waits, and no timer would ever wake anybody."""


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self._pass))

    def time(self) -> float:
        return self._now_s

    def now(self) -> datetime:
        """The loop's time as a wall clock shows it."""
        return BEGINNING + timedelta(seconds=self._now_s)

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds


class _Jumping(selectors.SelectSelector):
    """Never waits: it lets the time pass that it was told to wait."""

    def __init__(self, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("everybody waits, and no timer is set")
        self._let_pass(max(timeout, 0.0))
        return []


def now() -> datetime:
    """The running loop's virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "virtual time needs the virtual loop"
    return loop.now()


def clock_s() -> float:
    return asyncio.get_running_loop().time()
