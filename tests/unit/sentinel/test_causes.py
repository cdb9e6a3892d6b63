"""Why a program exited, according to supervisord's log and the program's exit report."""

from pathlib import Path

import pytest

from beacon.runtime import run_directory
from beacon.sentinel import causes
from tests import run_directories

BEGIN = "2026-01-01 00:00:00,001 INFO supervisord started with pid 1\n"
LATER = "2026-01-01 00:00:09,001 "


@pytest.mark.parametrize(
    ("log", "how", "code"),
    [
        ("WARN exited: store (exit status 78; not expected)\n", "exit code 78", 78),
        ("INFO exited: store (exit status 0; expected)\n", "exit code 0", 0),
        ("WARN exited: store (terminated by SIGKILL; not expected)\n", "terminated by SIGKILL", None),
        ("WARN exited: store (terminated by SIGSEGV (core dumped); not expected)\n", "terminated by SIGSEGV", None),
        ("WARN exited: store (exit status 1; not expected)\nx exited: watcher (exit status 2; y)\n", "exit code 1", 1),
        ("WARN exited: store (exit status 1; n)\nWARN exited: store (exit status 2; n)\n", "exit code 2", 2),
        ("INFO spawnerr: can't find command 'python'\n", "can't find command 'python'", None),
        ("WARN stopped: store (exit status 5)\n", "", None),
    ],
)
def test_the_last_exit_is_found_in_the_log(log: str, how: str, code: int | None) -> None:
    end = causes.parse_end(BEGIN + LATER + log, "store")

    assert (end.how, end.code) == (how, code)


def test_an_earlier_supervisords_log_does_not_count() -> None:
    assert causes.parse_end(f"WARN exited: store (exit status 78; n)\n{BEGIN}", "store") == causes.End()


def test_the_reason_is_the_exit_report_if_it_belongs_to_that_exit(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    run_directory.Reporter(run_dir, "store").report(
        run_directory.EXIT_REASON, {"state": "ended", "code": 73, "reason": "it is full"}
    )
    log = tmp_path / "supervisord.log"

    log.write_text(f"{BEGIN}WARN exited: store (exit status 73; not expected)\n")
    said = causes.last_end(run_dir, "store").sentence("store")
    assert said == "store can't run: exit code 73: a directory or the volume can't be used: it is full"

    log.write_text(f"{BEGIN}WARN exited: store (terminated by SIGKILL; not expected)\n")
    assert causes.last_end(run_dir, "store").sentence("store") == "store can't run: terminated by SIGKILL"


def test_an_unknown_exit_is_reported_as_unknown(tmp_path: Path) -> None:
    run_dir = tmp_path / "beacon"

    assert causes.last_end(run_dir, "store").sentence("store") == "store can't run: its exit is unknown"


def test_the_termination_log_holds_the_start_of_the_reason_and_nothing_older(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("older" * 2000)

    assert causes.explain("x" * 5000, {causes.VARIABLE: str(path)})

    assert path.read_text() == "x" * 4096


def test_a_termination_log_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    assert not causes.explain("x", {causes.VARIABLE: str(tmp_path / "nowhere" / "log")})
