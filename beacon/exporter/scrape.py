"""One scrape: the metric files of all roles and the values measured now, in the format that the scraper accepts.

A damaged file would spoil every later scrape, so it is set aside after two checks that find it damaged: a process that
has just created a file writes its first bytes a moment later.
"""

import struct
import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from prometheus_client import exposition, multiprocess

from beacon.exporter import gauges, health, snapshot
from beacon.runtime import metric_files, metrics

_OPEN_METRICS = "application/openmetrics-text"
_ESCAPINGS = ("allow-utf-8", "underscores")  # those that leave our names as they are
_GRACE_S = 0.05
_RETRIES = 3


class _Families:
    """Collected metrics, with the interface of the library's registry."""

    def __init__(self, families: Iterable[gauges.Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[gauges.Family]:
        return self._families


def scrape(directory: Path, seen: snapshot.Snapshot, checks: health.Checks, *, accept: str) -> tuple[bytes, str]:
    """Render every metric: the body and its content type."""
    living = [name for name, program in seen.programs.items() if program.alive]
    return render([*collect(directory, living), *gauges.families(seen, checks)], accept)


def render(families: Iterable[gauges.Family], accept: str) -> tuple[bytes, str]:
    """Render metrics in the format that an Accept header requests: the body and its content type."""
    encode, chosen = exposition.choose_encoder(content_type(accept))
    return encode(_Families(families)), chosen


def content_type(accept: str) -> str:
    """Return the content type for an Accept header, one of the supported formats.

    The library would repeat any requested version that consists of numbers. The result is valid as an Accept header.
    """
    try:
        chosen = exposition.choose_encoder(accept)[1]
    except (ValueError, TypeError):  # a version that isn't one
        return exposition.choose_encoder("")[1]
    if chosen in _formats():
        return chosen
    return exposition.choose_encoder(f"{_OPEN_METRICS};version=1.0.0" if chosen.startswith(_OPEN_METRICS) else "")[1]


def collect(directory: Path, living: list[str]) -> list[gauges.Family]:
    """Merge the intact files of all roles; state gauges count only for roles that are `living`."""
    for _ in range(_RETRIES):
        try:
            return merge(_sound(directory, living))
        except (FileNotFoundError, struct.error):  # a process has recreated a file since the check
            threading.Event().wait(_GRACE_S)
    return merge(_sound(directory, living))


def merge(paths: Iterable[Path]) -> list[gauges.Family]:
    """Merge intact metric files: sums of counters, and of each gauge the value that was set last."""
    return list(multiprocess.MultiProcessCollector.merge([str(path) for path in paths]))  # type: ignore[no-untyped-call]


def _sound(directory: Path, living: list[str]) -> tuple[Path, ...]:
    """Return the intact files, and set aside the damaged ones."""
    paths = metric_files.files(directory, living)
    damaged = [path for path in paths if not metric_files.sound(path)]
    if not damaged:
        return paths
    threading.Event().wait(_GRACE_S)
    for path in damaged:
        if not metric_files.sound(path):
            metric_files.set_aside(path)
            metrics.METRIC_FILES_DAMAGED.inc()
    return _sound(directory, living)


@lru_cache(maxsize=1)
def _formats() -> frozenset[str]:
    """Return the content types of all supported versions, with every escaping that is used."""
    asked = [""]
    for media in (_OPEN_METRICS, "text/plain"):
        asked += [f"{media};version=1.0.0;escaping={escaping}" for escaping in _ESCAPINGS]
    return frozenset(exposition.choose_encoder(accept)[1] for accept in asked)
