"""One scrape: the metric files of all roles and the values measured now, in the format that the scraper accepts.

A damaged file would spoil every later scrape, so it is set aside after two checks that find it damaged: a process that
has just created a file writes its first bytes a moment later.
"""

import struct
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import exposition, multiprocess

from beacon.exporter import gauges, health, snapshot
from beacon.runtime import metrics

_GRACE_S = 0.05
_RETRIES = 3


class _Families:
    """Collected metrics, with the interface of the library's registry."""

    def __init__(self, families: Iterable[metrics.Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[metrics.Family]:
        return self._families


def scrape(directory: Path, seen: snapshot.Snapshot, checks: health.Checks, *, accept: str) -> tuple[bytes, str]:
    """Render every metric: the body and its content type."""
    living = [name for name, program in seen.programs.items() if program.alive]
    return render([*collect(directory, living), *gauges.families(seen, checks)], accept)


def render(families: Iterable[metrics.Family], accept: str) -> tuple[bytes, str]:
    """Render metrics in the format that an Accept header requests: the body and its content type."""
    encode, content_type = exposition.choose_encoder(metrics.content_type(accept))
    return encode(_Families(families)), content_type


def collect(directory: Path, living: list[str]) -> list[metrics.Family]:
    """Merge the intact files of all roles; state gauges count only for roles that are `living`."""
    for _ in range(_RETRIES):
        try:
            return merge(_sound(directory, living))
        except (FileNotFoundError, struct.error):  # a process has recreated a file since the check
            threading.Event().wait(_GRACE_S)
    return merge(_sound(directory, living))


def merge(paths: Iterable[Path]) -> list[metrics.Family]:
    """Merge intact metric files: sums of counters, and of each gauge the value that was set last."""
    return list(multiprocess.MultiProcessCollector.merge([str(path) for path in paths]))  # type: ignore[no-untyped-call]


def _sound(directory: Path, living: list[str]) -> tuple[Path, ...]:
    """Return the intact files, and set aside the damaged ones."""
    paths = metrics.files(directory, living)
    damaged = [path for path in paths if not metrics.sound(path)]
    if not damaged:
        return paths
    threading.Event().wait(_GRACE_S)
    for path in damaged:
        if not metrics.sound(path):
            metrics.set_aside(path)
            metrics.METRIC_FILES_DAMAGED.inc()
    return _sound(directory, living)
