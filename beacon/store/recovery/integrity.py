"""Opens the ledger and ensures that it is sound: checks it when there is a reason, repairs or rescues it.

A marker file lies beside the ledger. A clean shutdown writes one that describes the file; as long as it matches, no
check is needed. It is deleted while the ledger is open, so that any other end of the store leads to a check. Damage
that is found while serving leaves a marker, too: the next start checks the file. If that check finds nothing although
the damage occurs again, the start after it rescues the readable rows, so that no damage can stop the store forever.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beacon import errors
from beacon.boundary import files
from beacon.store.ledger import database, file_modes, opening
from beacon.store.recovery import replacing, salvage

_CHECKING, _REBUILDING, _RESCUING = "checking the ledger", "rebuilding the indexes", "rescuing a damaged ledger"
_PASSES = 6  # a check reads the pages once, then the rows, with random reads of the indexes: measured on a large ledger
_HEADER_BYTES = 100
_MARKER_BYTES = 200
Report = Callable[[str, float], None]  # called with the activity and the share of it that is done


class ShutdownMarker(StrEnum):
    """The state of the file as the previous store left it."""

    NONE = "none"  # no clean shutdown, or the file has changed since
    CLEAN = "clean"
    DAMAGED = "damaged"  # damage was found while serving
    DOUBTFUL = "doubtful"  # damage was found while serving, a check found none, and none was found since
    HOPELESS = "hopeless"  # damage was found again


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The open ledger, and the repair that it needed: `finding` is the damage, "" if there was none."""

    ledger: database.Database
    finding: str = ""
    rescue: salvage.Rescue | None = None


def open_checked(path: Path, config: salvage.RescueConfig, report: Report, now_us: int) -> Opened:
    """Open the ledger; `report` is called when it takes long.

    Raises:
        errors.StartError: the ledger is not usable here, for another reason than damage.
        database.DamagedError: it could not be rescued.
    """
    opening.require_directory(path.parent)
    replacing.resume(path)
    file_modes.tighten(path)
    if (aside := salvage.resume(path)) is not None:
        _remove_marker(path)
        done = salvage.Rescue(aside=aside)
        return Opened(ledger=database.Database(path), finding="an interrupted rescue was completed", rescue=done)
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
    if not (finding := _checked(ledger, report)):
        _remove_marker(path)
        if marker is not ShutdownMarker.NONE:
            with suppress(OSError):  # full volume: then the next start does a plain check
                _write(path, ShutdownMarker.DOUBTFUL.value)
        return Opened(ledger=ledger)
    report(_REBUILDING, 0.0)
    if _reindexed(ledger):
        _remove_marker(path)
        return Opened(ledger=ledger, finding=finding)
    with suppress(errors.BeaconError):
        ledger.close()
    return _rescued(path, config, report, now_us, finding)


def mark_clean(path: Path) -> None:
    """Write the marker of a clean shutdown."""
    with suppress(OSError):
        _write(path, f"{ShutdownMarker.CLEAN.value} {_file_state(path)}")


@contextmanager
def damage_marked(path: Path) -> Iterator[None]:
    """Write a marker if damage is found in the context, which ends the store: the next start repairs it."""
    try:
        yield
    except database.DamagedError:
        mark_damaged(path)
        raise


def mark_damaged(path: Path) -> None:
    """Write a marker for damage, so that the next start repairs it."""
    with suppress(OSError):
        met_before = read_marker(path) in (ShutdownMarker.DOUBTFUL, ShutdownMarker.HOPELESS)
        _write(path, (ShutdownMarker.HOPELESS if met_before else ShutdownMarker.DAMAGED).value)


def read_marker(path: Path) -> ShutdownMarker:
    """Return the marker of the previous store."""
    try:
        word, _, file_state = files.read_text(_marker_path(path), most_bytes=_MARKER_BYTES).strip().partition(" ")
    except (OSError, UnicodeError):
        return ShutdownMarker.NONE
    if word == ShutdownMarker.CLEAN:
        return ShutdownMarker.CLEAN if file_state == _file_state(path) else ShutdownMarker.NONE
    return ShutdownMarker(word) if word in tuple(ShutdownMarker) else ShutdownMarker.NONE


def _checked(ledger: database.Database, report: Report) -> str:
    report(_CHECKING, 0.0)
    with ledger.reads_reported(lambda share: report(_CHECKING, share), passes=_PASSES):
        return find_damage(ledger)


def find_damage(ledger: database.Database) -> str:
    """Return the damage of an open ledger, "" if none is found.

    `quick_check` takes half the time, but misses an entry that an index lacks, whose delivery would never be made.
    """
    try:
        found = [str(row[0]) for row in ledger.rows("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            return "; ".join(found)[:300]
        return ledger.odd_schema() or _odd_row(ledger)
    except (database.DamagedError, database.RequestError) as error:
        return str(error)


def _odd_row(ledger: database.Database) -> str:
    """Return a message for a table with a row that the store could not process, although SQLite considers it valid."""
    for table, condition in _WORKED_WITH.items():
        columns = [str(row[1]) for row in ledger.rows(f"PRAGMA table_info({table})")]
        for row in ledger.each(f"SELECT * FROM {table} {condition}"):
            if not salvage.is_sane(table, dict(zip(columns, row, strict=True))):
                return f"table {table} contains an invalid row"
    return "" if ledger.is_new or ledger.row("SELECT 1 FROM meta") else "the ledger has no identity"


_WORKED_WITH = {
    "meta": "",
    "cursors": "",
    "gaps": "",
    "objects": "",
    "counts": "",
    "deliveries": "WHERE state IN ('queued', 'ready')",
    "events": "WHERE sequence IN (SELECT id >> 12 FROM deliveries WHERE state IN ('queued', 'ready'))",
}


def _reindexed(ledger: database.Database) -> bool:
    """Rebuild all indexes; return False, with nothing changed, if the file is still damaged."""
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


def _rescued(path: Path, config: salvage.RescueConfig, report: Report, now_us: int, finding: str) -> Opened:
    report(_RESCUING, 0.0)
    made = salvage.rescue(path, config, now_us, lambda share: report(_RESCUING, share))
    _remove_marker(path)
    return Opened(ledger=database.Database(path), finding=finding, rescue=made)


def _file_finding(path: Path, marker: ShutdownMarker) -> str:
    """Return the damage that is visible before SQLite opens the file; an empty file is a new one."""
    if marker is ShutdownMarker.HOPELESS:
        return "damage was found again after a check had found none"
    try:
        header = files.head(path, count=_HEADER_BYTES)
    except OSError:
        return ""  # missing or unreadable: SQLite reports which
    if not header:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return "the file is empty, but its write-ahead log is not"
        return "the file is empty, but was not when it was closed" if _marker_path(path).exists() else ""
    if len(header) < _HEADER_BYTES:
        return f"a file of {len(header)} bytes is not a database"
    if header[:16] != b"SQLite format 3\0":
        return "it is not a database"
    (page,) = struct.unpack_from(">H", header, 16)
    encoding, formats = struct.unpack_from(">I", header, 56)[0], struct.unpack_from(">I", header, 44)[0]
    odd = max(header[18:20]) > 2 or header[20:24] != b"\0\x40\x20\x20" or encoding > 1 or formats > 4
    return "its header is invalid" if odd or (page < 512 and page != 1) else ""


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
        message = f"the database directory, {path.parent}, is not writable: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
