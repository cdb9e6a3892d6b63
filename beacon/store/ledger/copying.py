"""A copy of the ledger that is made while the store serves it, some pages at a time."""

import os
from pathlib import Path

import apsw

from beacon import errors
from beacon.store.ledger import database

_READ_ERRORS = (
    *(apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS),
)


class CopyError(errors.PermanentError):
    """The copy's own file can't be written: a matter of the path that an operator chose, not of the database."""


class Copy:
    """A copy of a database in progress, advanced between transactions; it includes what is written meanwhile."""

    def __init__(self, source: database.Database, target: Path) -> None:
        """Start a copy in an empty file.

        Raises:
            CopyError: the file can't be written.
        """
        self._path = target
        try:
            self._target = apsw.Connection(os.fspath(target))
            self._target.pragma("synchronous", "OFF")  # the requester syncs the copy: an fsync would block the store
            self._backup = source.copied_into(self._target)
        except apsw.Error as error:
            raise self._translated(error) from error

    def step(self, pages: int) -> tuple[int, int]:
        """Copy some pages. Return the remaining and the total number of pages.

        Raises:
            CopyError: the copy can't be written.
            errors.BeaconError: the database can't be read.
        """
        try:
            self._backup.step(pages)
        except apsw.Error as error:
            raise self._translated(error) from error
        return self._backup.remaining, self._backup.page_count

    def finish(self, sql: str) -> None:
        """Execute one statement in the complete copy, and close it."""
        try:
            self._backup.close()
            self._target.execute(sql)
            self._target.close()
        except apsw.Error as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Close the copy, complete or not."""
        self._backup.close(True)  # noqa: FBT003  apsw's signature: errors were reported before
        self._target.close()

    def _translated(self, error: apsw.Error) -> errors.BeaconError:
        """Return an error of the file at fault: a copy writes only its own file, and only reads the database."""
        translated = database.translated(error)
        if isinstance(translated, database.DamagedError) or getattr(error, "extendedresult", 0) in _READ_ERRORS:
            return translated
        why = "no free space" if isinstance(translated, database.FullError) else str(translated)
        return CopyError(f"{self._path} can't be written: {why}")
