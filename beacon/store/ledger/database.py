"""The connection to the SQLite file: its statements and its transactions.

It knows only the schema's existence; SQL with a meaning belongs to the other modules. Errors are translated into the
classes below, so that no module outside needs apsw's, and each class states whether the transaction still exists.
"""

import errno
import os
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from beacon import errors
from beacon.store.ledger import migrating, opening, write_behind

Row = tuple[Any, ...]
Values = write_behind.Values
_STEPS_BETWEEN_REPORTS = 100_000  # of SQLite's virtual machine, some milliseconds


class StorageError(errors.TransientError):
    """The volume returned an error (IOERR and the like); SQLite has rolled the transaction back."""


class FullError(StorageError):
    """No free space on the volume; SQLite has rolled the transaction back."""


class BusyError(StorageError):
    """Another process has the file open."""


class DamagedError(errors.PermanentError):
    """The file is not a database, or is malformed."""


class RequestError(errors.PermanentError):
    """The statement can't be executed (a constraint, a wrong type); the transaction still exists."""


class Database:
    """One connection, owned by one thread."""

    def __init__(
        self, path: Path, *, vfs: str | None = None, schema: int | None = None, keep_copy: bool = True
    ) -> None:
        """Open the file, create it if it does not exist, and migrate its schema, to `schema` or to the newest one.

        Before a ledger is migrated, a checked copy of it is kept where there is free space: see `migrated`.

        Raises:
            errors.StartError: the directory or the file is not usable, or the file is newer than this program.
            DamagedError: the file is not a database.
        """
        self.path = path
        self.is_new = False
        self.migrated: migrating.Migrated | None = None
        self.writes = 0  # statements of `run`, so that a caller knows whether what it has read may have changed
        self._later = write_behind.WriteBehind()
        try:
            self._connection = opening.connect(path, vfs)
            try:
                opening.configure(self._connection)
                self._migrate(schema, keep_copy=keep_copy)
            except (apsw.Error, errors.BeaconError):
                self._connection.close()  # otherwise the exception would keep the file locked
                raise
        except apsw.Error as error:
            raise _opening(path, error) from error

    @classmethod
    def to_read(cls, path: Path) -> "Database":
        """Open a file that no store serves, read-only: not even its schema is migrated.

        Raises:
            errors.StartError: the file does not exist or can't be opened.
        """
        opening.require_file(path)
        made = cls.__new__(cls)
        made.path, made.is_new, made.migrated = path, False, None
        made.writes = 0
        made._later = write_behind.WriteBehind()  # noqa: SLF001  it is of this class
        # Without a log there is nothing to recover, so that a read-only directory is sufficient.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        try:
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?{how}", flags=flags)
            opening.define_functions(connection)
            made._connection = connection  # noqa: SLF001  it is of this class
        except apsw.Error as error:
            raise _opening(path, error) from error
        return made

    def close(self) -> None:
        """Close the connection; this checkpoints the write-ahead log."""
        try:
            self._connection.close()
        except apsw.Error as error:
            raise translated(error) from error

    @contextmanager
    def forsaken_on(self, error: type[Exception]) -> Iterator[None]:
        """Close the connection without a checkpoint after this error, because another process writes the file."""
        try:
            yield
        except error:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Return True if a transaction is open; False after an error that made SQLite roll back."""
        return self._connection.in_transaction

    def run(self, sql: str, values: Values = ()) -> int:
        """Execute one statement and return the number of changed rows."""
        try:
            if self._later:
                self._write_later()
            self.writes += 1
            self._connection.execute(sql, values)
            return self._connection.changes()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def run_many(self, sql: str, rows: Iterable[Values]) -> None:
        """Execute one statement for each row of values."""
        try:
            if self._later:
                self._write_later()
            self._connection.executemany(sql, rows)
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def run_script(self, sql: str) -> None:
        """Execute several statements."""
        self.run(sql)

    def later(self, sql: str, values: Values, touched: Hashable) -> None:
        """Execute a statement together with others of the same text, before any statement but a `row_beside`.

        `touched` marks what it changes. Statements of different text must not depend on each other's order.
        """
        self._later.add(sql, values)
        self._later.touch(touched)

    def is_touched(self, mark: Hashable) -> bool:
        """Return True if a statement that waits may change what the mark stands for."""
        return self._later.is_touched(mark)

    def touch(self, mark: Hashable) -> None:
        """Mark something else that the statements that wait change."""
        self._later.touch(mark)

    def write_later(self) -> None:
        """Execute the statements that wait."""
        try:
            self._write_later()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def next_number(self, table: str, sql: str) -> int:
        """Return the number of the next row of a table, all of whose rows are numbered so; `sql` reads the last one."""
        last = self._later.numbers.get(table)
        if last is None:
            ((last,),) = self.rows_beside(sql)
        self._later.numbers[table] = number = int(last) + 1
        return number

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """Execute one statement and return its rows."""
        try:
            if self._later:
                self._write_later()
            return self._connection.execute(sql, values).fetchall()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def rows_beside(self, sql: str, values: Values = ()) -> list[Row]:
        """Return the rows of a query that no statement that waits changes: see `is_touched`."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """Execute one statement and return its first row."""
        try:
            if self._later:
                self._write_later()
            return self._connection.execute(sql, values).fetchone()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def each(self, sql: str, values: Values = ()) -> Iterator[Row]:
        """Execute one statement and yield its rows, for results that are too large for memory."""
        try:
            if self._later:
                self._write_later()
            yield from self._connection.execute(sql, values)
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def _write_later(self) -> None:
        self.writes += 1
        for sql, rows in self._later.take():
            if len(rows) == 1:
                self._connection.execute(sql, rows[0])
            else:
                self._connection.executemany(sql, rows)

    @contextmanager
    def reads_reported(self, report: Callable[[float], None], *, passes: int) -> Iterator[None]:
        """Call `report` regularly during long statements, with the estimated share of the reads that are done.

        `passes` is how often the statements are expected to read the file.
        """
        pages = max(1, int(self.rows("PRAGMA page_count")[0][0]) * passes)
        first = self._pages_read()

        def show() -> bool:
            report(min(1.0, (self._pages_read() - first) / pages))
            return False  # True would interrupt the statement

        self._connection.set_progress_handler(show, _STEPS_BETWEEN_REPORTS)
        try:
            yield
        finally:
            self._connection.set_progress_handler(None)

    def odd_schema(self) -> str:
        """Return how the schema differs from that of the migrations, "" if it does not."""
        wanted = migrating.wanted_schema()
        found = {sql: self.rows(sql) for sql in wanted}
        return "" if found == wanted else "the schema differs from the migrations"

    @property
    def last_rowid(self) -> int:
        """Return the rowid of the latest insert."""
        return self._connection.last_insert_rowid()

    def begin(self) -> None:
        """Begin a transaction that may write."""
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; on return the transaction is on the disk (synchronous=FULL)."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll back if a transaction is open."""
        self._later.clear()
        if self.in_transaction:
            self.run("ROLLBACK")

    def savepoint(self, work: Callable[[], None]) -> None:
        """Run `work` in a savepoint, which is rolled back if the work fails and the transaction still exists."""
        self.run("SAVEPOINT request")
        try:
            work()
            self.write_later()
        except errors.BeaconError:
            self._later.clear()
            if self.in_transaction:
                self.run("ROLLBACK TO request")
                self.run("RELEASE request")
            raise
        self.run("RELEASE request")

    def sizes(self) -> tuple[int, int]:
        """Return the sizes in bytes of the file and of its write-ahead log."""
        return _size(self.path), _size(self.path.with_name(self.path.name + "-wal"))

    def vacuum(self, pages: int) -> tuple[int, int]:
        """Release up to `pages` free pages, within a transaction. Return the released and the remaining free pages."""
        before = self._free_pages()
        self.rows(f"PRAGMA incremental_vacuum({int(pages)})")  # runs only while its rows are fetched
        left = self._free_pages()
        return before - left, left

    def write_back(self, *, shrink: bool) -> None:
        """Checkpoint the write-ahead log, so that it starts again; `shrink`: also truncate it.

        Raises:
            StorageError: there is no free space for it; no data is lost.
        """
        self.rows(f"PRAGMA wal_checkpoint({'TRUNCATE' if shrink else 'PASSIVE'})")

    def copied_into(self, target: apsw.Connection) -> apsw.Backup:
        """Return a copy of this database into the one of another connection, to be advanced by steps."""
        return target.backup("main", self._connection, "main")

    def _translated(self, error: Exception) -> errors.BeaconError:
        """Translate an error; SQLite reports only one cause of missing free space as such, the others as I/O errors."""
        if isinstance(error, apsw.IOError) and self._connection.system_errno in _NO_ROOM:
            return FullError(f"no free space on the volume: {os.strerror(self._connection.system_errno)}")
        return translated(error)

    def _pages_read(self) -> int:
        return int(self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0])

    def _free_pages(self) -> int:
        return int(self.rows("PRAGMA freelist_count")[0][0])

    def _migrate(self, schema: int | None, *, keep_copy: bool) -> None:
        version = int(self.rows("PRAGMA user_version")[0][0])
        migrating.require_known(self.path, version)
        if version == 0:
            tables = {str(name) for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            self.is_new = not tables
            migrating.require_ours(self.path, tables)
        elif version < migrating.schema_version() and keep_copy and schema is None:
            size = sum(self.sizes())
            self.migrated = migrating.copy_before(self._connection, self.path, version, size=size)
        migrating.migrate(self._connection, version, schema)


def sqlite_version() -> str:
    """Return the version of the SQLite library."""
    return apsw.sqlite_lib_version()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _opening(path: Path, error: apsw.Error) -> errors.BeaconError:
    """Return the error for a file that can't be opened: the store handles damage, an operator anything else."""
    found = translated(error)
    if isinstance(found, DamagedError):
        return found
    return errors.StartError(f"{path}: {found}", exit_code=errors.EXIT_CANNOT_CREATE)


def translated(error: Exception) -> errors.BeaconError:
    """Return the class of this module for an error of apsw."""
    if isinstance(error, apsw.FullError):
        return FullError(f"no free space on the volume: {error}")
    # Text that is not UTF-8 was not written by Beacon; apsw raises when it is read.
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
        return DamagedError(f"the database is damaged: {error}")
    if isinstance(error, apsw.BusyError):
        return BusyError("the database is in use by another process")
    if isinstance(error, _VOLUME_ERRORS):
        return StorageError(f"the volume returned an error: {error}")
    return RequestError(f"{type(error).__name__}: {error}")


# An integer beyond 64 bits and a lone surrogate are not SQL values: apsw raises Python's own errors for them.
_REFUSED_BY_SQLITE = (apsw.Error, OverflowError, UnicodeError)
# A quota, a limit of the file size, and a file system that reports missing space only at the fsync.
_NO_ROOM = (errno.EDQUOT, errno.EFBIG, errno.ENOSPC)
_VOLUME_ERRORS = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError, apsw.PermissionsError)
