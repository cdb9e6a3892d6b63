"""The window of unconfirmed settlements: what a crash may repeat."""

import pytest

from beacon.notifier.delivery import window


@pytest.mark.parametrize(("width", "base", "most"), [(1, 32, 256), (16, 32, 256), (100, 200, 256), (200, 400, 400)])
def test_its_size_follows_the_concurrency(width: int, base: int, most: int) -> None:
    assert window.of_width(width) == window.UnconfirmedWindow(base=base, most=most)


@pytest.mark.parametrize(
    ("unconfirmed", "age_s", "is_open"),
    [
        (31, 3600.0, True),
        (32, 0.021, False),
        (32, 0.019, True),
        (255, 0.0, True),
        (256, 0.0, False),
    ],
)
def test_beyond_the_base_only_fresh_settlements_may_be_unconfirmed(
    unconfirmed: int, age_s: float, is_open: bool
) -> None:
    assert window.of_width(5).is_open(unconfirmed, age_s=age_s) is is_open


def test_there_is_a_mark_for_every_request_that_a_crash_may_repeat() -> None:
    assert window.most_marks(5) >= window.of_width(5).most + 5 + 1
