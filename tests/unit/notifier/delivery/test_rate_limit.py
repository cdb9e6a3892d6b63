"""The token bucket of an endpoint."""

import pytest

from beacon.notifier.delivery import rate_limit


def begun_within(limit: rate_limit.RateLimit, seconds: float, *, start: float = 1000.0) -> list[float]:
    """Begin requests as early as allowed; return when."""
    now, begun = start, []
    while (at := limit.next_at(now)) <= start + seconds:
        now = max(now, at)
        limit.take(now)
        begun.append(now)
    return begun


@pytest.mark.parametrize("rate", [0.5, 3.0, 7.0, 100.0, 2500.0])
def test_no_second_has_more_than_a_tenth_above_the_rate_and_one_more(rate: float) -> None:
    begun = begun_within(rate_limit.RateLimit(rate), 10.0)

    assert rate * 10.0 - 1 <= len(begun) <= rate * 10.0 + max(1.0, rate * 0.1) + 1
    most = max(sum(first <= one < first + 1.0 for one in begun) for first in begun[:: max(1, len(begun) // 200)])
    assert most <= rate * 1.1 + 2


def test_a_pause_gathers_only_a_short_burst() -> None:
    limit = rate_limit.RateLimit(100.0)
    begun_within(limit, 1.0)

    assert sum(one == 2000.0 for one in begun_within(limit, 0.0, start=2000.0)) == 10


def test_a_request_that_could_not_wait_delays_the_following_ones() -> None:
    limit = rate_limit.RateLimit(1.0)
    for _ in range(3):
        limit.take(1000.0)

    assert limit.next_at(1000.0) == pytest.approx(1003.0)


def test_no_rate_is_no_limit() -> None:
    limit = rate_limit.RateLimit(0.0)
    limit.take(1000.0)

    assert limit.next_at(1000.0) < 1000.0
    assert limit.in_a_second(100) == 100
    assert rate_limit.RateLimit(2.5).in_a_second(100) == 3
    assert rate_limit.RateLimit(0.1).in_a_second(100) == 1
