"""One scrape: the metric files of all roles and what is asked for, in the format that the scraper wants.

A file that can't be read would spoil every later scrape, so it is set aside, once it has been found damaged twice: a
process that has just made one writes its first bytes a moment later.
"""

import threading
from pathlib import Path

from beacon.exporter import exposition, gauges, health, snapshot
from beacon.runtime import metrics

_GRACE_S = 0.05


def scrape(directory: Path, seen: snapshot.Snapshot, checks: health.Checks, *, accept: str) -> tuple[bytes, str]:
    """Render every metric: the body and its content type."""
    living = [name for name, program in seen.programs.items() if program.alive]
    counted = collect(directory, living)
    asked = (exposition.exposed(family) for family in gauges.families(seen, checks))
    return exposition.render([*counted, *asked], accept)


def collect(directory: Path, living: list[str]) -> list[exposition.Exposed]:
    """Merge the files of all roles, without the damaged ones, and without the states of those that don't live."""
    paths = metrics.files(directory, living)
    damaged = [path for path in paths if not metrics.sound(path)]
    if damaged:
        threading.Event().wait(_GRACE_S)
        for path in damaged:
            if not metrics.sound(path):
                metrics.set_aside(path)
                metrics.METRIC_FILES_DAMAGED.inc()
        return collect(directory, living)
    return exposition.merge(paths)
