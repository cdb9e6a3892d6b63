"""Copies of a ledger: one that is made while the store serves it, some pages at a time, and one of an unserved file."""

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from beacon import errors
from beacon.store.ledger import database, migrating

_COPIED_PAGES = 4096  # in one step
_IN_ONE_FILE = "PRAGMA journal_mode = DELETE;"
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
        """Execute statements in the complete copy, and close it."""
        try:
            self._backup.close()
            self._target.execute(sql).fetchall()
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


def copy_unserved(source: Path, target: Path, report: Callable[[float], None]) -> int:
    """Copy a ledger that no store serves, with its log, to an empty file; mark the copy as one, and return its schema.

    `report` is called with the share that is done.

    Raises:
        errors.StartError: the source can't be opened, is in use, is no ledger, or is newer than this program.
        CopyError: the copy can't be written.
        database.DamagedError: the source can't be read.
    """
    reader = database.Database.to_read(source)
    try:
        version = _version_of_ledger(reader)
        _copy_pages(reader, target, report)
    except database.BusyError as error:
        message = f"{source} is being served: name a copy of it"
        raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY) from error
    finally:
        reader.close()
    migrating.sync(target)
    return version


def _version_of_ledger(reader: database.Database) -> int:
    version = int(reader.rows("PRAGMA user_version")[0][0])
    tables = {str(name) for (name,) in reader.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not version or not tables >= migrating.TABLES_OF_LEDGER:
        raise errors.StartError(f"{reader.path} is not a ledger of Beacon", exit_code=errors.EXIT_FAILURE)
    if version > migrating.schema_version():
        raise migrating.too_new(reader.path, version)
    return version


def _copy_pages(reader: database.Database, target: Path, report: Callable[[float], None]) -> None:
    copy = Copy(reader, target)
    left, pages = 1, 1
    try:
        while left:
            left, pages = copy.step(_COPIED_PAGES)
            report(1 - left / max(pages, 1))
    except errors.BeaconError:
        copy.close()
        raise
    has_mark = ("copied",) in reader.rows(migrating.COLUMNS_OF_META)
    copy.finish(_IN_ONE_FILE + (migrating.MARK_AS_COPY if has_mark else ""))
