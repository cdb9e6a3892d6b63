"""Modes of the ledger's files: readable and writable only for their owner. The directory's mode is not changed.

SQLite creates a database with mode 0644 less the umask, and its log with the mode of the database.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

_PRIVATE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create(path: Path) -> None:
    """Create an empty file with mode 0600 unless the path exists; SQLite reports any other obstacle."""
    if not path.exists():
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE))


def tighten(path: Path) -> None:
    """Remove the rights of group and others from the file and from files beside it whose names start with its name.

    These are the log, damaged files that were moved aside, and copies. A file of another user stays as it is.
    """
    with suppress(OSError):
        for one in path.parent.iterdir():
            if one.name == path.name or one.name.startswith((f"{path.name}-", f"{path.name}.")):
                _tighten_one(one)


def _tighten_one(path: Path) -> None:
    with suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
