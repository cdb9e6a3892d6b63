import math

import hypothesis
from hypothesis import strategies

from beacon.dev.endpoint import percentiles


@hypothesis.given(strategies.lists(strategies.floats(1e-5, 1e5), min_size=1, max_size=300))
def test_percentiles_are_exact_to_one_percent(durations: list[float]) -> None:
    distribution = percentiles.Distribution()
    for duration_s in durations:
        distribution.add(duration_s)

    found = distribution.percentiles()

    ordered = sorted(durations)
    for share, value in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        exact = ordered[math.ceil(share * len(ordered)) - 1]
        assert exact * 0.999999 <= value <= exact * 1.011
    assert found.max == ordered[-1]
    assert found.count == len(durations)


def test_nothing_has_percentiles_of_zero() -> None:
    assert percentiles.Distribution().percentiles() == percentiles.Percentiles(count=0, p50=0, p95=0, p99=0, max=0)
