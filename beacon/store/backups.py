"""Copies of the ledger that are made while it is served: a little at every request, so that nobody waits for long.

Whoever asks drives the copy; if nobody asks any more it stays unfinished, which harms nothing. It never overwrites.
"""

import os
from pathlib import Path

from beacon import errors, wire
from beacon.store import database

_MARK = "UPDATE meta SET copied = 1"  # whoever serves the copy must not go on with the numbers of this one
_PAGES = 128  # in one step: 512 KiB, a few milliseconds


class Backups:
    """Carries out the verb `backup`."""

    def __init__(self, ledger: database.Database) -> None:
        """Copy the given ledger."""
        self._ledger = ledger
        self._target = ""
        self._copy: database.Copy | None = None
        self._made = wire.BackupProgress(left=0, pages=0)

    def step(self, request: wire.Backup) -> wire.BackupProgress:
        """Copy some more pages; a copy that is made is not made again."""
        if request.target != self._target:
            self._begin(request.target)
        if self._copy is not None:
            try:
                left, pages = self._copy.step(_PAGES)
                if left == 0:
                    self._copy.finish(_MARK)
                    self._copy = None
            except errors.BeaconError:
                self._end()
                self._target = ""
                raise
            self._made = wire.BackupProgress(left=left, pages=pages)
        return self._made

    def _begin(self, target: str) -> None:
        self._end()
        self._target = ""
        path = Path(target)
        if "\0" in target or not path.is_absolute():
            raise errors.PermanentError(f"{target!r} is no absolute path")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise errors.PermanentError(f"{target} can't be made: {error.strerror}") from error
        except UnicodeError as error:
            raise errors.PermanentError(f"{target!r} is no path") from error
        self._copy = database.Copy(self._ledger, path)
        self._target = target

    def _end(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None
