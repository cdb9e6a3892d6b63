"""The SQLite file: opening, pragmas, migrations, transactions. The only user of apsw.

It knows only the schema's existence; SQL with a meaning belongs to the other modules. Errors are translated into the
classes below, so that no other module needs apsw's, and each class states whether the transaction still exists.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from beacon import errors
from beacon.store.ledger import file_modes, packing

Row = tuple[Any, ...]
Values = Sequence[str | int | float | bytes | None]
_CACHE_KIB = 3 * 1024
_BUSY_MS = 5000
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_STATEMENTS = 256
_CHECKPOINT_PAGES = 500  # of 4 KiB
_STEPS_BETWEEN_REPORTS = 100_000  # of SQLite's virtual machine, some milliseconds
_COPIED_PAGES = 4096  # in one step
_ROOM_TO_MIGRATE = 4  # free space, in sizes of the ledger
_SUMS = "INSERT INTO digests"


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


class CopyError(errors.PermanentError):
    """The copy's own file can't be written: a matter of the path that an operator chose, not of the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The schema of a ledger before and after its migration, and the copy from before; None: no free space for one."""

    before: int
    after: int
    copy: Path | None


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
        self.migrated: Migrated | None = None
        try:
            self._connection = _connect(path, vfs)
            try:
                _configure(self._connection)
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
        _require_file(path)
        made = cls.__new__(cls)
        made.path, made.is_new, made.migrated = path, False, None
        # Without a log there is nothing to recover, so that a read-only directory is sufficient.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        try:
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?{how}", flags=flags)
            _define_functions(connection)
            made._connection = connection  # noqa: SLF001  it is of this class
        except apsw.Error as error:
            raise _opening(path, error) from error
        return made

    def close(self) -> None:
        """Close the connection; this checkpoints the write-ahead log."""
        try:
            self._connection.close()
        except apsw.Error as error:
            raise _translated(error) from error

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
            self._connection.execute(sql, values)
            return self._connection.changes()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def run_many(self, sql: str, rows: Iterable[Values]) -> None:
        """Execute one statement for each row of values."""
        try:
            self._connection.executemany(sql, rows)
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def run_script(self, sql: str) -> None:
        """Execute several statements."""
        self.run(sql)

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """Execute one statement and return its rows."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """Execute one statement and return its first row."""
        try:
            return self._connection.execute(sql, values).fetchone()
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

    def each(self, sql: str, values: Values = ()) -> Iterator[Row]:
        """Execute one statement and yield its rows, for results that are too large for memory."""
        try:
            yield from self._connection.execute(sql, values)
        except _REFUSED_BY_SQLITE as error:
            raise self._translated(error) from error

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
        made = apsw.Connection(":memory:")
        _define_functions(made)
        try:
            for sql in _migrations():
                made.execute(sql)
            wanted = [made.execute(sql).fetchall() for sql in _SCHEMA]
        finally:
            made.close()
        found = [self.rows(sql) for sql in _SCHEMA]
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
        if self.in_transaction:
            self.run("ROLLBACK")

    def savepoint(self, work: Callable[[], None]) -> None:
        """Run `work` in a savepoint, which is rolled back if the work fails and the transaction still exists."""
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

    def _translated(self, error: Exception) -> errors.BeaconError:
        """Translate an error; SQLite reports only one cause of missing free space as such, the others as I/O errors."""
        if isinstance(error, apsw.IOError) and self._connection.system_errno in _NO_ROOM:
            return FullError(f"no free space on the volume: {os.strerror(self._connection.system_errno)}")
        return _translated(error)

    def _pages_read(self) -> int:
        return int(self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0])

    def _free_pages(self) -> int:
        return int(self.rows("PRAGMA freelist_count")[0][0])

    def _migrate(self, schema: int | None, *, keep_copy: bool) -> None:
        known = _migrations()
        version = int(self.rows("PRAGMA user_version")[0][0])
        if version > len(known):
            message = f"{self.path} was written by a newer Beacon (schema {version}; this one supports {len(known)})"
            raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)
        if version == 0:
            self._require_none_but_ours()
        elif version < len(known) and keep_copy and schema is None:
            self.migrated = Migrated(before=version, after=len(known), copy=self._copy_before_migration(version))
        for number, sql in enumerate(known[version:schema], start=version + 1):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(sql)
            self._connection.pragma("user_version", number)
            self._connection.execute("COMMIT")

    def _copy_before_migration(self, version: int) -> Path | None:
        """Write a checked copy of the ledger; None if there is no free space for it.

        Raises:
            DamagedError: the ledger is damaged, and must be rescued in its own schema.
        """
        kept = self.path.with_name(f"{self.path.name}.schema-{version}")
        unfinished = kept.with_name(f"{kept.name}.unfinished")
        size = sum(self.sizes())
        volume = os.statvfs(self.path.parent)
        # The copy, and what the migration itself adds to the file and to its log.
        unfinished.unlink(missing_ok=True)
        if not kept.exists() and volume.f_bavail * volume.f_frsize >= _ROOM_TO_MIGRATE * size:
            try:
                self._copy_checked(unfinished)
                unfinished.replace(kept)
            except apsw.FullError:
                unfinished.unlink(missing_ok=True)
            except (apsw.Error, errors.BeaconError):
                unfinished.unlink(missing_ok=True)
                raise
            else:
                _sync_directory(kept.parent)
                return kept
        _require_sound(self._connection)
        return kept if kept.exists() else None

    def _copy_checked(self, target: Path) -> None:
        file_modes.create(target)
        copy = apsw.Connection(os.fspath(target))
        try:
            with copy.backup("main", self._connection, "main") as backup:
                while not backup.done:
                    backup.step(_COPIED_PAGES)
            copy.pragma("journal_mode", "DELETE")
            _mark_as_copy(copy)
            _require_sound(copy)
        finally:
            copy.close()

    def _require_none_but_ours(self) -> None:
        """Raise if the database belongs to another program, or is a ledger without its version."""
        found = {str(name) for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.is_new = not found
        if {"meta", "events", "deliveries"} <= found:
            raise DamagedError("the database is damaged: its schema version is missing")
        if found:
            message = f"{self.path} is a database of another program: set storage.dbPath to another file"
            raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)


class Copy:
    """A copy of a database in progress, advanced between transactions; it includes what is written meanwhile."""

    def __init__(self, source: Database, target: Path) -> None:
        """Start a copy in an empty file.

        Raises:
            CopyError: the file can't be written.
        """
        self._path = target
        try:
            self._target = apsw.Connection(os.fspath(target))
            self._target.pragma("synchronous", "OFF")  # the requester syncs the copy: an fsync would block the store
            self._backup = self._target.backup("main", source._connection, "main")  # noqa: SLF001  of this module
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
        translated = _translated(error)
        if isinstance(translated, DamagedError) or getattr(error, "extendedresult", 0) in _READ_ERRORS:
            return translated
        why = "no free space" if isinstance(translated, FullError) else str(translated)
        return CopyError(f"{self._path} can't be written: {why}")


def sums_of_rows() -> str:
    """Return the statements of the newest schema that compute the digests and counts from the other rows."""
    return "DELETE FROM digests; " + "".join(_migrations()[-1].partition(_SUMS)[1:])


def sqlite_version() -> str:
    """Return the version of the SQLite library."""
    return apsw.sqlite_lib_version()


def schema_version() -> int:
    """Return the version of the schema that this Beacon writes."""
    return len(_migrations())


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    require_directory(path.parent)
    _require_file(path)
    file_modes.create(path)
    return apsw.Connection(os.fspath(path), vfs=vfs, statementcachesize=_STATEMENTS)


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    _define_functions(connection)
    for setting in (
        _lock_out_others,
        _vacuum_by_steps,
        _journal_ahead,
        _survive_power_cuts,
        _bound,
        _keep_plans,
    ):
        setting(connection)


def _mark_as_copy(connection: apsw.Connection) -> None:
    """Record in a copy that it is one: a store that serves it must not continue with the numbers of the original."""
    if ("copied",) in connection.execute("SELECT name FROM pragma_table_info('meta')").fetchall():
        connection.execute("UPDATE meta SET copied = 1")


def _require_sound(connection: apsw.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise DamagedError(f"the database is damaged: {'; '.join(found)[:300]}")


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def require_directory(directory: Path) -> None:
    """Raise if a directory does not exist or is not writable.

    Raises:
        errors.StartError: the message states which.
    """
    if not directory.is_dir():
        message = f"the database directory, {directory}, does not exist: is the volume mounted?"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE)
    if not os.access(directory, os.W_OK | os.X_OK):
        message = f"the database directory, {directory}, is not writable for user {os.getuid()}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE)


def _require_file(path: Path) -> None:
    """Raise if the path exists and is not a regular file: SQLite would block on a FIFO."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # SQLite reports it
    if not stat.S_ISREG(mode):
        raise errors.StartError(f"{path} is not a regular file", exit_code=errors.EXIT_CANNOT_CREATE)


def _define_functions(connection: apsw.Connection) -> None:
    """Define the functions of `packing` in SQL."""
    functions: tuple[tuple[str, Callable[..., packing.Packed | int], int], ...] = (
        ("packed", packing.packed, 1),
        ("as_sent", packing.as_sent, 1),
        ("bucket_of", packing.bucket_of, 4),
    )
    for name, function, arguments in functions:
        connection.create_scalar_function(name, function, arguments, deterministic=True)
    connection.create_aggregate_function("digest_of", packing.DigestSum, 3)


def _vacuum_by_steps(connection: apsw.Connection) -> None:
    """Enable incremental vacuum; ignored without an error if the file has a table or a WAL."""
    if connection.pragma("auto_vacuum") != 2:  # setting it again would write, for which there may be no free space
        connection.pragma("auto_vacuum", 2)


def _lock_out_others(connection: apsw.Connection) -> None:
    """Lock the file for this process; this also avoids the shared memory file, for which there may be no free space.

    Must be set before the file is first read, which creates the shared memory file.
    """
    connection.pragma("locking_mode", "EXCLUSIVE")


def _journal_ahead(connection: apsw.Connection) -> None:
    """Use a write-ahead log: one fsync per commit."""
    if connection.pragma("journal_mode", "WAL") != "wal":
        raise errors.StartError("the volume does not support a write-ahead log", exit_code=errors.EXIT_CANNOT_CREATE)
    connection.pragma("journal_size_limit", _JOURNAL_LIMIT_BYTES)
    # A checkpoint blocks everything: at 1000 events/s one of 4000 pages takes 12 ms twice a second, one of 500 takes
    # 2. A few hundred events write mostly different pages, so that rarer checkpoints are hardly cheaper.
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)


def _survive_power_cuts(connection: apsw.Connection) -> None:
    """Sync every commit to the disk before it is acknowledged; NORMAL survives kill -9 but not a power failure."""
    connection.pragma("synchronous", "FULL")


def _bound(connection: apsw.Connection) -> None:
    """Limit the memory that SQLite uses."""
    connection.pragma("cache_size", -_CACHE_KIB)
    connection.pragma("temp_store", "MEMORY")


def _keep_plans(connection: apsw.Connection) -> None:
    """Plan a statement once, not again for each set of values.

    Without this SQLite examines the bound values to choose a partial index, and plans again when they change. For our
    statements that found no better plan, and took a quarter of the time of an event.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _migrations() -> list[str]:
    files = sorted(
        (
            entry
            for entry in resources.files("beacon.store.ledger").joinpath("schema").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    numbers = [int(re.match(r"\d{4}", entry.name)[0]) for entry in files]  # type: ignore[index]
    if numbers != list(range(1, len(files) + 1)):
        raise errors.PermanentError(f"the migrations are not numbered consecutively: {numbers}")
    return [entry.read_text(encoding="utf-8") for entry in files]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _opening(path: Path, error: apsw.Error) -> errors.BeaconError:
    """Return the error for a file that can't be opened: the store handles damage, an operator anything else."""
    translated = _translated(error)
    if isinstance(translated, DamagedError):
        return translated
    return errors.StartError(f"{path}: {translated}", exit_code=errors.EXIT_CANNOT_CREATE)


def _translated(error: Exception) -> errors.BeaconError:
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
_READ_ERRORS = (
    *(apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS),
)
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
