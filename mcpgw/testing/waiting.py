"""Waiting for what must come, up to a bound that says what was awaited."""

import time
from collections.abc import Callable
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
