"""The run directory: private, cleared for another supervisord, kept otherwise."""

import os
import stat
import threading
from pathlib import Path

import pytest

from beacon import errors
from beacon.runtime import heartbeat, run_directory
from tests import run_directories


def test_the_private_directory_is_created_for_this_user_alone(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})

    assert run_dir == tmp_path / "beacon"
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_a_directory_that_others_may_enter_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "beacon").mkdir()
    (tmp_path / "beacon").chmod(0o777)

    run_dir = run_directories.made(tmp_path)

    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_an_unset_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.StartError, match="BEACON_RUN_DIR is not set") as raised:
        run_directory.prepare({})

    assert raised.value.exit_code == errors.EXIT_CONFIG


def test_a_directory_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(errors.StartError, match="file") as raised:
        run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path / "file")})

    assert raised.value.exit_code == errors.EXIT_CANNOT_CREATE


def leave_things(run_dir: Path) -> list[Path]:
    left = [
        run_directory.metrics_directory(run_dir) / "counter_watcher.db",
        run_directory.heartbeats_directory(run_dir) / "watcher.main",
        run_directory.reports_directory(run_dir) / "watcher.scope.json",
    ]
    for path in left:
        path.write_bytes(b"{}")
    return left


def test_the_store_clears_files_of_another_supervisord(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})
    run_directory.boot(run_dir, "1 100 boot")
    left = leave_things(run_dir)

    assert run_directory.boot(run_dir, "1 200 boot")

    assert not any(path.exists() for path in left)
    assert run_directory.booted(run_dir, "1 200 boot")
    assert not run_directory.booted(run_dir, "1 100 boot")


def test_a_store_that_starts_again_under_the_same_supervisord_clears_nothing(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})
    run_directory.boot(run_dir, "1 100 boot")
    left = leave_things(run_dir)

    assert not run_directory.boot(run_dir, "1 100 boot")

    assert all(path.exists() for path in left)


def test_a_store_started_by_hand_clears_nothing(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    left = leave_things(run_dir)

    assert not run_directory.boot(run_dir, "")

    assert all(path.exists() for path in left)


def test_the_others_wait_until_the_store_has_cleared_the_directory(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})
    run_directory.boot(run_dir, "1 100 boot")
    passed = threading.Event()

    def wait() -> None:
        run_directory.await_boot(run_dir, "1 200 boot", threading.Event())
        passed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not passed.wait(0.2)
    run_directory.boot(run_dir, "1 200 boot")

    assert passed.wait(100)
    thread.join()


def test_waiting_for_the_store_ends_when_the_process_is_to_stop(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})
    stop = threading.Event()
    stop.set()

    with pytest.raises(errors.Stopping):
        run_directory.await_boot(run_dir, "1 200 boot", stop)


def test_a_process_started_by_hand_does_not_wait_for_the_store(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})

    run_directory.await_boot(run_dir, run_directory.supervisor_of({}, os.getppid()), threading.Event())

    assert run_directory.metrics_directory(run_dir).is_dir()


@pytest.mark.slow
def test_a_process_that_starts_while_the_store_clears_does_not_disturb_it(tmp_path: Path) -> None:
    run_dir = run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})
    run_directory.boot(run_dir, "1 100 boot")
    cleared = threading.Event()

    def arrive() -> None:
        while not cleared.is_set():
            run_directory.prepare({"BEACON_RUN_DIR": str(tmp_path)})

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        for n in range(300):
            assert run_directory.boot(run_dir, f"{n} 200 boot")
    finally:
        cleared.set()
        thread.join()


def test_every_supervisord_has_a_unique_name() -> None:
    mine = run_directory.supervisor_of({"SUPERVISOR_ENABLED": "1"}, os.getpid())

    assert mine == run_directory.supervisor_of({"SUPERVISOR_ENABLED": "1"}, os.getpid())
    assert mine != run_directory.supervisor_of({"SUPERVISOR_ENABLED": "1"}, os.getppid())
    assert run_directory.supervisor_of({}, os.getpid()) == ""


def test_a_report_keeps_since_while_only_its_details_change(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    clock = [1_767_225_600_000_000]
    reporter = run_directory.Reporter(run_dir, "watcher", now_us=lambda: clock[0])
    reporter.report("scope.Pod", {"state": "listing"})
    clock[0] += 5_000_000
    reporter.report("scope.Pod", {"state": "watching", "reason": "a"})
    clock[0] += 5_000_000

    reporter.report("scope.Pod", {"state": "watching", "reason": "b"})

    (report,) = run_directory.read_reports(run_dir)
    assert (report.process, report.component, report.pid) == ("watcher", "scope.Pod", os.getpid())
    assert (report.state, report.since) == ("watching", "2026-01-01T00:00:05.000000Z")
    assert report.fields == {"reason": "b"}


def test_an_unchanged_report_is_not_written_again(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    reporter = run_directory.Reporter(run_dir, "watcher")
    reporter.report("x", {"state": "fine"})
    (path,) = run_directory.reports_directory(run_dir).iterdir()
    path.unlink()

    reporter.report("x", {"state": "fine"})

    assert run_directory.read_reports(run_dir) == ()


@pytest.mark.parametrize("component", ["a/../../b", "x" * 300, "pods@" + "n" * 240, "ä.b:c"])
def test_any_component_can_report(tmp_path: Path, component: str) -> None:
    run_dir = run_directories.made(tmp_path)

    run_directory.Reporter(run_dir, "watcher").report(component, {"state": "fine"})

    (report,) = run_directory.read_reports(run_dir)
    assert report.component == component


@pytest.mark.slow
def test_a_reader_never_sees_half_a_report(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    reporter = run_directory.Reporter(run_dir, "watcher")
    reporter.report("x", {"state": "0", "text": "y" * 100_000})
    done = threading.Event()

    def write() -> None:
        for n in range(300):
            reporter.report("x", {"state": str(n), "text": "y" * 100_000})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        (report,) = run_directory.read_reports(run_dir)
        assert len(report.fields["text"]) == 100_000
    thread.join()


def test_an_earlier_life_is_forgotten_without_touching_other_processes(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    for process in ("watcher", "store"):
        heartbeat.Heartbeat(run_directory.heartbeats_directory(run_dir), process, "main")
        run_directory.Reporter(run_dir, process).report("x", {"state": "fine"})

    run_directory.forget(run_dir, "watcher")

    assert [beat.process for beat in heartbeat.read(run_directory.heartbeats_directory(run_dir))] == ["store"]
    assert [report.process for report in run_directory.read_reports(run_dir)] == ["store"]


def test_a_file_that_is_no_report_is_ignored(tmp_path: Path) -> None:
    run_dir = run_directories.made(tmp_path)
    for name, content in (("a", b""), ("b", b"[]"), ("c", b"{}"), ("d", b'{"state": 1}')):
        (run_directory.reports_directory(run_dir) / f"{name}.json").write_bytes(content)

    assert run_directory.read_reports(run_dir) == ()


def test_a_pipe_or_device_among_the_reports_neither_blocks_nor_fills_the_memory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / "a.fifo.json")
    (state / "a.zero.json").symlink_to("/dev/zero")
    (state / "a.large.json").write_bytes(b"1" * 2_000_000)
    (state / "a.directory.json").mkdir()

    assert run_directory.read_reports(tmp_path) == ()
