"""Opens the SQLite file for the process that owns it: the file's checks, the pragmas, and the functions in SQL.

It raises apsw's errors: `beacon.store.ledger.database` translates them.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import apsw

from beacon import errors
from beacon.store.ledger import file_modes, packing

_CACHE_KIB = 3 * 1024
_BUSY_MS = 5000
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_STATEMENTS = 256
_CHECKPOINT_PAGES = 500  # of 4 KiB


def connect(path: Path, vfs: str | None) -> apsw.Connection:
    """Open the file, created if it does not exist, with the mode that only its owner reads it.

    Raises:
        errors.StartError: the directory or the file is not usable.
    """
    require_directory(path.parent)
    require_file(path)
    file_modes.create(path)
    return apsw.Connection(os.fspath(path), vfs=vfs, statementcachesize=_STATEMENTS)


def configure(connection: apsw.Connection) -> None:
    """Set how SQLite locks, syncs and caches, and define the functions in SQL."""
    connection.set_busy_timeout(_BUSY_MS)
    define_functions(connection)
    for setting in (
        _lock_out_others,
        _vacuum_by_steps,
        _journal_ahead,
        _survive_power_cuts,
        _bound,
        _keep_plans,
    ):
        setting(connection)


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


def require_file(path: Path) -> None:
    """Raise if the path exists and is not a regular file: SQLite would block on a FIFO.

    Raises:
        errors.StartError: the message names the path.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # SQLite reports it
    if not stat.S_ISREG(mode):
        raise errors.StartError(f"{path} is not a regular file", exit_code=errors.EXIT_CANNOT_CREATE)


def define_functions(connection: apsw.Connection) -> None:
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
