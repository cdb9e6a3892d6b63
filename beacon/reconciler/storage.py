"""The storage monitor: measures the use of the volume, in bytes and in inodes, and reports its severity.

It only measures and reports. The store itself measures the free space, and refuses new events on a full volume.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beacon.configuration import settings
from beacon.runtime import heartbeat, log, metrics


class Severity(StrEnum):
    """The severity of the volume's use."""

    OK = "ok"  # below both thresholds
    WARNING = "warning"  # needs attention within days
    CRITICAL = "critical"  # needs attention now; the cleaner runs at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The size and the use of a file system; `inodes` is 0 if it has no limit of inodes."""

    size_bytes: int
    used_bytes: int
    available_bytes: int
    inodes: int
    inodes_used: int

    @property
    def bytes_ratio(self) -> float:
        """Return the ratio of the used bytes to those that this user could use, as `df` computes it."""
        usable = self.used_bytes + self.available_bytes
        return self.used_bytes / usable if usable else 0.0

    @property
    def inodes_ratio(self) -> float:
        """Return the ratio of the inodes in use."""
        return self.inodes_used / self.inodes if self.inodes else 0.0


def measure_volume(path: Path) -> Volume:
    """Measure the file system that contains `path`.

    Raises:
        OSError: it can't be read.
    """
    found = os.statvfs(path)
    return Volume(
        size_bytes=found.f_blocks * found.f_frsize,
        used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_used=found.f_files - found.f_ffree,
    )


def judge(ratio: float, config: settings.Storage) -> Severity:
    """Compare a ratio with the thresholds, which are percentages."""
    if ratio * 100 >= config.critical_threshold:
        return Severity.CRITICAL
    return Severity.WARNING if ratio * 100 >= config.warning_threshold else Severity.OK


class Monitor:
    """Measures the volume at every interval."""

    def __init__(
        self,
        config: settings.Storage,
        *,
        report: Callable[[str, Mapping[str, object]], None],
        on_critical: Callable[[], None],
        measure: Callable[[Path], Volume] = measure_volume,
    ) -> None:
        """Monitor as configured; `on_critical` is called at every check whose severity is critical."""
        self._config = config
        self._report = report
        self._on_critical = on_critical
        self._measure = measure
        self._severities = {"bytes": Severity.OK, "inodes": Severity.OK}
        self._unavailable = False
        self._done_us = 0

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Check now, and again at every interval, until the process is asked to stop."""
        waited_s = self._config.monitor_interval_s
        while not stop.is_set():
            if waited_s >= self._config.monitor_interval_s:
                self.check()
                waited_s = 0.0
            beat()
            slice_s = min(heartbeat.IDLE_S, self._config.monitor_interval_s)
            stop.wait(slice_s)
            waited_s += slice_s

    def check(self) -> None:
        """Measure once, set the metrics, and log a change of the severity."""
        try:
            volume = self._measure(Path(self._config.volume_path))
        except OSError as error:
            reason = error.strerror or str(error)
            self._report("storage", {"state": "unknown", "reason": reason, "done_us": self._done_us})
            if not self._unavailable:
                log.get().warning("volume unavailable", path=self._config.volume_path, reason=reason)
            self._unavailable = True
            return
        if self._unavailable:
            log.get().info("volume available again", path=self._config.volume_path)
        self._unavailable = False
        self._done_us = time.time_ns() // 1000
        _set_metrics(volume)
        self._update_severity("bytes", volume.bytes_ratio, volume)
        if volume.inodes:
            self._update_severity("inodes", volume.inodes_ratio, volume)
        worst = max(self._severities.values(), key=list(Severity).index)
        self._report("storage", {"state": worst, "reason": self._reason(volume), "done_us": self._done_us})
        if worst is Severity.CRITICAL:
            self._on_critical()

    def _reason(self, volume: Volume) -> str:
        """Return a text about the resources above a threshold, or ""."""
        ratios = {"bytes": volume.bytes_ratio, "inodes": volume.inodes_ratio}
        scarce = [name for name, severity in self._severities.items() if severity is not Severity.OK]
        return ", ".join(f"{ratios[name]:.0%} of the {name} are used" for name in scarce)

    def _update_severity(self, resource: str, ratio: float, volume: Volume) -> None:
        severity = judge(ratio, self._config)
        for each in (Severity.WARNING, Severity.CRITICAL):
            metrics.STORAGE_PRESSURE.labels(resource=resource, severity=each).set(severity is each)
        before, self._severities[resource] = self._severities[resource], severity
        if severity is before:
            return
        database = Path(self._config.db_path)
        emit = {Severity.OK: log.get().info, Severity.WARNING: log.get().warning, Severity.CRITICAL: log.get().error}
        emit[severity](
            "storage pressure changed",
            resource=resource,
            severity=severity,
            before=before,
            used_percent=round(ratio * 100, 1),
            available_bytes=volume.available_bytes,
            database_bytes=_size(database),
            wal_bytes=_size(database.with_name(database.name + "-wal")),
        )


def _set_metrics(volume: Volume) -> None:
    metrics.VOLUME_SIZE.set(volume.size_bytes)
    metrics.VOLUME_USED.set(volume.used_bytes)
    metrics.VOLUME_AVAILABLE.set(volume.available_bytes)
    metrics.VOLUME_USAGE_RATIO.set(volume.bytes_ratio)
    if volume.inodes:
        metrics.VOLUME_INODES.set(volume.inodes)
        metrics.VOLUME_INODES_USED.set(volume.inodes_used)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
