"""What the sentinel must know after its own death: who died when, and whom it holds back until when.

A program that it holds is STOPPED for supervisord, as is one that a person has stopped; only this file tells them
apart. It is of one supervisord: another one's is void. Instants are monotonic, so that the wall clock may jump.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beacon.boundary import files
from beacon.runtime import run_directory
from beacon.sentinel import decisions

_FILE = "sentinel.memory"  # among the reports: the store clears them when supervisord is another one
_LARGEST = 1024 * 1024


class RestartState:
    """Deaths and holds; written whenever it changes."""

    def __init__(self, run_dir: Path, supervisor: str) -> None:
        """Remember what an earlier life under the same supervisord has left."""
        self._path = run_directory.reports_directory(run_dir) / _FILE
        self._supervisor = supervisor
        left = _read(self._path)
        known = left if left.get("supervisor") == supervisor else {}
        self._deaths: dict[str, list[float]] = known.get("deaths", {})
        self._held: dict[str, float] = known.get("held", {})

    def deaths(self, program: str) -> tuple[float, ...]:
        """Give when a program died."""
        return tuple(self._deaths.get(program, ()))

    def held(self) -> Mapping[str, float]:
        """Give until when each held program is held."""
        return dict(self._held)

    def died(self, program: str, now: float) -> None:
        """Remember a death."""
        self._deaths[program] = [*decisions.recent(self._deaths.get(program, ()), now), now]
        self._write()

    def hold(self, program: str, until: float) -> None:
        """Remember that a program is held."""
        self._held[program] = until
        self._write()

    def let_go(self, program: str) -> None:
        """Remember that a program is not held any longer."""
        if self._held.pop(program, None) is not None:
            self._write()

    def _write(self) -> None:
        known = {"supervisor": self._supervisor, "deaths": self._deaths, "held": self._held}
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # without a memory it still does what it can
            files.write(aside, json.dumps(known).encode())
            aside.replace(self._path)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(files.read(path, most_bytes=_LARGEST, follow=False))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
