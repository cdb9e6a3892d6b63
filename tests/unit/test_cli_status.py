"""How `beacon status` looks: what is wrong stands out on a terminal, and nowhere else."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from beacon import errors
from beacon.cli.commands import status
from beacon.runtime import run_directory

RED_AND_BOLD = click.style("Unhealthy:", fg="red", bold=True)


@pytest.mark.parametrize(
    ("terminal", "no_colour", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colour_is_for_terminals_that_want_it(tmp_path: Path, terminal: bool, no_colour: str, coloured: bool) -> None:
    environ = {"BEACON_RUN_DIR": str(tmp_path), "NO_COLOR": no_colour}

    done = CliRunner(env=environ).invoke(status.command, color=terminal)

    assert done.exit_code == errors.EXIT_UNAVAILABLE
    assert done.output.splitlines()[0] == (RED_AND_BOLD if coloured else "Unhealthy:")
    assert ("\x1b" in done.output) is coloured


def test_objects_that_cannot_be_read_are_wrong_and_named(tmp_path: Path) -> None:
    said = {
        "state": "watching",
        "scope": "pods",
        "unreadable": 1,
        "unreadable_objects": ["a/b: its labels can't be read"],
    }
    run_directory.reports_directory(tmp_path).mkdir()
    run_directory.Reporter(tmp_path, "watcher").report("scope.Pod", said)

    assert "pods: 1 object cannot be read: a/b: its labels can't be read" in status.collect(tmp_path)["wrong"]


@pytest.mark.parametrize(
    ("state", "listed", "position_us", "expected"),
    [
        ("watching", True, 5, []),
        ("waiting", False, 0, []),
        ("waiting", True, 0, ["widgets.e: waiting, although it was watched before: not served"]),
        ("waiting", False, 5, ["widgets.e: waiting, although it was watched before: not served"]),
        ("forbidden", False, 0, ["widgets.e: forbidden not served"]),
    ],
)
def test_a_scope_that_waits_is_well_until_it_has_been_followed_once(
    state: str, listed: bool, position_us: int, expected: list[str]
) -> None:
    part = {"component": "scope.Widget.e", "state": state, "reason": "not served", "scope": "widgets.e"}
    seen = {
        "store": {"why": ""},
        "processes": [],
        "components": [part | {"listed": listed}],
        "scopes": [
            {"name": "Widget.e", "label": "widgets.e", "position_us": position_us},
            {"name": "Other.e", "label": "others.e", "position_us": 9},
        ],
        "deliveries": [],
    }

    assert status._wrong(seen) == expected
