"""How `beacon status` looks: what is wrong stands out on a terminal, and nowhere else."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from beacon import errors
from beacon.cli import formatting
from beacon.cli.commands.status import collection, problems, rendering
from beacon.cli.commands.status import command as status
from beacon.runtime import run_directory

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
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

    assert "pods: 1 object cannot be read: a/b: its labels can't be read" in collection.collect(tmp_path)["wrong"]


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
    other = {"component": "scope.Other.e", "state": "watching", "scope": "others.e"}
    part = {"component": "scope.Widget.e", "state": state, "reason": "not served", "scope": "widgets.e"}
    seen = {
        "store": {"why": ""},
        "processes": [],
        "components": [part | {"listed": listed}, other],
        "scopes": [
            {"name": "Widget.e", "label": "widgets.e", "position_us": position_us, "listed": listed},
            {"name": "Other.e", "label": "others.e", "position_us": 9, "listed": True},
        ],
        "deliveries": [],
        "gaps": [],
        "ready": {"ok": True, "why": "", "checks": {}},
    }

    assert find(seen) == expected


def find(snapshot: dict[str, Any], *, now_us: int = 10) -> list[str]:
    return problems.find(snapshot, now_us=now_us)


def seen(**changes: Any) -> dict[str, Any]:
    """Return a healthy snapshot with changes."""
    return {
        "wrong": [],
        "store": {"state": "ready", "why": ""},
        "ready": {"ok": True, "why": "", "checks": {}},
        "processes": [process("watcher"), process("notifier")],
        "components": [{"component": "scope.Pod", "state": "watching", "scope": "pods", "listed": True}],
        "scopes": [{"name": "Pod", "label": "pods", "position": 5, "position_us": 5, "listed": True}],
        "deliveries": [],
        "gaps": [],
        "storage": {},
        **changes,
    }


def process(name: str, **changes: Any) -> dict[str, Any]:
    found = {"name": name, "state": "RUNNING", "pid": 1, "up_s": 9, "ended_s": None, "slowest_beat_s": 0.1, "why": ""}
    return found | changes


def unready(component: str, state: str, why: str) -> dict[str, Any]:
    return {"ok": False, "why": "", "checks": {component: {"ok": False, "state": state, "why": why}}}


def scope(**changes: Any) -> list[dict[str, Any]]:
    return [seen()["scopes"][0] | changes]


def test_a_healthy_snapshot_has_no_problem() -> None:
    assert find(seen()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"processes": [process("watcher", ended_s=20)]}, "watcher: restarted, it ended 20 s ago; see its log"),
        ({"processes": [process("x", state="BACKOFF", pid=0, why="exited")]}, "x: BACKOFF exited"),
        ({"processes": [process("x", state="FATAL", pid=0)]}, "x: FATAL"),
        ({"processes": [process("x", slowest_beat_s=90.0)]}, "x: a thread has had no heartbeat for 90 s"),
        ({"scopes": scope(listed=False)}, "pods: not listed"),
        ({"components": []}, "pods: the watcher has not reported this scope"),
        ({"ready": unready("storage", "unknown", "no volume")}, "storage: unknown: no volume"),
        ({"ready": unready("watcher", "starting", "")}, "watcher: starting"),
        ({"ready": {"ok": None, "why": "refused", "checks": {}}}, "exporter: refused"),
    ],
)
def test_each_problem_is_one_sentence(changes: dict[str, Any], expected: str) -> None:
    assert find(seen(**changes)) == [expected]


def test_a_restart_of_more_than_ten_minutes_ago_is_healthy() -> None:
    assert find(seen(processes=[process("watcher", ended_s=600)])) == []


def test_a_component_has_one_sentence_though_ready_reports_it_too() -> None:
    stopped = process("notifier", state="STOPPED", pid=0)

    found = find(seen(processes=[stopped], ready=unready("notifier", "stopped", "")))

    assert found == ["notifier: STOPPED"]


def test_a_watcher_that_is_down_is_one_sentence_for_all_its_scopes() -> None:
    down = process("watcher", state="BACKOFF", pid=0)

    assert find(seen(processes=[down], components=[])) == ["watcher: BACKOFF"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "none that ended within the retention period"),
        ({"scopes": scope(listed=False)}, "unknown"),
        ({"store": {"state": "silent", "why": "no answer"}, "scopes": []}, "unknown"),
    ],
)
def test_that_there_is_no_gap_is_stated_only_where_it_is_known(changes: dict[str, Any], expected: str) -> None:
    lines = list(rendering.lines(seen(**changes)))

    assert lines[lines.index("\ngaps, latest first") + 1] == f"  {expected}"


def test_a_silent_store_leaves_everything_it_knows_unknown(tmp_path: Path) -> None:
    lines = list(rendering.lines(collection.collect(tmp_path)))

    for title in ("processes", "scopes", "deliveries", "endpoint", "gaps, latest first", "storage"):
        assert lines[lines.index(f"\n{title}") + 1] == "  unknown"


def test_failed_deliveries_are_counted_by_code_and_the_next_command_is_named() -> None:
    one = {"endpoint": "default", "failed": 14, "failed_by_code": {"401": 11, "": 1}}

    assert problems._failure(one) == (
        "endpoint default: 14 failed (11 with 401, 1 with no response, 2 with other); see beacon events --state failed,"
        " and then beacon redeliver --state failed or beacon discard"
    )


def compared(state: str, *, ago_us: int) -> dict[str, Any]:
    since = formatting.precise(NOW_US - 2 * HOUR_US)
    return {
        "component": "reconcile.Pod",
        "state": state,
        "reason": "denied",
        "scope": "pods",
        "since": since,
        "done_us": NOW_US - ago_us if ago_us else 0,
    }


def gap(**changes: Any) -> dict[str, Any]:
    """Return a gap of a minute that ended ten minutes ago."""
    until = NOW_US - 600_000_000
    usual = {"label": "pods", "reason": "expired", "since_us": until - 60_000_000, "until_us": until, "differences": 0}
    return usual | changes


def delivery(age_us: int) -> dict[str, Any]:
    return {"endpoint": "default", "failed": 0, "suspects": [], "oldest_us": NOW_US - age_us}


FRESH = {"scopes": scope(position_us=NOW_US)}
PRESSURE = {"component": "storage", "state": "critical", "reason": "95% of the bytes are used"}
WATCHED = seen()["components"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"components": [*WATCHED, PRESSURE]}, ["storage: critical: 95% of the bytes are used"]),
        ({"components": [*WATCHED, PRESSURE | {"state": "ok"}]}, []),
        (
            {"components": [*WATCHED, compared("failed", ago_us=0)]},
            ["reconciler: pods was last compared 2 h 0 min ago: failed: denied"],
        ),
        ({"components": [*WATCHED, compared("inconclusive", ago_us=HOUR_US // 2)]}, []),
        ({"components": [*WATCHED, compared("complete", ago_us=2 * HOUR_US)]}, []),
        (
            {"scopes": scope(position_us=NOW_US - 301_000_000)},
            ["pods: its position was last confirmed 5 min 1 s ago"],
        ),
        ({"scopes": scope(position_us=NOW_US - 299_000_000)}, []),
        (
            {"deliveries": [delivery(301_000_000)]},
            ["endpoint default: the oldest pending delivery is 5 min 1 s old"],
        ),
        ({"deliveries": [delivery(299_000_000)]}, []),
        (
            {"gaps": [gap(differences=3)]},
            ["pods: a gap (expired) of 1 min 0 s ended 10 min 0 s ago with 3 differences"],
        ),
        ({"gaps": [gap(differences=3, until_us=NOW_US - HOUR_US)]}, []),
        ({"gaps": [gap(differences=3, reason="first-list")]}, []),
        ({"gaps": [gap(differences=3, until_us=0)]}, []),
        ({"gaps": [gap()]}, []),
        (
            {"gaps": [gap(since_us=NOW_US - HOUR_US)]},
            ["pods: a gap (expired) of 50 min 0 s ended 10 min 0 s ago with 0 differences"],
        ),
        (
            {"gaps": [gap(reason="damaged")]},
            ["pods: a gap (damaged) of 1 min 0 s ended 10 min 0 s ago with 0 differences"],
        ),
    ],
)
def test_the_state_that_raises_an_alert_is_a_problem(changes: dict[str, Any], expected: list[str]) -> None:
    assert find(seen(**(FRESH | changes)), now_us=NOW_US) == expected


def test_a_parked_endpoint_is_a_sentence_with_the_cure() -> None:
    part = {"component": "endpoint", "state": "parked", "cause": "not-found", "endpoint": "a", "since": "2026-11-28"}

    (problem,) = find(seen(components=[*seen()["components"], part]))

    assert problem.startswith("endpoint a: parked (not-found) since 2026-11-28: correct the URL; ")
    assert problem.endswith("run beacon resume")
