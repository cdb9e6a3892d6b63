"""The SQLite file: opening, pragmas, migrations, transactions. The one door of apsw.

It knows no table but `meta`'s existence; SQL that means something stands in the ledger. Every error leaves as one of
the classes below, so that nobody else has to know apsw's, and each says whether the transaction is gone.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from beacon import errors
from beacon.store import file_modes

Row = tuple[Any, ...]
Values = Sequence[str | int | float | bytes | None]
_CACHE_KIB = 3 * 1024
_BUSY_MS = 5000
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_STATEMENTS = 256
_CHECKPOINT_PAGES = 500  # of 4 KiB


class StorageError(errors.TransientError):
    """The volume gave an error (IOERR and the like); SQLite has rolled the transaction back."""


class FullError(StorageError):
    """No room on the volume; SQLite has rolled the transaction back."""


class BusyError(StorageError):
    """Another process has the file open."""


class DamagedError(errors.PermanentError):
    """The file is no database, or is malformed."""


class RequestError(errors.PermanentError):
    """The statement itself can't be carried out (a constraint, a wrong type); the transaction stands."""


class Database:
    """One connection, owned by one thread."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        """Open the file, create it when it is not there, and bring its schema up to date.

        Raises:
            errors.StartError: the directory or the file can't be used, or the file is newer than this program.
            DamagedError: it is no database.
        """
        self.path = path
        self.is_new = False
        try:
            self._connection = _connect(path, vfs)
            try:
                _configure(self._connection)
                self._migrate()
            except (apsw.Error, errors.BeaconError):
                self._connection.close()  # or the error would keep the file locked for as long as it is at hand
                raise
        except apsw.Error as error:
            raise _opening(path, error) from error

    @classmethod
    def to_read(cls, path: Path) -> "Database":
        """Open a file that nobody serves, and change nothing of it, not even its schema.

        Raises:
            errors.StartError: the file is not there or can't be opened.
        """
        _require_file(path)
        made = cls.__new__(cls)
        made.path, made.is_new = path, False
        # Without a log there is nothing to be recovered: then even a directory that can't be written will do.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        try:
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            made._connection = apsw.Connection(  # noqa: SLF001  it is of this class
                f"file:{quote(str(path.absolute()))}?{how}", flags=flags
            )
        except apsw.Error as error:
            raise _opening(path, error) from error
        return made

    def close(self) -> None:
        """Close the connection; the WAL is written back."""
        try:
            self._connection.close()
        except apsw.Error as error:
            raise _translated(error) from error

    @property
    def in_transaction(self) -> bool:
        """Say whether a transaction is open; false after an error that made SQLite roll back."""
        return self._connection.in_transaction

    def run(self, sql: str, values: Values = ()) -> int:
        """Execute one statement and give the number of rows that it changed."""
        try:
            self._connection.execute(sql, values)
            return self._connection.changes()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """Execute one statement and give its rows."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """Execute one statement and give its first row."""
        try:
            return self._connection.execute(sql, values).fetchone()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def each(self, sql: str, values: Values = ()) -> Iterator[Row]:
        """Execute one statement and give its rows one by one, for those that are too many to be held."""
        try:
            yield from self._connection.execute(sql, values)
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def odd_schema(self) -> str:
        """Say what of the schema is not as the migrations make it, "" when nothing is."""
        made = apsw.Connection(":memory:")
        try:
            for sql in _migrations():
                made.execute(sql)
            wanted = [made.execute(sql).fetchall() for sql in _SCHEMA]
        finally:
            made.close()
        found = [self.rows(sql) for sql in _SCHEMA]
        return "" if found == wanted else "the schema is not as it was made"

    @property
    def last_rowid(self) -> int:
        """The rowid of the latest insert."""
        return self._connection.last_insert_rowid()

    def begin(self) -> None:
        """Begin a transaction that may write."""
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; when this returns the transaction is on the disk (synchronous=FULL)."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll back when there is still something to roll back."""
        if self.in_transaction:
            self.run("ROLLBACK")

    def savepoint(self, work: Callable[[], None]) -> None:
        """Do a piece of work in a savepoint, which is undone when the work fails and the transaction still stands."""
        self.run("SAVEPOINT request")
        try:
            work()
        except errors.BeaconError:
            if self.in_transaction:
                self.run("ROLLBACK TO request")
                self.run("RELEASE request")
            raise
        self.run("RELEASE request")

    def sizes(self) -> tuple[int, int]:
        """Give the bytes of the file and of its write-ahead log."""
        return _size(self.path), _size(self.path.with_name(self.path.name + "-wal"))

    def vacuum(self, pages: int) -> tuple[int, int]:
        """Give so many free pages back, within a transaction; gives how many went and how many are left."""
        before = self._free_pages()
        self.rows(f"PRAGMA incremental_vacuum({int(pages)})")  # goes on only as long as its rows are fetched
        left = self._free_pages()
        return before - left, left

    def write_back(self, *, shrink: bool) -> None:
        """Write the log back into the file, so that the log begins anew; `shrink`: give its room back, too.

        Raises:
            StorageError: there is no room to do it; nothing is lost by that.
        """
        self.rows(f"PRAGMA wal_checkpoint({'TRUNCATE' if shrink else 'PASSIVE'})")

    def _translated(self, error: Exception) -> errors.BeaconError:
        """Translate an error; SQLite knows one reason alone for having no room, and calls the others I/O errors."""
        if isinstance(error, apsw.IOError) and self._connection.system_errno in _NO_ROOM:
            return FullError(f"no room on the volume: {os.strerror(self._connection.system_errno)}")
        return _translated(error)

    def _free_pages(self) -> int:
        return int(self.rows("PRAGMA freelist_count")[0][0])

    def _migrate(self) -> None:
        known = _migrations()
        version = int(self.rows("PRAGMA user_version")[0][0])
        if version > len(known):
            message = f"{self.path} was written by a newer Beacon (schema {version}; this one knows {len(known)})"
            raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)
        if version == 0:
            self._require_none_but_ours()
        for number, sql in enumerate(known[version:], start=version + 1):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(sql)
            self._connection.pragma("user_version", number)
            self._connection.execute("COMMIT")

    def _require_none_but_ours(self) -> None:
        """Refuse a database that is not ours, and one of ours that has forgotten its version."""
        found = {str(name) for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.is_new = not found
        if {"meta", "events", "deliveries"} <= found:
            raise DamagedError("the database is damaged: its version is gone")
        if found:
            message = f"{self.path} is a database, but none of Beacon's: name another file in storage.dbPath"
            raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)


class Copy:
    """A copy of a database in the making, stepped between its transactions; what is written meanwhile is in it."""

    def __init__(self, source: Database, target: Path) -> None:
        """Begin a copy in a file that is empty."""
        try:
            self._target = apsw.Connection(os.fspath(target))
            self._target.pragma("synchronous", "OFF")  # whoever asked for the copy syncs it: the store has no time
            self._backup = self._target.backup("main", source._connection, "main")  # noqa: SLF001  of this module
        except apsw.Error as error:
            raise _translated(error) from error

    def step(self, pages: int) -> tuple[int, int]:
        """Copy some pages; gives how many are left, and of how many."""
        try:
            self._backup.step(pages)
        except apsw.Error as error:
            raise _translated(error) from error
        return self._backup.remaining, self._backup.page_count

    def finish(self, sql: str) -> None:
        """Execute one statement in the copy, which is whole, and close it."""
        try:
            self._backup.close()
            self._target.execute(sql)
            self._target.close()
        except apsw.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        """End the copy, whole or not."""
        self._backup.close(True)  # noqa: FBT003  apsw's signature: whatever went wrong was said before
        self._target.close()


def sqlite_version() -> str:
    """Name the SQLite library's version."""
    return apsw.sqlite_lib_version()


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    require_directory(path.parent)
    _require_file(path)
    file_modes.create(path)
    return apsw.Connection(os.fspath(path), vfs=vfs, statementcachesize=_STATEMENTS)


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    for setting in (
        _lock_out_others,
        _vacuum_by_steps,
        _journal_ahead,
        _survive_power_cuts,
        _check_references,
        _bound,
        _keep_plans,
    ):
        setting(connection)


def require_directory(directory: Path) -> None:
    """Refuse a directory that is not there or can't be written.

    Raises:
        errors.StartError: says which.
    """
    if not directory.is_dir():
        message = f"the directory of the database, {directory}, does not exist: is the volume mounted?"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE)
    if not os.access(directory, os.W_OK | os.X_OK):
        message = f"the directory of the database, {directory}, is not writable for user {os.getuid()}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE)


def _require_file(path: Path) -> None:
    """Refuse what exists and is not a regular file: SQLite would wait for the other end of a FIFO."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # SQLite reports it
    if not stat.S_ISREG(mode):
        raise errors.StartError(f"{path} is not a regular file", exit_code=errors.EXIT_CANNOT_CREATE)


def _vacuum_by_steps(connection: apsw.Connection) -> None:
    """Let freed pages be given back in small steps; ignored without an error once the file has a table or a WAL."""
    if connection.pragma("auto_vacuum") != 2:  # to say it again would write, for which there may be no room
        connection.pragma("auto_vacuum", 2)


def _lock_out_others(connection: apsw.Connection) -> None:
    """One owner: nobody else can open the file, and no shared memory file is needed, for which there may be no room.

    Said before the file is first read, or that makes one.
    """
    connection.pragma("locking_mode", "EXCLUSIVE")


def _journal_ahead(connection: apsw.Connection) -> None:
    """Append commits to a log: one fsync each."""
    if connection.pragma("journal_mode", "WAL") != "wal":
        raise errors.StartError("the volume does not support a write-ahead log", exit_code=errors.EXIT_CANNOT_CREATE)
    connection.pragma("journal_size_limit", _JOURNAL_LIMIT_BYTES)
    # Everything waits for a checkpoint: at 1000 events/s one of 4000 pages takes 12 ms twice a second, one of 500 takes
    # 2. Nearly all the pages that a few hundred events write differ, so that seldom is hardly cheaper.
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)


def _survive_power_cuts(connection: apsw.Connection) -> None:
    """Have every commit on the disk before it is acknowledged; NORMAL survives kill -9 but not a power cut."""
    connection.pragma("synchronous", "FULL")


def _check_references(connection: apsw.Connection) -> None:
    """No delivery without its event."""
    connection.pragma("foreign_keys", 1)


def _bound(connection: apsw.Connection) -> None:
    """Keep the memory that SQLite takes within bounds."""
    connection.pragma("cache_size", -_CACHE_KIB)
    connection.pragma("temp_store", "MEMORY")


def _keep_plans(connection: apsw.Connection) -> None:
    """Plan a statement once, not anew for each set of values.

    To find out whether a partial index may be used SQLite looks at the values that are bound, and then has to plan
    again when others are: for ours that found nothing, and took a quarter of the time of an event.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _migrations() -> list[str]:
    files = sorted(
        (
            entry
            for entry in resources.files("beacon.store").joinpath("schema").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    numbers = [int(re.match(r"\d{4}", entry.name)[0]) for entry in files]  # type: ignore[index]
    if numbers != list(range(1, len(files) + 1)):
        raise errors.PermanentError(f"the migrations are not numbered without holes: {numbers}")
    return [entry.read_text(encoding="utf-8") for entry in files]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _opening(path: Path, error: apsw.Error) -> errors.BeaconError:
    """Say why a file can't be opened: damage is for the store to deal with, anything else for a person."""
    translated = _translated(error)
    if isinstance(translated, DamagedError):
        return translated
    return errors.StartError(f"{path}: {translated}", exit_code=errors.EXIT_CANNOT_CREATE)


def _translated(error: Exception) -> errors.BeaconError:
    if isinstance(error, apsw.FullError):
        return FullError(f"no room on the volume: {error}")
    # Text that is no UTF-8 was not written by us; apsw notices when it is read.
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
        return DamagedError(f"the database is damaged: {error}")
    if isinstance(error, apsw.BusyError):
        return BusyError("the database is in use by another process")
    if isinstance(error, _VOLUME_ERRORS):
        return StorageError(f"the volume gave an error: {error}")
    return RequestError(f"{type(error).__name__}: {error}")


# An integer beyond 64 bits and a lone surrogate are no SQL values: apsw says so with Python's own errors.
_REFUSED_BY_SQLITE = (apsw.Error, OverflowError, UnicodeError)
# A quota, a limit on a file's size; and a file system that finds out at the fsync.
_NO_ROOM = (errno.EDQUOT, errno.EFBIG, errno.ENOSPC)
_VOLUME_ERRORS = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError, apsw.PermissionsError)
_COLUMNS_OF_TABLES = (
    'SELECT s.name, c.name, c.type, c."notnull", c.pk FROM sqlite_schema s, pragma_table_info(s.name) c'
    " WHERE s.type = 'table' ORDER BY s.name, c.cid"
)
_SCHEMA = (
    "SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name",
    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name",
    _COLUMNS_OF_TABLES,
)
