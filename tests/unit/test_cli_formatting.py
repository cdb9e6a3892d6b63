import pytest

from beacon.cli import formatting


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (61, "1 min 1 s"), (7_320, "2 h 2 min"), (93_600, "1 d 2 h")],
)
def test_a_duration_is_shown_with_its_two_greatest_units(seconds: float, said: str) -> None:
    assert formatting.duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 KiB"), (2048, "2 KiB"), (3 * 2**20, "3.0 MiB")])
def test_a_size_is_shown_in_its_unit(count: int, said: str) -> None:
    assert formatting.size(count) == said


def test_an_unknown_instant_is_a_question_mark() -> None:
    assert formatting.instant(0) == "?"
    assert formatting.instant(1_700_000_000_000_000) == "2023-11-14 22:13:20Z"
