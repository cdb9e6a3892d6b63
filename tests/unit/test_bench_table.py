"""The benchmark's table says what was found, what is to be reached, and what was found before."""

import pytest

from tests.bench import measurements, rows, table

ROW = "steady 17/s, p50, ms"


def lines(text: str) -> dict[str, str]:
    return {row: line for row in (ROW, "fsync of 4 KiB, us") for line in text.splitlines() if line.startswith(row)}


def test_a_row_shows_the_median_the_range_and_the_target() -> None:
    found = lines(table.rendered({ROW: [2.0, 4.0, 2.5], "fsync of 4 KiB, us": [200.0]}))

    assert found[ROW].removeprefix(ROW).split() == ["2.50", "2.00", "4.00", "<=", "3"]
    assert found["fsync of 4 KiB, us"].removeprefix("fsync of 4 KiB, us").split() == ["200.00"] * 3


@pytest.mark.parametrize(
    ("row", "figure", "met"),
    [
        (ROW, 3.0, True),
        (ROW, 3.1, False),
        ("endpoint of 50 ms, default settings, events/s", 90.0, True),
        ("endpoint of 50 ms, default settings, events/s", 89.0, False),
        ("kill -9 of anything, next event after, s", 3.1, False),
        ("CPU s per 1000 at 1000/s, store", 1e9, True),
    ],
)
def test_a_measurement_that_misses_its_target_is_marked(row: str, figure: float, *, met: bool) -> None:
    assert table.rendered({row: [figure]}).endswith("NOT MET") is not met


def test_two_builds_are_shown_by_the_ratios_within_their_pairs() -> None:
    this = {ROW: [3.0, 2.0, 8.0], "fsync of 4 KiB, us": [1.0]}

    found = lines(table.compared(this, {ROW: [1.0, 2.0, 2.0], "gone": [1.0]}))

    assert found[ROW].removeprefix(ROW).split() == ["2.00", "3.00", "3.00", "1.00", "4.00", "3"]
    assert found["fsync of 4 KiB, us"].split()[-6:] == ["-", "1.00", "-", "-", "-", "0"]


def test_the_documented_figure_of_a_row_is_found_in_the_page() -> None:
    page = f"# Page\n\n| measure | found |\n|---|---|\n| {ROW} | 1.5 ms (1-2; 3 runs) | <= 3 |\n| x | - | |\n"

    documented = table.parsed(page)

    assert lines(table.rendered({ROW: [3.0]}, documented=documented))[ROW].split()[-2:] == ["1.50", "2.00"]
    assert documented["x"] == "-"


def test_every_row_with_a_target_is_documented_with_that_target() -> None:
    documented = {
        cells[1].strip(): cells[3].strip()
        for line in table.DOCUMENTED.read_text(encoding="utf-8").splitlines()
        if len(cells := line.split("|")) == 5
    }

    assert set(rows.AIMED) <= set(documented)
    for row, target in rows.AIMED.items():
        assert documented[row].removeprefix("<= ") == str(target).removeprefix("<= "), row


def test_a_measurement_that_a_real_cluster_does_not_allow_states_the_reason() -> None:
    assert {name for name, one in measurements.ALL.items() if one.embedded} == {"biglist", "churn", "listed", "scopes"}
