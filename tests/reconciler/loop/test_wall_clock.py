"""A clock that is set, beside one that is not."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.loop.wall_clock import STEP_S_MIN, WallClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class Times:
    def __init__(self) -> None:
        self.now, self.steady = START, 0.0
        self.clock = WallClock(lambda: self.now, lambda: self.steady)

    def look_after(self, seconds: float, *, set_by: float = 0.0) -> datetime:
        self.steady += seconds
        self.now += timedelta(seconds=seconds + set_by)
        return self.clock.look()


def test_time_that_passes_is_no_step() -> None:
    times = Times()
    for seconds in (0.0, 1.0, 86_400.0):
        assert times.look_after(seconds) == times.now
    assert times.clock.set_at is None


@pytest.mark.fault(21)
@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_is_seen_once_and_dated_by_the_new_time(hours: int) -> None:
    times = Times()
    times.look_after(1)
    set_at = times.look_after(1, set_by=hours * 3600)
    times.look_after(100)
    assert times.clock.set_at == set_at


def test_a_clock_that_is_drawn_gently_is_not_set() -> None:
    times = Times()
    for _ in range(100):
        times.look_after(10, set_by=STEP_S_MIN / 2)
    assert times.clock.set_at is None
