"""Whether somebody set the clock: seen from one that nobody sets.

A machine that slept looks the same, and is the same to what follows: nobody was watching meanwhile.
Next: :mod:`reconciler.core.one_time`.
"""

from collections.abc import Callable
from datetime import datetime

STEP_S_MIN = 5.0  # between two looks; what moves the clock gently stays below


class WallClock:
    """``now`` is the time that people go by; ``steady`` are seconds that only ever grow."""

    def __init__(self, now: Callable[[], datetime], steady: Callable[[], float]) -> None:
        self._now = now
        self._steady = steady
        self._last: tuple[datetime, float] | None = None
        self.set_at: datetime | None = None
        """By the clock as it is since; None: it was not set while we looked."""

    def look(self) -> datetime:
        """What time it is."""
        now, steady = self._now(), self._steady()
        if self._last is not None:
            before, then = self._last
            if abs((now - before).total_seconds() - (steady - then)) > STEP_S_MIN:
                self.set_at = now
        self._last = (now, steady)
        return now
