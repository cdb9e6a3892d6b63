"""Two builds are compared by the ratios within pairs of runs."""

import pytest

from tests.bench import pairs


def test_a_ratio_is_the_median_of_the_pairs_ratios_and_not_the_ratio_of_medians() -> None:
    found = pairs.ratio([10.0, 40.0, 30.0], [10.0, 20.0, 60.0])

    assert found == pairs.Ratio(median=1.0, least=0.5, most=2.0, count=3)


def test_a_machine_that_slows_down_between_pairs_changes_no_ratio() -> None:
    found = pairs.ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0])

    assert found == pairs.Ratio(median=2.0, least=2.0, most=2.0, count=3)


@pytest.mark.parametrize(
    ("this", "other", "expected"),
    [
        ((0.0,), (0.0,), 1.0),
        ((0.0,), (4.0,), 0.0),
        ((3.0, 5.0), (0.0, 5.0), 1.0),
        ((-1.0, 6.0), (2.0, 3.0), 2.0),
    ],
)
def test_pairs_without_a_ratio_are_left_out(this: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    found = pairs.ratio(this, other)

    assert found is not None
    assert (found.median, found.count) == (expected, 1)


@pytest.mark.parametrize(("this", "other"), [((), (1.0,)), ((3.0,), (0.0,)), ((-1.0,), (2.0,)), ((1.0,), (-2.0,))])
def test_a_row_without_a_pair_that_has_one_has_no_ratio(this: tuple[float, ...], other: tuple[float, ...]) -> None:
    assert pairs.ratio(this, other) is None
