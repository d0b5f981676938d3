"""Waiting for what must come, up to a bound that says what was awaited."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
POLL_S = 0.02


def until(condition: Callable[[], T | None], what: str, seconds: float = PATIENCE_S) -> T:
    """What ``condition`` gives once it is true; AssertionError with ``what`` was awaited if never."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(POLL_S)
    return found


async def seen(
    look: Callable[[], Awaitable[T]], fits: Callable[[T], object], what: str, seconds: float = PATIENCE_S
) -> T:
    """What ``look`` gives once it ``fits``; AssertionError with the last that was seen, if never."""
    deadline = time.monotonic() + seconds
    while not fits(found := await look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}; last: {found!r:.500}"
        await asyncio.sleep(POLL_S)
    return found
