"""The storage monitor: how full the volume is, in bytes and in inodes, and whether somebody should know.

It looks and says; that new events are refused on a full volume is the store's own doing, which looks for itself.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beacon.configuration import settings
from beacon.runtime import log, metrics

_SLICE_S = 1.0


class Severity(StrEnum):
    """How pressing it is."""

    OK = "ok"  # below both thresholds
    WARNING = "warning"  # somebody should look within days
    CRITICAL = "critical"  # the cleaner runs at once, and somebody should look now


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system's figures; `inodes` is 0 where it has none to run out of."""

    size_bytes: int
    used_bytes: int
    available_bytes: int
    inodes: int
    inodes_used: int

    @property
    def bytes_ratio(self) -> float:
        """The share in use of what this user could use, as `df` reckons."""
        usable = self.used_bytes + self.available_bytes
        return self.used_bytes / usable if usable else 0.0

    @property
    def inodes_ratio(self) -> float:
        """The share of the inodes in use."""
        return self.inodes_used / self.inodes if self.inodes else 0.0


def measure(path: Path) -> Volume:
    """Ask the volume that holds `path`.

    Raises:
        OSError: it can't be asked.
    """
    found = os.statvfs(path)
    return Volume(
        size_bytes=found.f_blocks * found.f_frsize,
        used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_used=found.f_files - found.f_ffree,
    )


def judge(ratio: float, terms: settings.Storage) -> Severity:
    """Hold a share against the thresholds, which are per cent."""
    if ratio * 100 >= terms.critical_threshold:
        return Severity.CRITICAL
    return Severity.WARNING if ratio * 100 >= terms.warning_threshold else Severity.OK


class Monitor:
    """Looks at the volume every so often."""

    def __init__(
        self,
        terms: settings.Storage,
        *,
        report: Callable[[str, Mapping[str, object]], None],
        on_critical: Callable[[], None],
        look: Callable[[Path], Volume] = measure,
    ) -> None:
        """Watch on these terms; `on_critical` is called at every look at which the volume is in need."""
        self._terms = terms
        self._report = report
        self._on_critical = on_critical
        self._measure = look
        self._severities = {"bytes": Severity.OK, "inodes": Severity.OK}
        self._blind = False
        self._done_us = 0

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Look now, and again every interval, until the process is to stop."""
        waited_s = self._terms.monitor_interval_s
        while not stop.is_set():
            if waited_s >= self._terms.monitor_interval_s:
                self.look()
                waited_s = 0.0
            beat()
            slice_s = min(_SLICE_S, self._terms.monitor_interval_s)
            stop.wait(slice_s)
            waited_s += slice_s

    def look(self) -> None:
        """Look once: move the metrics, and say what has changed."""
        try:
            volume = self._measure(Path(self._terms.volume_path))
        except OSError as error:
            reason = error.strerror or str(error)
            self._report("storage", {"state": "unknown", "reason": reason, "done_us": self._done_us})
            if not self._blind:
                log.get().warning("volume not found", path=self._terms.volume_path, reason=reason)
            self._blind = True
            return
        if self._blind:
            log.get().info("volume found again", path=self._terms.volume_path)
        self._blind = False
        self._done_us = time.time_ns() // 1000
        _show(volume)
        self._weigh("bytes", volume.bytes_ratio, volume)
        if volume.inodes:
            self._weigh("inodes", volume.inodes_ratio, volume)
        worst = max(self._severities.values(), key=list(Severity).index)
        self._report("storage", {"state": worst, "reason": self._pressing(volume), "done_us": self._done_us})
        if worst is Severity.CRITICAL:
            self._on_critical()

    def _pressing(self, volume: Volume) -> str:
        """Say what is scarce, "" when nothing is."""
        ratios = {"bytes": volume.bytes_ratio, "inodes": volume.inodes_ratio}
        scarce = [name for name, severity in self._severities.items() if severity is not Severity.OK]
        return ", ".join(f"{ratios[name]:.0%} of the {name} are used" for name in scarce)

    def _weigh(self, resource: str, ratio: float, volume: Volume) -> None:
        severity = judge(ratio, self._terms)
        for each in (Severity.WARNING, Severity.CRITICAL):
            metrics.STORAGE_PRESSURE.labels(resource=resource, severity=each).set(severity is each)
        before, self._severities[resource] = self._severities[resource], severity
        if severity is before:
            return
        database = Path(self._terms.db_path)
        say = {Severity.OK: log.get().info, Severity.WARNING: log.get().warning, Severity.CRITICAL: log.get().error}
        say[severity](
            "storage pressure changed",
            resource=resource,
            severity=severity,
            before=before,
            used_percent=round(ratio * 100, 1),
            available_bytes=volume.available_bytes,
            database_bytes=_size(database),
            wal_bytes=_size(database.with_name(database.name + "-wal")),
        )


def _show(volume: Volume) -> None:
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
