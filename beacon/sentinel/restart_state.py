"""The state that the sentinel needs after its own restart: the deaths of each program, and the programs it holds back.

A program that the sentinel holds back is STOPPED for supervisord, as is one that an operator stopped; only this file
distinguishes them. A file of another supervisord is ignored. Instants are monotonic, so the wall clock may jump.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beacon.boundary import files
from beacon.runtime import run_directory
from beacon.sentinel import decisions

_FILE = "sentinel.memory"  # in the reports directory, which the store clears when supervisord restarts
_LARGEST = 1024 * 1024


class RestartState:
    """Deaths and holds; written to the file at each change."""

    def __init__(self, run_dir: Path, supervisor: str) -> None:
        """Load the state that an earlier sentinel under the same supervisord wrote."""
        self._path = run_directory.reports_directory(run_dir) / _FILE
        self._supervisor = supervisor
        stored = _read(self._path)
        known = stored if stored.get("supervisor") == supervisor else {}
        self._deaths: dict[str, list[float]] = known.get("deaths", {})
        self._held: dict[str, float] = known.get("held", {})

    def deaths(self, program: str) -> tuple[float, ...]:
        """Return the instants at which a program died."""
        return tuple(self._deaths.get(program, ()))

    def held(self) -> Mapping[str, float]:
        """Return the end of the hold of each held program."""
        return dict(self._held)

    def record_death(self, program: str, now: float) -> None:
        """Record a death."""
        self._deaths[program] = [*decisions.recent(self._deaths.get(program, ()), now), now]
        self._write()

    def hold(self, program: str, until: float) -> None:
        """Record that a program is held back until an instant."""
        self._held[program] = until
        self._write()

    def release(self, program: str) -> None:
        """Record that a program is no longer held back."""
        if self._held.pop(program, None) is not None:
            self._write()

    def _write(self) -> None:
        known = {"supervisor": self._supervisor, "deaths": self._deaths, "held": self._held}
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # the sentinel works without the file until its next restart
            files.write(aside, json.dumps(known).encode())
            aside.replace(self._path)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(files.read(path, most_bytes=_LARGEST, follow=False))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
