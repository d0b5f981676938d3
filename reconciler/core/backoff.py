"""How long a container that keeps dying has to wait before its next start.

The first death restarts at once; from the second on the wait doubles from 10 s to 5 min; ten minutes of
health forget all of it. Source: Kubernetes' CrashLoopBackOff has the same three numbers.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

CRASH_BACKOFF_S_MIN = 10.0
CRASH_BACKOFF_S_MAX = 300.0
HEALTHY_RESET_S = 600.0
WAIT_S_LONGEST = 600.0  # above every wait that is noted as a time


@dataclass(frozen=True, slots=True)
class Pace:
    """What the next start has to respect."""

    restart_count: int
    restart_after: datetime


def is_over(until: datetime, now: datetime) -> bool:
    """Whether a wait is over. What would last longer than any was noted before the clock was set back."""
    return not timedelta(0) < until - now <= timedelta(seconds=WAIT_S_LONGEST)


def pace_after_death(restart_count: int, ready_at: datetime | None, now: datetime) -> Pace:
    """The pace once a container died by itself at ``now``, having been ready since ``ready_at``."""
    healthy_s = (now - ready_at).total_seconds() if ready_at is not None else 0.0
    count = 1 if healthy_s >= HEALTHY_RESET_S else restart_count + 1
    return Pace(count, now + timedelta(seconds=crash_delay_s(count)))


def crash_delay_s(restart_count: int) -> float:
    """The wait before restart number ``restart_count``: 0, 10, 20, 40, 80, 160, 300, 300 …"""
    if restart_count <= 1:
        return 0.0
    doublings = min(restart_count - 2, 16)  # enough to pass the maximum; keeps the power finite
    return min(CRASH_BACKOFF_S_MIN * 2.0**doublings, CRASH_BACKOFF_S_MAX)
