"""The throttle: never more than was promised, never more memory than was promised, and a crowd gets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import throttle
from gateway.auth.throttle import ROUNDING_S, Pace, Throttle, network_of

keys = st.sampled_from([f"192.0.2.{n}" for n in range(6)])
pauses_s = st.one_of(st.just(0.0), st.floats(0.0, 0.05), st.floats(0.0, 3.0))
requests = st.lists(st.tuples(pauses_s, keys), max_size=120)
rates = st.sampled_from([0.5, 1.0, 3.0, 7.0, 100.0])
bursts = st.integers(1, 5)


def admitted(limit: Throttle, asked: list[tuple[float, str]]) -> list[tuple[float, str]]:
    now_s, through = 1000.0, []
    for pause_s, key in asked:
        now_s += pause_s
        if limit.take(key, now_s) is None:
            through.append((now_s, key))
    return through


def assert_paced(times_s: list[float], pace: Pace) -> None:
    """No window, from any request let in to any later one, holds more than burst + rate x its length."""
    for first, start_s in enumerate(times_s):
        for last in range(first, len(times_s)):
            allowed = pace.burst + pace.rate_per_s * (times_s[last] - start_s + 2 * ROUNDING_S)
            assert last - first + 1 <= allowed


@given(requests, rates, bursts, st.integers(1, 8))
def test_no_key_ever_gets_more_than_its_burst_and_its_rate_even_when_keys_are_forgotten(
    asked: list[tuple[float, str]], rate_per_s: float, burst: int, keys_max: int
) -> None:
    through = admitted(Throttle(rate_per_s, burst, keys_max), asked)
    for key in {key for _, key in asked}:
        assert_paced([at_s for at_s, one in through if one == key], Pace(rate_per_s, burst))


@given(requests, rates, bursts, bursts)
def test_all_keys_together_never_get_more_than_the_pace_of_all(
    asked: list[tuple[float, str]], rate_per_s: float, burst: int, burst_of_all: int
) -> None:
    overall = Pace(2.0, burst_of_all)
    through = admitted(Throttle(rate_per_s, burst, 8, overall), asked)
    assert_paced([at_s for at_s, _ in through], overall)


@given(requests, st.integers(1, 5))
def test_memory_is_bounded(asked: list[tuple[float, str]], keys_max: int) -> None:
    limit = Throttle(0.01, 3, keys_max)
    admitted(limit, asked)
    assert len(limit) <= keys_max
    assert len(limit._by_fullness) == len(limit)


@given(requests, rates, bursts)
def test_while_there_is_room_no_key_notices_the_others(
    asked: list[tuple[float, str]], rate_per_s: float, burst: int
) -> None:
    together = admitted(Throttle(rate_per_s, burst, 6), asked)
    for key in {key for _, key in asked}:
        alone = Throttle(rate_per_s, burst, 1)
        now_s, through = 1000.0, []
        for pause_s, one in asked:
            now_s += pause_s
            if one == key and alone.take(key, now_s) is None:
                through.append((now_s, key))
        assert through == [one for one in together if one[1] == key]


@given(requests, rates, bursts, st.integers(1, 4))
def test_whoever_waits_as_long_as_told_is_let_in(
    asked: list[tuple[float, str]], rate_per_s: float, burst: int, keys_max: int
) -> None:
    limit, now_s = Throttle(rate_per_s, burst, keys_max, Pace(4.0, 3)), 1000.0
    for pause_s, key in asked:
        now_s += pause_s
        wait_s = limit.take(key, now_s)
        if wait_s is not None:
            assert wait_s > 0
            now_s += wait_s
            assert limit.take(key, now_s) is None


def test_to_look_counts_nothing_and_says_what_taking_would() -> None:
    limit = Throttle(1.0, 2, overall=Pace(1.0, 3))
    for _ in range(9):
        assert limit.wait_s("a", 0.0) is None
    assert len(limit) == 0
    assert [limit.take("a", 0.0), limit.take("a", 0.0)] == [None, None]
    assert limit.wait_s("a", 0.0) == limit.take("a", 0.0) == pytest.approx(1.0)
    assert limit.take("b", 0.0) is None
    assert limit.wait_s("c", 0.0) == limit.take("c", 0.0) == pytest.approx(1.0), "the pace of all"


def test_what_is_refused_costs_nothing() -> None:
    limit = Throttle(1.0, 1)
    assert limit.take("a", 0.0) is None
    assert [limit.take("a", 0.5) for _ in range(100)] == [0.5] * 100
    assert limit.take("a", 1.0) is None


def test_a_refusal_for_all_leaves_the_keys_own_bucket_full() -> None:
    limit = Throttle(1.0, 1, overall=Pace(1.0, 1))
    assert limit.take("a", 0.0) is None
    assert limit.take("b", 0.0) == 1.0
    assert len(limit) == 1
    assert limit.take("b", 1.0) is None


def test_after_a_flood_of_addresses_a_newcomer_still_has_a_whole_burst() -> None:
    limit = Throttle(5.0, 10, keys_max=100, overall=Pace(50.0, 100))
    for number in range(60_000):
        limit.take(f"flood-{number}", number / 1000)
    assert len(limit) == 100
    assert [limit.take("newcomer", 61.0) for _ in range(10)] == [None] * 10
    assert limit.take("newcomer", 61.0) == pytest.approx(0.2)


def test_a_flood_without_a_pace_of_all_costs_newcomers_their_burst() -> None:
    limit = Throttle(1.0, 3, keys_max=10)
    through = sum(limit.take(f"flood-{number}", 0.0) is None for number in range(1000))
    assert through <= 3 * (10 + 1)
    assert limit.take("newcomer", 3.0) is None, "and it passes as time does"


def test_the_least_busy_is_forgotten_and_the_busiest_is_not() -> None:
    limit = Throttle(1.0, 3, keys_max=2)
    for key in ("busy", "busy", "busy", "idle", "new"):
        assert limit.take(key, 0.0) is None
    assert limit.take("busy", 0.0) == 1.0
    assert sorted(limit._full_at_s) == ["busy", "new"]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    limit = Throttle(1.0, 1)
    assert limit.take("a", 100.0) is None
    assert limit.take("a", 0.0) == 1.0
    assert limit.take("a", 101.0) is None


@pytest.mark.parametrize(
    ("rate_per_s", "burst", "keys_max"), [(0, 1, 1), (float("nan"), 1, 1), (1, 0, 1), (1, 1, 0)]
)
def test_a_throttle_that_could_let_nobody_in_cannot_be_made(
    rate_per_s: float, burst: int, keys_max: int
) -> None:
    with pytest.raises(ValueError, match="at least"):
        Throttle(rate_per_s, burst, keys_max)


@pytest.mark.negative(7)
def test_a_flood_of_registrations_is_told_to_wait_and_a_crowd_behind_one_address_is_not() -> None:
    """Here the pace alone; that it stands before /register is shown on the wire."""
    limit = Throttle(throttle.REGISTER.rate_per_s, throttle.REGISTER.burst, overall=throttle.REGISTER_ALL)
    crowd = [limit.take("192.0.2.1", 0.0) for _ in range(200)]
    assert crowd == [None] * 200
    assert limit.take("192.0.2.1", 0.0) == pytest.approx(0.2)
    assert limit.take("192.0.2.2", 0.0) is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_a_key_is_the_network_that_one_subscriber_has(address: str, key: str) -> None:
    assert network_of(address) == key
