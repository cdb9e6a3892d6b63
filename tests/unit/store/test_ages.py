"""The age of a timestamp, although the wall clock was set: never too high, and not too high for long."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from beacon.store.ledger import ages

SECOND_US = 1_000_000
PERIOD_US = 3600 * SECOND_US
HOUR_US = 3600 * SECOND_US
YEARS_US = 30 * 365 * 24 * HOUR_US
NOW_US = 1_700_000_000 * SECOND_US

STEPS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=5 * HOUR_US),
        st.sampled_from([HOUR_US, -HOUR_US, 24 * HOUR_US, -24 * HOUR_US, YEARS_US, -YEARS_US]),
    ),
    max_size=6,
)


def live(steps: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int, int]:
    """Simulate time and jumps. Return the jumps, (timestamp, true time) of rows, the clock, and the true time."""
    wall_us, true_us = NOW_US, 0
    jumps, rows = [], [(wall_us, true_us)]
    for passed_us, by_us in steps:
        wall_us, true_us = wall_us + passed_us, true_us + passed_us
        rows.append((wall_us, true_us))
        wall_us += by_us
        jumps.append((wall_us, by_us))
        rows.append((wall_us, true_us))
    return jumps, rows, wall_us, true_us


@given(STEPS, st.integers(min_value=0, max_value=3 * HOUR_US))
def test_no_row_is_old_before_its_time(steps: list[tuple[int, int]], passed_us: int) -> None:
    jumps, rows, wall_us, true_us = live(steps)
    found = ages.split(jumps, now_us=wall_us + passed_us, since_us=wall_us + passed_us - PERIOD_US)

    for timestamp_us, written_us in rows:
        if found.is_old(timestamp_us):
            assert true_us + passed_us - written_us > PERIOD_US


@given(STEPS)
def test_every_row_is_old_one_period_after_the_last_jump_unless_the_clock_shows_its_time_again(
    steps: list[tuple[int, int]],
) -> None:
    jumps, rows, wall_us, _ = live(steps)
    now_us = wall_us + PERIOD_US + 60 * SECOND_US
    found = ages.split(jumps, now_us=now_us, since_us=now_us - PERIOD_US)

    for timestamp_us, _ in rows:
        assert found.is_old(timestamp_us) or wall_us - 60 * SECOND_US <= timestamp_us <= now_us + 60 * SECOND_US


@given(STEPS)
def test_every_timestamp_is_either_old_or_young(steps: list[tuple[int, int]]) -> None:
    jumps, _, wall_us, _ = live(steps)
    found = ages.split(jumps, now_us=wall_us, since_us=wall_us - PERIOD_US)

    ranges = sorted([*found.old, *found.young])
    assert (ranges[0][0], ranges[-1][1]) == (-ages.END_US, ages.END_US)
    assert all(low <= high for low, high in ranges)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ranges))


def test_without_jumps_a_period_is_a_period() -> None:
    found = ages.split([], now_us=NOW_US, since_us=NOW_US - PERIOD_US)

    assert found.is_old(NOW_US - PERIOD_US - 1)
    assert not found.is_old(NOW_US - PERIOD_US)


def test_after_a_jump_of_unknown_size_the_future_counts_as_that_moment() -> None:
    jumps = [(NOW_US, 0)]
    later_us = NOW_US + PERIOD_US

    assert not ages.split(jumps, now_us=later_us, since_us=later_us - PERIOD_US).is_old(NOW_US + YEARS_US)
    assert ages.split(jumps, now_us=later_us + 1, since_us=later_us + 1 - PERIOD_US).is_old(NOW_US + YEARS_US)
