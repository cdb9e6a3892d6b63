"""A run directory without any room: no process ends because it can't say how it is. On a real tmpfs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from beacon.runtime import heartbeat, run_directory
from tests.unit import volumes


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[volumes.Volume]:
    with volumes.mounted(tmp_path / "run", 1024 * 1024) as made:
        for directory in ("heartbeat", "state", "metrics"):
            (made.path / directory).mkdir()
        yield made


def states(run_dir: Path) -> dict[str, str]:
    return {report.component: report.state for report in run_directory.read_reports(run_dir)}


def test_a_report_on_a_full_volume_replaces_the_previous_one(volume: volumes.Volume) -> None:
    reporter = run_directory.Reporter(volume.path, "watcher")
    reporter.report("pods", {"state": "watching"})
    volume.fill()

    reporter.report("pods", {"state": "unreachable"})
    reporter.report("secrets", {"state": "watching"})

    assert states(volume.path) == {"pods": "unreachable"}
    assert not list((volume.path / "state").glob("*.new"))
    volume.empty()
    reporter.report("secrets", {"state": "watching"})
    assert states(volume.path) == {"pods": "unreachable", "secrets": "watching"}


def test_heartbeats_are_sent_on_a_full_volume(volume: volumes.Volume) -> None:
    old = heartbeat.Heartbeat(volume.path / "heartbeat", "store", "main")
    volume.fill()

    new = heartbeat.Heartbeat(volume.path / "heartbeat", "watcher", "pods")
    beats = {beat.process: beat for beat in heartbeat.read(volume.path / "heartbeat")}

    assert set(beats) == {"store", "watcher"}
    assert {beat.pid for beat in beats.values()} == {os.getpid()}
    assert all(0 <= beat.age_s < 60 for beat in beats.values())
    volume.empty()
    new._due_ns = 0
    new.beat()
    assert (volume.path / "heartbeat" / "watcher.pods").stat().st_size > 0
    assert len(heartbeat.read(volume.path / "heartbeat")) == 2
    old.close()
    new.close()


def test_a_thread_whose_heartbeat_cannot_be_created_continues_and_reports_it_once(volume: volumes.Volume) -> None:
    directory = volume.path / "heartbeat"
    reasons: list[str] = []
    for number in count():
        try:
            (directory / f".{number}").touch()
        except OSError:
            break

    made = heartbeat.Heartbeat(directory, "watcher", "pods", report=reasons.append)
    again(made)
    during = heartbeat.obstacle(directory)
    (directory / ".0").unlink()
    (directory / ".1").unlink()
    again(made)
    again(made)

    assert [bool(reason) for reason in reasons] == [True, False]
    assert (during, heartbeat.obstacle(directory)) == (heartbeat.Obstacle.NO_NEW_FILES, heartbeat.Obstacle.NONE)
    assert [beat.thread for beat in heartbeat.read(directory)] == ["pods"]
    made.close()
    assert heartbeat.read(directory) == ()


def test_a_thread_whose_run_directory_is_read_only_continues(volume: volumes.Volume) -> None:
    directory = volume.path / "heartbeat"
    reasons: list[str] = []
    volume.remount(read_only=True)

    new = heartbeat.Heartbeat(directory, "watcher", "pods", report=reasons.append)
    during = heartbeat.obstacle(directory)
    again(new)
    volume.remount(read_only=False)

    assert during is heartbeat.Obstacle.READ_ONLY
    again(new)
    new.close()
    assert [bool(reason) for reason in reasons] == [True, False]
    assert heartbeat.read(directory) == ()


def test_a_heartbeat_that_can_no_longer_be_written_terminates_nothing(tmp_path: Path) -> None:
    reasons: list[str] = []
    made = heartbeat.Heartbeat(tmp_path, "watcher", "pods", report=reasons.append)
    unwritable = os.open(os.devnull, os.O_RDONLY)
    os.dup2(unwritable, made._fd)
    os.close(unwritable)

    again(made)
    again(made)
    (tmp_path / "watcher.pods").unlink()
    made.close()

    assert [bool(reason) for reason in reasons] == [True]


def again(made: heartbeat.Heartbeat) -> None:
    """Write a heartbeat although the last one is less than a second old."""
    made._due_ns = 0
    made.beat()


METRICS = """
import sys
from pathlib import Path
from beacon.runtime import metrics
metrics.start("watcher", Path(sys.argv[1]))
print("started", flush=True)
for line in sys.stdin:
    for number in range(int(line)):
        metrics.WATCH_LINES.labels(kind=f"Kind{number}", type="x" * 200).inc()
    print("counted", flush=True)
"""


@pytest.mark.parametrize("full_first", [True, False])
def test_a_metric_on_a_full_volume_causes_no_sigbus(volume: volumes.Volume, full_first: bool) -> None:
    if full_first:
        volume.fill()
    command = [sys.executable, "-c", METRICS, str(volume.path / "metrics")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        volume.fill()
        for count in ("1", "2000"):  # more than the file was made for
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "counted\n"
        process.stdin.close()
        assert process.wait() == 0
