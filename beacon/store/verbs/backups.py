"""Backups of the ledger while it is served: a few pages at every request, so that other requests do not wait long.

The caller drives the copy by repeating the request. A copy that is abandoned stays unfinished, and is closed after a
minute. An existing file is never overwritten.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from beacon import errors, wire
from beacon.store.ledger import copying, database

_MARK = "UPDATE meta SET copied = 1"  # a store that serves the copy must not continue with the ids of the original
_PAGES = 128  # in one step: 512 KiB, a few milliseconds
_ACTIVE_S = 2.0  # since its last step, a copy may not be ended by another one
_ABANDONED_S = 60.0  # since its last step, a copy is given up: a removed file would still take up space


class Backups:
    """Serves the verb `backup`."""

    def __init__(self, ledger: database.Database, clock: Callable[[], float] = time.monotonic) -> None:
        """Copy the given ledger."""
        self._ledger = ledger
        self._clock = clock
        self._stepped_at = 0.0
        self._target = ""
        self._copy: copying.Copy | None = None
        self._made = wire.BackupProgress(left=0, pages=0)

    def step(self, request: wire.Backup) -> wire.BackupProgress:
        """Copy some more pages; repeating the request for a complete copy has no effect."""
        if request.target != self._target:
            if self._copy is not None and self._clock() - self._stepped_at < _ACTIVE_S:
                raise errors.PermanentError(f"another copy is being made: {self._target}")
            self._begin(request.target)
        self._stepped_at = self._clock()
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

    def give_up_abandoned(self) -> None:
        """Close a copy that is not continued; called often."""
        if self._copy is not None and self._clock() - self._stepped_at > _ABANDONED_S:
            self._end()
            self._target = ""

    def _begin(self, target: str) -> None:
        self._end()
        self._target = ""
        path = Path(target)
        if "\0" in target or not path.is_absolute():
            raise errors.PermanentError(f"{target!r} is not an absolute path")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise errors.PermanentError(f"{target} can't be created: {error.strerror}") from error
        except UnicodeError as error:
            raise errors.PermanentError(f"{target!r} is not a path") from error
        self._copy = copying.Copy(self._ledger, path)
        self._target = target

    def _end(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None
