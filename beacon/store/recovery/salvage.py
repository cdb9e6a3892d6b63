"""Builds a new ledger from the readable rows of a damaged one, and moves the damaged one aside.

The damaged file is never deleted or overwritten. The new ledger is complete before the damaged one is moved, so that
a crash at any instant leaves one of the two in place, or the new one beside it (see `resume`). An event that is sent
again by mistake has the same id. An event that was never sent would be lost, so a delivery of unknown state stays open.
"""

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from beacon import codec, errors
from beacon.domain import model
from beacon.store.ledger import database, endpoints, packing
from beacon.store.recovery import pages, rescued_rows, rescued_rows_of_schema_6

_AT_ONCE = 2000  # rows in one transaction
_HIGHEST_EPOCH = 10**9
_HIGHEST_NUMBER = packing.HIGHEST_SEQUENCE - 2 * packing.SKIPPED_NUMBERS
_JSON = {"events": ("data",), "objects": ("labels", "annotations")}
_WORDS: Mapping[tuple[str, str], frozenset[str]] = {
    ("events", "source"): frozenset(model.Source),
    ("events", "cause"): frozenset(model.Cause),
    ("gaps", "reason"): frozenset(model.GapReason),
    ("actions", "action"): frozenset(model.OperatorAction),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueConfig:
    """The configuration for the new ledger: the scopes that must be listed, and the endpoints of reopened deliveries.

    `endpoint` is the name of an endpoint whose row was lost. One that is not among `endpoints` selects everything.
    """

    scopes: tuple[model.ScopeId, ...]
    endpoint: str
    endpoints: tuple[endpoints.LedgerEndpoint, ...]


@dataclass(slots=True, kw_only=True)
class Rescue:
    """The saved and lost rows by table; `lost` is computed from the counts in the damaged file."""

    aside: Path
    saved: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    reopened: int = 0


def rescue(path: Path, config: RescueConfig, now_us: int, report: Callable[[float], None]) -> Rescue:
    """Replace the damaged ledger by a new one with all readable rows; `report` is called with the share that is done.

    Raises:
        errors.StartError: the volume does not permit it.
    """
    building = _beside(path, "rescue-unfinished")
    _remove(building)
    try:
        made = _Copy(path, building, config, now_us).run(report)
        building.replace(_beside(path, "rescue"))
        made.aside = resume(path) or made.aside
    except (OSError, database.StorageError) as error:
        message = f"{path} is damaged, and its readable rows can't be saved: {error}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    return made


def resume(path: Path) -> Path | None:
    """Move the damaged file aside and the complete new one into its place. Return the damaged file's new path.

    Completes a move that a crash interrupted; does nothing if there is no complete new file.
    """
    fresh = _beside(path, "rescue")
    if not fresh.exists():
        return None
    aside = _free_name(path)
    for suffix in ("", "-wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    fresh.rename(path)
    _sync(path.parent)
    return aside


def is_sane(table: str, row: Mapping[str, pages.Value]) -> bool:
    """Return True if the row's enum values are known and its JSON is valid; SQLite checks types and constraints."""
    words = (row.get(column) in known for (of, column), known in _WORDS.items() if of == table)
    return all(words) and all(_is_object(row.get(column)) for column in _JSON.get(table, ()))


class _Layout(Protocol):
    """The module of the schema in which a ledger is rescued."""

    @property
    def SCHEMA(self) -> int: ...  # noqa: N802  a constant of the module
    @property
    def KNOWN_BY(self) -> Mapping[str, rescued_rows.RowShape]: ...  # noqa: N802
    @property
    def NUMBERED(self) -> tuple[str, ...]: ...  # noqa: N802

    def is_sane(self, table: str, row: Mapping[str, pages.Value]) -> bool: ...
    def remove_orphans(self, ledger: database.Database) -> int: ...
    def reopen(
        self, ledger: database.Database, endpoint: str, now_us: int, known: Sequence[endpoints.LedgerEndpoint]
    ) -> int: ...
    def order(self, ledger: database.Database, now_us: int, *, objects_lost: bool) -> None: ...


class _Copy:
    """One run of copying rows from the damaged file to the new one."""

    def __init__(self, source: Path, target: Path, config: RescueConfig, now_us: int) -> None:
        self._source = source
        self._target = target
        self._config = config
        self._now_us = now_us
        self._layout = _layout_of(source)
        self._ledger = database.Database(target, schema=self._layout.SCHEMA)
        self._columns = {
            table: [str(row[1]) for row in self._ledger.rows(f"PRAGMA table_info({table})")]
            for table in self._layout.KNOWN_BY
        }
        self._insert: dict[tuple[str, int], str] = {}
        self._made = Rescue(aside=source)
        self._counted: dict[str, int] = {}
        self._assigned: dict[str, int] = {}
        self._names: dict[int, str] = {}  # of endpoints
        self._identity: tuple[int, str] = (0, "")  # epoch and cluster of the damaged ledger

    def run(self, report: Callable[[float], None]) -> Rescue:
        """Copy the rows, and restore consistency among them."""
        try:
            self._copy(report)
            self._ledger.begin()
            self._void_cursors()
            self._reconnect()
            if self._layout is rescued_rows:
                self._ledger.run(_OWED)
            self._ledger.commit()
            self._count_lost()
        finally:
            self._ledger.close()
        database.Database(self._target, keep_copy=False).close()  # migrates it
        return self._made

    def _copy(self, report: Callable[[float], None]) -> None:
        file = pages.File(self._source)
        try:
            self._ledger.begin()
            for number, (rowid, values) in enumerate(file.rows()):
                self._sort_row(rowid, values)
                if number % _AT_ONCE == 0:
                    self._ledger.commit()
                    self._ledger.begin()
                    report(file.share)
            self._ledger.commit()
        finally:
            file.close()
        self._made.unreadable += file.counts.damaged

    def _sort_row(self, rowid: int | None, values: tuple[pages.Value, ...]) -> None:
        if rowid is None and len(values) == 4 and values[0] in ("objects", "deliveries") and values[2] in _STATES:
            self._counted[str(values[0])] = self._counted.get(str(values[0]), 0) + _number(values[3])
        elif rowid is not None and len(values) == 2 and values[0] in ("events", "deliveries", "gaps"):
            self._assigned[str(values[0])] = _number(values[1])
        elif rowid == 1 and _is_meta(values):
            self._identity = (max(self._identity[0], _epoch(values[2])), str(values[3] or ""))
        elif rowid is None and len(values) == rescued_rows.KEY_ENTRY and "order_keys" in self._columns:
            self._insert_row("order_keys", (values[-1], *values[:-1], 0))
        elif rowid is None and len(values) == rescued_rows.NAME_ENTRY and "endpoints" in self._columns:
            self._note_name(*values)
        elif (table := self._table_of(rowid, values)) is not None:
            self._insert_row(table, values if rowid is None else (rowid, *values[1:]))

    def _note_name(self, name: pages.Value, number: pages.Value) -> None:
        """Note an entry of the index of endpoints; those of other indexes have other types."""
        if isinstance(name, str) and isinstance(number, int) and 0 < number <= packing.LAST_ENDPOINT:
            self._names[number] = name

    def _insert_row(self, table: str, values: Sequence[pages.Value]) -> None:
        columns = self._columns[table][: len(values)]
        row = dict(zip(columns, values, strict=False))
        if len(values) > len(columns) or not is_sane(table, row) or not self._layout.is_sane(table, row):
            self._made.unreadable += 1
            return
        key = (table, len(values))
        if key not in self._insert:
            marks = ", ".join("?" * len(values))
            self._insert[key] = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        try:
            changed = self._ledger.run(self._insert[key], values)
        except database.RequestError:  # a type that the column does not take
            changed = 0
        self._made.saved[table] = self._made.saved.get(table, 0) + changed
        self._made.unreadable += changed == 0 and table != "order_keys"  # its rows come twice

    def _reconnect(self) -> None:
        """Ensure that every delivery has its event and every object exactly one first open delivery."""
        run, layout = self._ledger.run, self._layout
        for number, name in self._names.items():
            run("INSERT OR IGNORE INTO endpoints (id, name) VALUES (?, ?)", (number, name))
        orphans = layout.remove_orphans(self._ledger)
        self._made.saved["deliveries"] = self._made.saved.get("deliveries", 0) - orphans
        for table, assigned in self._assigned.items():
            run("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (min(assigned, _HIGHEST_NUMBER), table))
        # Skipping numbers avoids that lost ones are used again: a receiver has seen them.
        for table in layout.NUMBERED:
            run("INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE NOT EXISTS"
                " (SELECT 1 FROM sqlite_sequence WHERE name = ?1)", (table,))  # fmt: skip
            run("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (packing.SKIPPED_NUMBERS, table))
        if self._counted.get("deliveries", -1) != self._made.saved["deliveries"]:
            self._made.reopened = layout.reopen(
                self._ledger, self._config.endpoint, self._now_us, self._config.endpoints
            )
        objects_lost = self._counted.get("objects", -1) != self._made.saved.get("objects", 0)
        layout.order(self._ledger, self._now_us, objects_lost=objects_lost)

    def _void_cursors(self) -> None:
        """Invalidate all cursors, so that every scope is listed, and open gaps at their positions."""
        run = self._ledger.run
        (known,) = self._ledger.rows(
            "SELECT max(epoch) FROM (SELECT epoch FROM objects UNION ALL SELECT epoch FROM cursors)"
        )[0]
        epoch = max(self._identity[0], _epoch(known))
        run(
            "INSERT INTO meta (one, ledger, epoch, cluster, created_us) VALUES (1, ?, ?, ?, ?)",
            (str(uuid.uuid4()), epoch, self._identity[1], self._now_us),
        )
        for scope in self._config.scopes:
            run(
                "INSERT INTO cursors (api_group, kind, namespace) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (scope.group, scope.kind, scope.namespace),
            )
        reason = model.GapReason.DAMAGED
        run("UPDATE gaps SET reason = ?, epoch = ? WHERE to_us IS NULL", (reason, epoch))
        run(_GAPS, (reason, epoch))
        run(
            "UPDATE cursors SET highest = CASE WHEN epoch = ?1 THEN highest ELSE 0 END, epoch = ?1,"
            " resource_version = 0, reason = ?2",
            (epoch, reason),
        )

    def _table_of(self, rowid: int | None, values: tuple[pages.Value, ...]) -> str | None:
        for table, shape in self._layout.KNOWN_BY.items():
            if _has_shape(shape, rowid, values):
                return table if not shape.has_rowid or values[0] is None else None
        return None

    def _count_lost(self) -> None:
        for what, count in self._counted.items():
            self._made.lost[what] = max(0, count - self._made.saved.get(what, 0))


_STATES = frozenset(model.ObjectState) | frozenset(model.DeliveryState)
# Views that were lost are computed from what is left: every endpoint is compared with every object.
_OWED = (
    "INSERT OR REPLACE INTO catch_ups (endpoint, api_group, kind, namespace)"
    " SELECT p.id, c.api_group, c.kind, c.namespace FROM endpoints p, cursors c WHERE p.removed_us = 0"
)
_GAPS = """
INSERT INTO gaps (api_group, kind, namespace, reason, epoch, from_us, from_version)
SELECT c.api_group, c.kind, c.namespace, ?1, ?2, nullif(c.positioned_us, 0), c.resource_version FROM cursors c
WHERE NOT EXISTS (
    SELECT 1 FROM gaps g WHERE g.api_group = c.api_group AND g.kind = c.kind AND g.namespace = c.namespace
    AND g.to_us IS NULL
)"""


def _layout_of(path: Path) -> _Layout:
    """Return the layout of a damaged file: by the version in its header, if that is valid, else by its rows."""
    file = pages.File(path)
    try:
        version = file.user_version
        if not 0 < version <= rescued_rows.SCHEMA:
            old = sum(_has_shape(rescued_rows_of_schema_6.KNOWN_BY["events"], *row) for row in file.rows())
            version = rescued_rows_of_schema_6.SCHEMA if old else rescued_rows.SCHEMA
    finally:
        file.close()
    return rescued_rows if version > rescued_rows_of_schema_6.SCHEMA else rescued_rows_of_schema_6


def _is_meta(values: Sequence[pages.Value]) -> bool:
    whole = 5 <= len(values) < 9 and values[0] is None
    return whole and isinstance(values[1], str) and isinstance(values[2], int)


def _has_shape(shape: rescued_rows.RowShape, rowid: int | None, values: Sequence[pages.Value]) -> bool:
    if shape.has_rowid is (rowid is None) or not shape.values <= len(values) < shape.values + 4:
        return False
    return all(type(values[index]) in types for index, types in shape.types.items())


def _number(value: pages.Value) -> int:
    return value if isinstance(value, int) else 0


def _epoch(value: pages.Value) -> int:
    epoch = _number(value)
    return epoch if 0 <= epoch <= _HIGHEST_EPOCH else 0


def _is_object(value: pages.Value) -> bool:
    try:
        return isinstance(codec.decode(value if isinstance(value, str) else ""), dict)
    except codec.DecodeError:
        return False


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _remove(building: Path) -> None:
    """Remove the unfinished file of an earlier run; it contains only rows of the damaged file."""
    for suffix in ("", "-wal", "-journal"):
        building.with_name(building.name + suffix).unlink(missing_ok=True)


def _free_name(path: Path) -> Path:
    """Return a path that does not exist; a name is never used twice."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S")
    names = (_beside(path, f"damaged-{stamp}{number or ''}") for number in _naturals())
    return next(name for name in names if not name.exists() and not name.with_name(f"{name.name}-wal").exists())


def _naturals() -> Sequence[int]:
    return range(1_000_000)


def _sync(directory: Path) -> None:
    """Sync a directory, so that the new names are on the disk."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
