"""Opens the ledger in a condition in which it can be believed: checks it when there is reason to, repairs, or rescues.

Beside the file lies a mark. A clean end leaves one that names the file as it was then; as long as it fits, nothing need
be checked. It is taken away while the ledger is open, so that whatever else ends the store leads to a check. Damage
found while serving leaves a mark, too: the next start looks, and if that finds nothing although it happens
again, the one after it copies what can be read, so that no damage can make the store end for ever.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beacon import errors
from beacon.boundary import files
from beacon.store import database, file_modes, salvage

_HEADER_BYTES = 100
_MARKER_BYTES = 200


class ShutdownMarker(StrEnum):
    """What is known of the file from the store before."""

    NONE = "none"  # it did not end cleanly, or the file is another one than it closed
    CLEAN = "clean"
    DAMAGED = "damaged"  # damage was met while serving
    DOUBTFUL = "doubtful"  # damage was met while serving, a check found none, and none was met since
    HOPELESS = "hopeless"  # damage was met again


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The ledger, and what had to be done to it: `finding` is what was wrong, "" when nothing was."""

    ledger: database.Database
    finding: str = ""
    rescue: salvage.Rescue | None = None


def open_checked(path: Path, config: salvage.RescueConfig, report: Callable[[str], None], now_us: int) -> Opened:
    """Open the ledger; `doing` is told what takes time.

    Raises:
        errors.StartError: it can't be used here, which is no question of damage.
        database.DamagedError: it could not be rescued.
    """
    database.require_directory(path.parent)
    file_modes.tighten(path)
    if (aside := salvage.resume(path)) is not None:
        _remove_marker(path)
        done = salvage.Rescue(aside=aside)
        return Opened(ledger=database.Database(path), finding="a rescue had been interrupted", rescue=done)
    marker = read_marker(path)
    if finding := _file_finding(path, marker):
        return _rescued(path, config, report, now_us, finding)
    try:
        ledger = database.Database(path)
    except database.DamagedError as error:
        return _rescued(path, config, report, now_us, str(error))
    if marker is ShutdownMarker.CLEAN or (marker is ShutdownMarker.NONE and ledger.is_new):
        _remove_marker(path)
        return Opened(ledger=ledger)
    report("checking the ledger")
    if not (finding := find_damage(ledger)):
        _remove_marker(path)
        if marker is not ShutdownMarker.NONE:
            with suppress(OSError):  # a full volume: then a plain check must do next time
                _write(path, ShutdownMarker.DOUBTFUL.value)
        return Opened(ledger=ledger)
    report("building the indexes anew")
    if _reindexed(ledger):
        _remove_marker(path)
        return Opened(ledger=ledger, finding=finding)
    with suppress(errors.BeaconError):
        ledger.close()
    return _rescued(path, config, report, now_us, finding)


def mark_clean(path: Path) -> None:
    """Remember that the file was closed as it is now."""
    with suppress(OSError):
        _write(path, f"{ShutdownMarker.CLEAN.value} {_file_state(path)}")


@contextmanager
def damage_marked(path: Path) -> Iterator[None]:
    """Remember damage that is met within: it ends the store, and the next start does something about it."""
    try:
        yield
    except database.DamagedError:
        mark_damaged(path)
        raise


def mark_damaged(path: Path) -> None:
    """Remember that damage was met, so that the next start does something about it."""
    with suppress(OSError):
        met_before = read_marker(path) in (ShutdownMarker.DOUBTFUL, ShutdownMarker.HOPELESS)
        _write(path, (ShutdownMarker.HOPELESS if met_before else ShutdownMarker.DAMAGED).value)


def read_marker(path: Path) -> ShutdownMarker:
    """Give what the store before left."""
    try:
        word, _, file_state = files.read_text(_marker_path(path), most_bytes=_MARKER_BYTES).strip().partition(" ")
    except (OSError, UnicodeError):
        return ShutdownMarker.NONE
    if word == ShutdownMarker.CLEAN:
        return ShutdownMarker.CLEAN if file_state == _file_state(path) else ShutdownMarker.NONE
    return ShutdownMarker(word) if word in tuple(ShutdownMarker) else ShutdownMarker.NONE


def find_damage(ledger: database.Database) -> str:
    """Say what is wrong with an open ledger, "" when nothing is found.

    `quick_check` takes half the time, but finds no entry that an index lacks, and that delivery would never be made.
    """
    try:
        found = [str(row[0]) for row in ledger.rows("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            return "; ".join(found)[:300]
        return ledger.odd_schema() or _odd_row(ledger)
    except (database.DamagedError, database.RequestError) as error:
        return str(error)


def _odd_row(ledger: database.Database) -> str:
    """Name a table with a row that the store could not work with, though SQLite takes it for whole."""
    for table, condition in _WORKED_WITH.items():
        columns = [str(row[1]) for row in ledger.rows(f"PRAGMA table_info({table})")]
        for row in ledger.each(f"SELECT * FROM {table} {condition}"):
            if not salvage.is_sane(table, dict(zip(columns, row, strict=True))):
                return f"table {table} holds a row that makes no sense"
    return "" if ledger.is_new or ledger.row("SELECT 1 FROM meta") else "the ledger has no identity"


_WORKED_WITH = {
    "meta": "",
    "cursors": "",
    "gaps": "",
    "objects": "",
    "counts": "",
    "deliveries": "WHERE state IN ('queued', 'ready')",
    "events": "WHERE sequence IN (SELECT sequence FROM deliveries WHERE state IN ('queued', 'ready'))",
}


def _reindexed(ledger: database.Database) -> bool:
    """Build all indexes anew; False, with nothing changed, when the file is not whole after it."""
    try:
        ledger.begin()
        ledger.run("REINDEX")
        sound = not find_damage(ledger)
        if sound:
            ledger.commit()
    except (database.DamagedError, database.RequestError):
        sound = False
    if not sound:
        with suppress(errors.BeaconError):
            ledger.rollback()
    return sound


def _rescued(
    path: Path, config: salvage.RescueConfig, report: Callable[[str], None], now_us: int, finding: str
) -> Opened:
    report("saving what can be read of a damaged ledger")
    made = salvage.rescue(path, config, now_us)
    _remove_marker(path)
    return Opened(ledger=database.Database(path), finding=finding, rescue=made)


def _file_finding(path: Path, marker: ShutdownMarker) -> str:
    """Say what is wrong with the file by its look, before SQLite sees it; an empty one is a new one."""
    if marker is ShutdownMarker.HOPELESS:
        return "damage was met again after a check had found none"
    try:
        header = files.head(path, count=_HEADER_BYTES)
    except OSError:
        return ""  # not there, or not to be opened: SQLite says which
    if not header:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return "the file is empty beside a log that is not"
        return "the file is empty, and was not when it was closed" if _marker_path(path).exists() else ""
    if len(header) < _HEADER_BYTES:
        return f"a file of {len(header)} bytes is no database"
    if header[:16] != b"SQLite format 3\0":
        return "it is no database"
    (page,) = struct.unpack_from(">H", header, 16)
    encoding, formats = struct.unpack_from(">I", header, 56)[0], struct.unpack_from(">I", header, 44)[0]
    odd = max(header[18:20]) > 2 or header[20:24] != b"\0\x40\x20\x20" or encoding > 1 or formats > 4
    return "its header makes no sense" if odd or (page < 512 and page != 1) else ""


def _file_state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _marker_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.mark")


def _write(path: Path, text: str) -> None:
    files.write(_marker_path(path), f"{text}\n".encode())


def _remove_marker(path: Path) -> None:
    try:
        _marker_path(path).unlink(missing_ok=True)
    except OSError as error:
        message = f"the directory of the database, {path.parent}, is not writable: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
