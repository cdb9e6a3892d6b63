"""The migrations of the ledger's schema, and the checked copy of the ledger that is kept before them.

What is derived from the migrations is here too: the version, the schema that they make, and the sums of rows. It raises
apsw's errors, also for damage that it finds itself: `beacon.store.ledger.database` translates them.
"""

import os
import re
from collections.abc import Set
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from beacon import errors
from beacon.store.ledger import file_modes, opening

_COPIED_PAGES = 4096  # in one step
_ROOM_TO_MIGRATE = 4  # free space, in sizes of the ledger
_SUMS = "INSERT INTO digests"
TABLES_OF_LEDGER = frozenset({"meta", "events", "deliveries"})
COLUMNS_OF_META = "SELECT name FROM pragma_table_info('meta')"
MARK_AS_COPY = "UPDATE meta SET copied = 1;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The schema of a ledger before and after its migration, and the copy from before; None: no free space for one."""

    before: int
    after: int
    copy: Path | None


def schema_version() -> int:
    """Return the version of the schema that this Beacon writes."""
    return len(_migrations())


def require_known(path: Path, version: int) -> None:
    """Raise if a ledger has a schema that this Beacon does not know.

    Raises:
        errors.StartError: a newer one wrote it.
    """
    if version > schema_version():
        raise too_new(path, version, f": {_way_back(path)}")


def too_new(path: Path, version: int, advice: str = "") -> errors.StartError:
    """Return the error for a ledger of a schema that this Beacon does not know."""
    supported = f"(schema {version}; this one supports {schema_version()})"
    message = f"{path} was written by a newer Beacon {supported}{advice}"
    return errors.StartError(message, exit_code=errors.EXIT_CONFIG)


def require_ours(path: Path, tables: Set[str]) -> None:
    """Raise if a database without a version belongs to another program, or is a ledger without its version.

    Raises:
        errors.StartError: it is another program's.
        apsw.CorruptError: it is a ledger.
    """
    if tables >= TABLES_OF_LEDGER:
        raise apsw.CorruptError("its schema version is missing")
    if tables:
        message = f"{path} is a database of another program: set storage.dbPath to another file"
        raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)


def migrate(connection: apsw.Connection, version: int, schema: int | None) -> None:
    """Execute the migrations after `version`, each in its transaction, up to `schema` or to the newest one."""
    for number, sql in enumerate(_migrations()[version:schema], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(sql)
        connection.pragma("user_version", number)
        connection.execute("COMMIT")


def copy_before(connection: apsw.Connection, path: Path, version: int, *, size: int) -> Migrated:
    """Write a checked copy of a ledger of `size` bytes before its migration, if there is free space for it.

    Raises:
        apsw.CorruptError: the ledger is damaged, and must be rescued in its own schema.
    """
    copy = _kept_copy(connection, path, version, size)
    return Migrated(before=version, after=schema_version(), copy=copy)


def sums_of_rows() -> str:
    """Return the statements of the newest schema that compute the digests and counts from the other rows."""
    return "DELETE FROM digests; " + "".join(_migrations()[-1].partition(_SUMS)[1:])


def sync(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def wanted_schema() -> dict[str, list[tuple[Any, ...]]]:
    """Return the statements that describe a schema, each with the rows that the newest one has."""
    made = apsw.Connection(":memory:")
    opening.define_functions(made)
    try:
        for sql in _migrations():
            made.execute(sql)
        return {sql: made.execute(sql).fetchall() for sql in _SCHEMA}
    finally:
        made.close()


def _kept_copy(connection: apsw.Connection, path: Path, version: int, size: int) -> Path | None:
    kept = _kept_path(path, version)
    unfinished = kept.with_name(f"{kept.name}.unfinished")
    volume = os.statvfs(path.parent)
    # The copy, and what the migration itself adds to the file and to its log.
    unfinished.unlink(missing_ok=True)
    if not kept.exists() and volume.f_bavail * volume.f_frsize >= _ROOM_TO_MIGRATE * size:
        try:
            _copy_checked(connection, unfinished)
            unfinished.replace(kept)
        except apsw.FullError:
            unfinished.unlink(missing_ok=True)
        except (apsw.Error, errors.BeaconError):
            unfinished.unlink(missing_ok=True)
            raise
        else:
            sync(kept.parent)
            return kept
    _require_sound(connection)
    return kept if kept.exists() else None


def _copy_checked(connection: apsw.Connection, target: Path) -> None:
    file_modes.create(target)
    copy = apsw.Connection(os.fspath(target))
    try:
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(_COPIED_PAGES)
        copy.pragma("journal_mode", "DELETE")
        _mark_as_copy(copy)
        _require_sound(copy)
    finally:
        copy.close()


def _mark_as_copy(connection: apsw.Connection) -> None:
    """Record in a copy that it is one: a store that serves it must not continue with the numbers of the original."""
    if ("copied",) in connection.execute(COLUMNS_OF_META).fetchall():
        connection.execute(MARK_AS_COPY)


def _way_back(path: Path) -> str:
    """Return how to go back to this program: with the newest copy from before a migration, if there is one."""
    copies = (_kept_path(path, number) for number in range(schema_version(), 0, -1))
    kept = next((copy for copy in copies if copy.exists()), None)
    if kept is None:
        return f"restore a backup, because there is no copy {_kept_path(path, schema_version())}"
    return f"`beacon restore {kept}` puts back the copy that was made before the migration"


def _kept_path(path: Path, version: int) -> Path:
    """Return the path of the copy that is kept before a ledger of this schema is migrated."""
    return path.with_name(f"{path.name}.schema-{version}")


def _require_sound(connection: apsw.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise apsw.CorruptError("; ".join(found)[:300])


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


_COLUMNS_OF_TABLES = (
    'SELECT s.name, c.name, c.type, c."notnull", c.pk FROM sqlite_schema s, pragma_table_info(s.name) c'
    " WHERE s.type = 'table' ORDER BY s.name, c.cid"
)
_SCHEMA = (
    "SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name",
    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name",
    _COLUMNS_OF_TABLES,
)
