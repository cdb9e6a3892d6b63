"""How `beacon status` looks: what is wrong stands out on a terminal, and nowhere else."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from beacon import errors
from beacon.cli import formatting, parked
from beacon.cli.commands.status import collection, endpoints, problems, rendering
from beacon.cli.commands.status import command as status
from beacon.domain import parking
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
        "endpoints": [],
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


def counted(name: str = "billing", **changes: Any) -> dict[str, Any]:
    """Return the store's statistics of an endpoint with 3 pending deliveries."""
    none = dict.fromkeys(("queued", "in_flight", "failed", "delivered", "discarded", "oldest_us"), 0)
    halted = {"paused_us": 0, "paused_by": "", "paused_reason": "", "removed_us": 0, "catching_up": False}
    halted |= {"parked_us": 0, "parked_cause": ""}
    return none | halted | {"endpoint": name, "ready": 2, "waiting": 1, "suspects": [], "failed_by_code": {}} | changes


def reported(state: str, name: str = "billing", **fields: Any) -> dict[str, Any]:
    return {"component": "endpoint", "state": state, "endpoint": name, "since": "T", "process": "notifier", **fields}


def with_states(**changes: Any) -> dict[str, Any]:
    found = seen(**changes)
    return found | {"endpoints": list(endpoints.states(found))}


SINCE = formatting.precise(NOW_US)


@pytest.mark.parametrize(
    ("changes", "report", "expected"),
    [
        ({}, reported("up"), []),
        ({"catching_up": True}, reported("unknown"), []),
        (
            {},
            reported("down", breaker="open"),
            [
                (
                    "endpoint billing: down since T (breaker open), 3 pending; it is tried until it answers; see beacon"
                    " test-event --endpoint billing"
                )
            ],
        ),
        (
            {},
            reported("parked", cause="not-found"),
            [
                (
                    "endpoint billing: parked since T (not-found), 3 pending; correct the URL, or restore its path"
                    " at the receiver; probes go on until it accepts one, and beacon resume --endpoint billing sends"
                    " what it refused again at once"
                )
            ],
        ),
        (
            {},
            reported("faulty"),
            [
                (
                    "endpoint billing: faulty since T (an unexpected error of Beacon), 3 pending; it is tried again by"
                    " itself; see the log of the notifier"
                )
            ],
        ),
        (
            {"paused_us": NOW_US, "paused_by": "alice", "paused_reason": "upgrade", "oldest_us": 1},
            reported("down"),
            [
                (
                    f"endpoint billing: paused since {SINCE} (by alice: upgrade), 3 pending; beacon resume --endpoint"
                    " billing ends it"
                )
            ],
        ),
        (
            {"parked_us": NOW_US, "parked_cause": "unauthorized", "oldest_us": 1},
            reported("down", breaker="open"),
            [
                (
                    f"endpoint billing: parked since {SINCE} (unauthorized), 3 pending; replace the token or the client"
                    " certificate; a changed file is read again by itself; probes go on until it accepts one, and"
                    " beacon resume --endpoint billing sends what it refused again at once"
                )
            ],
        ),
        (
            {"removed_us": NOW_US, "failed": 4, "oldest_us": 1},
            None,
            [
                (
                    f"endpoint billing: removed since {SINCE} (it is not in the configuration), 3 pending and 4 failed;"
                    " put it back into the configuration, or end its deliveries with beacon discard --endpoint billing"
                )
            ],
        ),
        ({"removed_us": NOW_US, "ready": 0, "waiting": 0}, None, []),
    ],
)
def test_an_endpoint_that_needs_attention_is_one_sentence_with_the_next_command(
    changes: dict[str, Any], report: dict[str, Any] | None, expected: list[str]
) -> None:
    parts = [*WATCHED, *([report] if report else [])]

    found = find(with_states(components=parts, deliveries=[counted(**changes)], **FRESH), now_us=NOW_US)

    assert found == expected


def test_backups_are_shown_where_they_are_configured() -> None:
    made, none = (list(rendering.lines(seen(components=[backup(*one)]))) for one in (("waiting", 0), ("running", None)))

    assert made[-2] == "\nbackups"
    assert made[-1].startswith("  waiting  b.db  made ")
    assert none[-2:] == ["\nbackups", "  running  none yet"]
    assert "\nbackups" not in list(rendering.lines(seen()))


def test_every_cause_of_parking_has_a_cure_of_its_own() -> None:
    cures = {cause: parked.cure(cause) for cause in [*parking.ParkingCause, "invalid-client", "status-451"]}

    assert len(set(cures.values())) == len(cures)
    assert cures["status-451"] == "find out why it answers 451, and correct that"
    assert [cause for cause, cure in cures.items() if cure.startswith("find out")] == ["status-451"]


def test_a_faulty_endpoint_is_not_described_as_a_fault_of_the_notifier_too() -> None:
    claim = {"component": "claim", "state": "paused after an unexpected error, see the log", "endpoint": "billing"}

    both = find(with_states(components=[*WATCHED, claim, reported("faulty")], deliveries=[counted()]))
    alone = find(with_states(components=[*WATCHED, claim, reported("up")], deliveries=[counted()]))

    assert [one.partition(" since")[0] for one in both] == ["endpoint billing: faulty"]
    assert alone == ["notifier: paused after an unexpected error, see the log"]


def test_several_endpoints_are_shown_with_their_backlog_and_one_as_before() -> None:
    two = [counted("a", catching_up=True), counted("b", paused_us=NOW_US, paused_by="alice", failed=1)]
    parts = [*WATCHED, reported("up", "a"), reported("up", "b")]
    several = list(rendering.lines(with_states(components=parts, deliveries=two)))
    one = list(rendering.lines(with_states(components=parts[:-1], deliveries=two[:1])))

    place = several.index("\nendpoints")
    assert [" ".join(line.split()) for line in several[place + 1 : place + 3]] == [
        "a up since T 3 pending, 0 failed catching up",
        f"b paused since {SINCE} 3 pending, 1 failed by alice",
    ]
    assert one[one.index("\nendpoint") + 1] == "  a  up  since T"


def test_endpoints_are_named_by_the_notifier_while_the_store_does_not_answer() -> None:
    found = with_states(components=[reported("down")], store={"state": "silent", "why": "no answer"})

    assert [(one["endpoint"], one["state"], one["pending"]) for one in found["endpoints"]] == [
        ("billing", "down", None)
    ]
    assert find(found)[:2] == [
        "store: no answer",
        (
            "endpoint billing: down since T (it does not answer); it is tried until it answers; see beacon test-event"
            " --endpoint billing"
        ),
    ]


def test_failed_deliveries_of_one_of_several_endpoints_name_it_in_the_next_commands() -> None:
    assert problems._failure(counted(failed=1), several=True) == (
        "endpoint billing: 1 failed (1 with other); see beacon events --state failed --endpoint billing, and then"
        " beacon redeliver --state failed --endpoint billing or beacon discard --endpoint billing"
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


def backup(state: str, age_us: int | None) -> dict[str, Any]:
    made_us = 0 if age_us is None else NOW_US - age_us
    return {
        "component": "backup",
        "state": state,
        "reason": "the backup volume is full" if state == "failed" else "",
        "made_us": made_us,
        "file": "b.db" if made_us else "",
        "interval_s": 3600.0,
    }


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
        (
            {"gaps": [gap(reason="restored")]},
            ["pods: a gap (restored) of 1 min 0 s ended 10 min 0 s ago with 0 differences"],
        ),
        ({"components": [*WATCHED, backup("waiting", 2 * HOUR_US)]}, []),
        ({"components": [*WATCHED, backup("running", None)]}, []),
        ({"components": [*WATCHED, backup("waiting", 3 * HOUR_US)]}, ["backup: late: the newest is 3 h 0 min old"]),
        (
            {
                "components": [*WATCHED, backup("failed", HOUR_US)],
                "ready": unready("backup", "failed", "the backup volume is full"),
            },
            ["backup: failed: the backup volume is full; the newest is 1 h 0 min old"],
        ),
        (
            {"components": [*WATCHED, backup("failed", None)]},
            ["backup: failed: the backup volume is full; there is none"],
        ),
    ],
)
def test_the_state_that_raises_an_alert_is_a_problem(changes: dict[str, Any], expected: list[str]) -> None:
    assert find(seen(**(FRESH | changes)), now_us=NOW_US) == expected
