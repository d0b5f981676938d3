"""How long what keeps dying has to wait."""

from datetime import timedelta

import pytest

from reconciler.core.backoff import CRASH_BACKOFF_S_MAX, Pace, crash_delay_s, is_over, pace_after_death
from tests.reconciler.core.worlds import NOW, ago

SCHEDULE_S = [0, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.fault(7)
def test_the_wait_doubles_from_ten_seconds_to_five_minutes() -> None:
    assert [crash_delay_s(count) for count in range(1, 9)] == SCHEDULE_S
    assert crash_delay_s(10**6) == 300


@pytest.mark.fault(7)
def test_every_death_in_a_row_is_paced_by_the_schedule() -> None:
    count, waits = 0, []
    for _ in SCHEDULE_S:
        pace = pace_after_death(count, ready_at=ago(30), now=NOW)
        count = pace.restart_count
        waits.append((pace.restart_after - NOW).total_seconds())
    assert waits == SCHEDULE_S


HEALTH = {
    "a moment short of ten minutes is not health": (ago(599.9), 6),
    "ten minutes of health forget everything": (ago(600), 1),
    "hours of health forget everything": (ago(36_000), 1),
    "what never got ready was never healthy": (None, 6),
    "a clock that was set back makes nobody healthy": (NOW + timedelta(hours=1), 6),
}


@pytest.mark.fault(7)
@pytest.mark.parametrize(("ready_at", "count"), HEALTH.values(), ids=HEALTH.keys())
def test_health_before_a_sixth_death(ready_at: object, count: int) -> None:
    pace = pace_after_death(5, ready_at, NOW)  # type: ignore[arg-type]  # a table of times
    assert pace == Pace(count, NOW + timedelta(seconds=crash_delay_s(count)))


@pytest.mark.fault(21)
def test_a_wait_ends_and_none_is_longer_than_any_that_was_ever_noted() -> None:
    assert not is_over(NOW + timedelta(seconds=1), NOW)
    assert not is_over(NOW + timedelta(seconds=CRASH_BACKOFF_S_MAX), NOW)
    assert is_over(NOW, NOW)
    assert is_over(NOW + timedelta(hours=1), NOW), "the clock was set back since"
