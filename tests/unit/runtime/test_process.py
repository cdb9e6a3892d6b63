"""The context of a process: threads that terminate it when they fail, waits that end when it stops."""

from pathlib import Path

from beacon import errors
from beacon.runtime import process, run_directory, stop_flag
from tests import run_directories


def context(tmp_path: Path) -> process.Context:
    run_dir = run_directories.made(tmp_path)
    return process.Context("watcher", run_dir=run_dir, stop=stop_flag.StopFlag())


def test_a_sleep_ends_at_once_when_the_process_is_to_stop(tmp_path: Path) -> None:
    given = context(tmp_path)
    assert not given.sleep(0.001)
    given.stop.set()

    assert given.sleep(3600)


def test_heartbeats_and_reports_are_in_the_directories_that_readers_use(tmp_path: Path) -> None:
    given = context(tmp_path)

    heart = given.heartbeat("main")
    given.report("scope.Pod", {"state": "watching"})

    assert (run_directory.heartbeats_directory(given.run_dir) / "watcher.main").exists()
    assert [report.component for report in run_directory.read_reports(given.run_dir)] == ["scope.Pod"]
    heart.close()


def test_join_waits_for_every_spawned_thread(tmp_path: Path) -> None:
    given = context(tmp_path)
    done: list[str] = []
    for name in ("a", "b"):
        given.spawn(name, lambda name=name: done.append(name))  # type: ignore[misc]

    given.join()

    assert sorted(done) == ["a", "b"]


def test_a_thread_that_ends_because_the_process_stops_is_no_failure(tmp_path: Path) -> None:
    given = context(tmp_path)

    def stopping() -> None:
        given.stop.wait()
        raise errors.Stopping("stopped while waiting")

    given.spawn("waiter", stopping)
    given.stop.set()
    given.join()

    assert given.failure == 0
