"""The use of the volume: thresholds of bytes and inodes, one line per change, and the trigger of the cleaner."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from beacon import codec
from beacon.configuration import settings
from beacon.reconciler import storage
from beacon.runtime import log, metrics

TERMS = settings.Storage(volume_path="/somewhere", db_path="/somewhere/e.db")


class Watched:
    """A monitor of a volume that the test fills."""

    def __init__(self) -> None:
        self.share = 10
        self.inodes = 10
        self.has_inodes = True
        self.there = True
        self.calls = 0
        self.reports: list[Mapping[str, object]] = []
        self.monitor = storage.Monitor(
            TERMS,
            report=lambda _, state: self.reports.append(state),
            on_critical=self.called,
            measure=self.measure,
        )

    def called(self) -> None:
        self.calls += 1

    def measure(self, _path: Path) -> storage.Volume:
        if not self.there:
            raise FileNotFoundError(2, "No such file or directory")
        return storage.Volume(
            size_bytes=1100,
            used_bytes=self.share * 10,
            available_bytes=1000 - self.share * 10,
            inodes=1000 if self.has_inodes else 0,
            inodes_used=self.inodes * 10 if self.has_inodes else 0,
        )


def lines(capfd: pytest.CaptureFixture[str]) -> list[tuple[str, str, str]]:
    said = [codec.decode(line) for line in capfd.readouterr().out.splitlines()]
    return [(line["level"], line.get("resource", ""), line.get("severity", "")) for line in said]


@pytest.fixture(autouse=True)
def _log_to_what_is_captured(capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("reconciler")


def pressure(resource: str, severity: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("beacon_storage_pressure", {"resource": resource, "severity": severity})


def test_every_change_of_state_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    watched = Watched()

    for share in (10, 79, 80, 85, 90, 99, 85, 10, 10):
        watched.share = share
        watched.monitor.check()

    assert lines(capfd) == [
        ("warning", "bytes", "warning"),
        ("error", "bytes", "critical"),
        ("warning", "bytes", "warning"),
        ("info", "bytes", "ok"),
    ]


def test_inodes_are_watched_like_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    watched.inodes = 95

    watched.monitor.check()

    assert lines(capfd) == [("error", "inodes", "critical")]
    assert (pressure("inodes", "critical"), pressure("bytes", "critical")) == (1, 0)
    assert watched.reports[-1]["state"] == "critical"


def test_a_file_system_without_inodes_is_under_no_pressure_of_them(capfd: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    watched.has_inodes = False

    watched.monitor.check()

    assert lines(capfd) == []


def test_the_cleaner_is_called_at_every_check_that_finds_a_critical_volume_and_at_no_other() -> None:
    watched = Watched()

    for share in (85, 90, 95, 85):
        watched.share = share
        watched.monitor.check()

    assert watched.calls == 2


def test_a_missing_volume_is_logged_once(capfd: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    watched.there = False

    watched.monitor.check()
    watched.monitor.check()

    assert lines(capfd) == [("warning", "", "")]
    assert watched.reports[-1] == {"state": "unknown", "reason": "No such file or directory", "done_us": 0}

    watched.there = True
    watched.monitor.check()
    watched.monitor.check()

    assert lines(capfd) == [("info", "", "")]
    assert watched.reports[-1]["state"] == "ok"


def test_the_figures_are_those_of_the_file_system(tmp_path: Path) -> None:
    volume = storage.measure_volume(tmp_path)

    assert 0 < volume.used_bytes < volume.size_bytes
    assert 0 < volume.bytes_ratio < 1
    assert volume.used_bytes + volume.available_bytes <= volume.size_bytes
