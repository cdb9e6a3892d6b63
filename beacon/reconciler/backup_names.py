"""The names of scheduled backups: a number that only grows, by which they are ordered, and the time of the copy.

Pure. The order does not depend on the clock. From the time a new process computes the age of the newest backup.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_NAME = re.compile(r"beacon-(\d{8,12})-(\d{8}T\d{6}Z)\.db")
_STAMP = "%Y%m%dT%H%M%SZ"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True, slots=True, order=True)
class StoredBackup:
    """A backup: its number, its time in seconds since 1970, and its file's name."""

    number: int
    made_at: float
    name: str


def parse(names: Iterable[str]) -> list[StoredBackup]:
    """Return the backups among the names of a directory, oldest first; other names are ignored."""
    return sorted(found for name in names if (found := _parse(name)) is not None)


def unfinished(names: Iterable[str]) -> list[str]:
    """Return the files that a killed process left behind."""
    return [name for name in names if name.endswith(_UNFINISHED) and _NAME.fullmatch(name.removesuffix(_UNFINISHED))]


def next_name(existing: Iterable[StoredBackup], now_s: float) -> str:
    """Return the name of the next backup."""
    number = 1 + max((one.number for one in existing), default=0)
    return f"beacon-{number:08d}-{datetime.fromtimestamp(now_s, UTC).strftime(_STAMP)}.db"


def unfinished_name(name: str) -> str:
    """Return the name of a backup while it is written."""
    return f"{name}{_UNFINISHED}"


def superfluous(existing: Iterable[StoredBackup], keep: int) -> list[StoredBackup]:
    """Return all but the newest `keep` backups."""
    return sorted(existing)[: -max(1, keep)]


def due_in_s(newest: StoredBackup | None, interval_s: float, now_s: float) -> float:
    """Return in how many seconds a backup is due: 0 if there is none, or if the newest is in the future."""
    if newest is None or newest.made_at > now_s:
        return 0.0
    return max(0.0, newest.made_at + interval_s - now_s)


def _parse(name: str) -> StoredBackup | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        made_at = datetime.strptime(found[2], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return StoredBackup(int(found[1]), made_at, name)
