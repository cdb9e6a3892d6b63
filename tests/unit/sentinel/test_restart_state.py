"""The state that survives a restart of the sentinel, and the state that must not."""

from pathlib import Path

import pytest

from beacon.runtime import run_directory
from beacon.sentinel import restart_state
from tests import run_directories


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return run_directories.made(tmp_path)


def test_deaths_and_holds_survive(run_dir: Path) -> None:
    before = restart_state.RestartState(run_dir, "1 2 boot")
    before.record_death("watcher", 10.0)
    before.record_death("watcher", 11.0)
    before.hold("watcher", 15.0)
    before.hold("notifier", 16.0)
    before.release("notifier")

    after = restart_state.RestartState(run_dir, "1 2 boot")

    assert after.deaths("watcher") == (10.0, 11.0)
    assert after.held() == {"watcher": 15.0}
    assert run_directory.read_reports(run_dir) == ()


def test_deaths_and_holds_of_another_supervisord_are_ignored(run_dir: Path) -> None:
    before = restart_state.RestartState(run_dir, "1 2 boot")
    before.record_death("watcher", 10.0)
    before.hold("watcher", 15.0)

    after = restart_state.RestartState(run_dir, "1 3 boot")

    assert (after.deaths("watcher"), after.held()) == ((), {})


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_an_invalid_file_is_ignored(run_dir: Path, content: str) -> None:
    (run_directory.reports_directory(run_dir) / "sentinel.memory").write_text(content)

    assert restart_state.RestartState(run_dir, "1 2 boot").held() == {}


def test_only_recent_deaths_are_kept(run_dir: Path) -> None:
    made = restart_state.RestartState(run_dir, "1 2 boot")
    for instant in range(0, 10_000, 100):
        made.record_death("watcher", float(instant))

    assert made.deaths("watcher") == (9700.0, 9800.0, 9900.0)
