"""Cursors and gaps of the ledger: the position of each scope, and the intervals in which it was not watched.

It only reads and writes the two tables; `streams` and `lists` of the verbs decide when a cursor may move.
"""

from dataclasses import dataclass
from functools import cache

from beacon import errors
from beacon.domain import model, records
from beacon.store.ledger import database, packing, session_state

_CONFIRMED_EVERY_US = 30_000_000


@records.record
class Cursor:
    """A row of `cursors`; `version` 0: no position, the scope must be listed, for `reason`."""

    version: int
    epoch: int
    fingerprint: str
    reason: str
    highest: int
    positioned_us: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """An interval in which a scope was not watched; noted when it is closed."""

    label: str
    reason: model.GapReason
    since_us: int | None
    until_us: int
    differences: int


class Cursors:
    """The tables `cursors` and `gaps`."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger; closed gaps are noted in the session state."""
        self._ledger = ledger
        self._state = state

    def get(self, scope: model.ScopeId) -> Cursor:
        """Return the cursor of a configured scope."""
        cursor = self._state.get(_cursor_key(scope))
        if cursor is None:
            cursor = self._read(scope)
            self._state.put(_cursor_key(scope), cursor)
        return cursor

    def _read(self, scope: model.ScopeId) -> Cursor:
        row = self._ledger.row(
            "SELECT resource_version, epoch, fingerprint, reason, highest, positioned_us, label FROM cursors"
            " WHERE api_group = ? AND kind = ? AND namespace = ?",
            key(scope),
        )
        if row is None:
            raise errors.PermanentError(f"{scope} is not configured")
        version, epoch, fingerprint, reason, highest, positioned_us, label = row
        return Cursor(
            version=version,
            epoch=epoch,
            fingerprint=fingerprint,
            reason=reason,
            highest=highest,
            positioned_us=positioned_us,
            label=label,
        )

    def ensure(self, scope: model.ScopeId, reason: model.GapReason) -> bool:
        """Create the cursor of a configured scope unless it exists. Return True if it is new."""
        self.write_moved()
        made = self._ledger.run(
            "INSERT INTO cursors (api_group, kind, namespace, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*key(scope), reason),
        )
        return bool(made)

    def is_untouched(self) -> bool:
        """Return True if this ledger has never had a scope."""
        self.write_moved()
        return self._ledger.row("SELECT 1 FROM cursors UNION ALL SELECT 1 FROM gaps LIMIT 1") is None

    def all(self) -> dict[model.ScopeId, Cursor]:
        """Return every scope that has a cursor."""
        self.write_moved()
        rows = self._ledger.rows("SELECT api_group, kind, namespace FROM cursors")
        scopes = [model.ScopeId(group=group, kind=kind, namespace=namespace) for group, kind, namespace in rows]
        return {scope: self.get(scope) for scope in scopes}

    def highest(self, scope: model.ScopeId, epoch: int) -> int:
        """Return the highest resourceVersion that was read from the scope's resource in this epoch."""
        self.write_moved()
        row = self._ledger.row(
            "SELECT max(highest) FROM cursors WHERE api_group = ? AND kind = ? AND epoch = ?",
            (scope.group, scope.kind, epoch),
        )
        return (row[0] or 0) if row else 0

    def label(self, scope: model.ScopeId, label: str) -> None:
        """Store the scope's name for metrics."""
        self.write_moved()
        self._ledger.run(
            "UPDATE cursors SET label = ? WHERE api_group = ? AND kind = ? AND namespace = ? AND label <> ?",
            (label, *key(scope), label),
        )
        self._state.remove(_cursor_key(scope))

    def move(self, scope: model.ScopeId, version: int, now_us: int) -> None:
        """Set the cursor to a position that has been applied; its row is written before the commit."""
        cursor = self.get(scope)
        moved = Cursor(
            version=version,
            epoch=cursor.epoch,
            fingerprint=cursor.fingerprint,
            reason="",
            highest=max(cursor.highest, version),
            positioned_us=now_us,
            label=cursor.label,
        )
        self._state.put(_cursor_key(scope), moved)
        self._state.unwritten.add(scope)

    def write_moved(self) -> None:
        """Write the rows of the cursors that have moved: once per transaction, and before a statement reads them.

        Within a savepoint it must be called before the end, because the savepoint may be rolled back alone.
        """
        for scope in self._state.unwritten:
            if isinstance(scope, model.ScopeId):
                cursor = self.get(scope)
                self._ledger.run(
                    "UPDATE cursors SET resource_version = ?, highest = ?, reason = ?, positioned_us = ?"
                    " WHERE api_group = ? AND kind = ? AND namespace = ?",
                    (cursor.version, cursor.highest, cursor.reason, cursor.positioned_us, *key(scope)),
                )
        self._state.unwritten.clear()

    def confirm(self, scope: model.ScopeId, cursor: Cursor, now_us: int) -> None:
        """Record that the position of a quiet scope is still current; written at most every 30 s."""
        self._state.put(confirmed_key(scope), now_us)
        if abs(now_us - cursor.positioned_us) > _CONFIRMED_EVERY_US:
            self.move(scope, cursor.version, now_us)

    def compared(self, scope: model.ScopeId, since_us: int) -> None:
        """Record that the scope was complete at an instant: later differences are newer than it."""
        self.write_moved()
        self._ledger.run(
            "UPDATE cursors SET compared_us = ? WHERE api_group = ? AND kind = ? AND namespace = ?",
            (since_us, *key(scope)),
        )

    def compared_us(self, scope: model.ScopeId) -> int:
        """Return the last instant at which the scope was known to be complete; 0: never."""
        self.write_moved()
        row = self._ledger.row(
            "SELECT compared_us FROM cursors WHERE api_group = ? AND kind = ? AND namespace = ?", key(scope)
        )
        return row[0] if row else 0

    def prune(self, uid: str) -> None:
        """Record in the object's scopes, before its row is removed, that older lists can't be compared any more."""
        self.write_moved()
        self._ledger.run(
            "UPDATE cursors SET pruned = max(cursors.pruned, o.resource_version) FROM objects o WHERE o.uid = ?"
            " AND cursors.api_group = o.api_group AND cursors.kind = o.kind AND cursors.epoch = o.epoch"
            " AND cursors.namespace IN ('', o.namespace)",
            (packing.packed(uid),),
        )

    def pruned(self, scope: model.ScopeId) -> int:
        """Return the highest resourceVersion among the scope's rows that were removed in this epoch."""
        self.write_moved()
        row = self._ledger.row(
            "SELECT pruned FROM cursors WHERE api_group = ? AND kind = ? AND namespace = ?", key(scope)
        )
        return row[0] if row else 0

    def begin_list(self, scope: model.ScopeId, *, reason: str, epoch: int, fingerprint: str, list_version: int) -> None:
        """Invalidate the cursor for the duration of a list and store the list's resourceVersion."""
        self.write_moved()
        self._ledger.run(
            "UPDATE cursors SET resource_version = 0, reason = ?, epoch = ?, fingerprint = ?, highest = max(highest, ?)"
            " WHERE api_group = ? AND kind = ? AND namespace = ?",
            (reason, epoch, fingerprint, list_version, *key(scope)),
        )
        self._state.remove(_cursor_key(scope))

    def void(self, scope: model.ScopeId, reason: model.GapReason) -> None:
        """Invalidate a scope's position: the scope must be listed, and a gap opens at the position."""
        self.write_moved()
        cursor = self.get(scope)
        self.open_gap(scope, cursor, reason=reason, epoch=cursor.epoch)
        self._ledger.run(
            "UPDATE cursors SET resource_version = 0, reason = ? WHERE api_group = ? AND kind = ? AND namespace = ?",
            (reason, *key(scope)),
        )
        self._state.remove(_cursor_key(scope))

    def forget_objects(self, now_us: int) -> None:
        """Mark every object as gone without emitting events: whether the objects still exist is unknown.

        The written states become absent, so that no comparison finds an object whose `deleted` is missing.
        """
        states = self._ledger.rows(
            "SELECT kind, state, count(*) FROM objects WHERE state <> 'gone' GROUP BY kind, state"
        )
        for kind, state, number in states:
            self._state.sums.object_moved(kind, state, "gone", number)
        self._ledger.run("UPDATE objects SET state = 'gone', changed_us = ? WHERE state <> 'gone'", (now_us,))
        # Otherwise a comparison, or the next object of the name, would report them as deleted.
        self._ledger.run("UPDATE views SET written_uid = NULL, written_value = NULL WHERE written_uid IS NOT NULL", ())

    def void_all(self, epoch: int, reason: model.GapReason = model.GapReason.REWOUND) -> None:
        """Start a new epoch: all positions of the old one are invalid."""
        self.write_moved()
        for scope, cursor in self.all().items():
            if cursor.version:
                self.open_gap(scope, cursor, reason=reason, epoch=epoch)
            self._state.remove(_cursor_key(scope))
        self._ledger.run(
            "UPDATE cursors SET resource_version = 0, highest = 0, pruned = 0, epoch = ?, reason = ?",
            (epoch, reason),
        )

    def abandon(self, scope: model.ScopeId, cursor: Cursor, epoch: int) -> None:
        """Remove a scope that is no longer configured and open a gap for it."""
        self.write_moved()
        self.open_gap(scope, cursor, reason=model.GapReason.CONFIGURATION, epoch=epoch)
        self._ledger.run("DELETE FROM cursors WHERE api_group = ? AND kind = ? AND namespace = ?", key(scope))
        self._state.remove(_cursor_key(scope))

    def open_gap(self, scope: model.ScopeId, cursor: Cursor, *, reason: model.GapReason, epoch: int) -> None:
        """Record that the scope is not watched since its cursor; an open gap continues, with the latest reason."""
        if self.gap(scope) is not None:
            self._ledger.run(
                "UPDATE gaps SET reason = ?, epoch = ?"
                " WHERE api_group = ? AND kind = ? AND namespace = ? AND to_us IS NULL",
                (reason, epoch, *key(scope)),
            )
            return
        self._ledger.run(
            "INSERT INTO gaps (api_group, kind, namespace, reason, epoch, from_us, from_version)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key(scope), reason, epoch, cursor.positioned_us or None, cursor.version),
        )

    def note_restore(self, now_us: int) -> None:
        """Record for each scope that this ledger, a copy, knows nothing that was recorded after its position.

        The position stays: if the API server still has the history, every change since is read again.
        """
        for scope, cursor in self.all().items():
            if not cursor.version or self.gap(scope) is not None:
                continue
            self.open_gap(scope, cursor, reason=model.GapReason.RESTORED, epoch=cursor.epoch)
            self._ledger.run(
                "UPDATE gaps SET to_us = ?, to_version = from_version, certainty = 'unknown'"
                " WHERE api_group = ? AND kind = ? AND namespace = ? AND to_us IS NULL",
                (now_us, *key(scope)),
            )
            noted = Gap(
                label=cursor.label,
                reason=model.GapReason.RESTORED,
                since_us=cursor.positioned_us or None,
                until_us=now_us,
                differences=0,
            )
            self._state.note(noted)

    def gap(self, scope: model.ScopeId) -> tuple[model.GapReason, int | None, int] | None:
        """Return the open gap of a scope: its reason, its start, and the number of differences found so far."""
        row = self._ledger.row(
            "SELECT reason, from_us, differences FROM gaps"
            " WHERE api_group = ? AND kind = ? AND namespace = ? AND to_us IS NULL",
            key(scope),
        )
        return (model.GapReason(row[0]), row[1], row[2]) if row else None

    def count_differences(self, scope: model.ScopeId, differences: int) -> None:
        """Add the differences that a part of a list found to the scope's open gap."""
        if differences:
            self._ledger.run(
                "UPDATE gaps SET differences = differences + ?"
                " WHERE api_group = ? AND kind = ? AND namespace = ? AND to_us IS NULL",
                (differences, *key(scope)),
            )

    def close_gap(self, scope: model.ScopeId, *, list_version: int, now_us: int) -> None:
        """Record that the scope is known again as of a list at `list_version`."""
        gap = self.gap(scope)
        if gap is None:
            return
        self._ledger.run(
            "UPDATE gaps SET to_us = ?, to_version = ?,"
            " certainty = CASE WHEN differences > 0 THEN 'differences' ELSE 'nothing-found' END"
            " WHERE api_group = ? AND kind = ? AND namespace = ? AND to_us IS NULL",
            (now_us, list_version, *key(scope)),
        )
        reason, since_us, differences = gap
        label = self.get(scope).label
        self._state.note(Gap(label=label, reason=reason, since_us=since_us, until_us=now_us, differences=differences))

    def unmanage_uncovered(self, covered: tuple[model.ScopeId, ...], now_us: int) -> None:
        """Mark tracked objects that no configured scope covers as unmanaged."""
        rows = self._ledger.rows("SELECT DISTINCT api_group, kind, namespace FROM objects WHERE state = 'tracked'")
        for group, kind, namespace in rows:
            ours = {("", group, kind), (namespace, group, kind)}
            if not any((scope.namespace, scope.group, scope.kind) in ours for scope in covered):
                changed = self._ledger.run(
                    "UPDATE objects SET state = 'unmanaged', changed_us = ?"
                    " WHERE api_group = ? AND kind = ? AND namespace = ? AND state = 'tracked'",
                    (now_us, group, kind, namespace),
                )
                self._state.sums.object_moved(kind, "tracked", "unmanaged", changed)

    def tracked(self, scope: model.ScopeId) -> tuple[str, ...]:
        """Return the UIDs of the scope whose observations are required even when they are not accepted."""
        rows = self._ledger.rows(
            "SELECT uid FROM objects WHERE api_group = ? AND kind = ? AND (? = '' OR namespace = ?)"
            " AND state IN ('tracked', 'unmanaged') AND state <> 'gone'",
            (scope.group, scope.kind, scope.namespace, scope.namespace),
        )
        return tuple(packing.unpacked(uid) for (uid,) in rows)


@cache
def _cursor_key(scope: model.ScopeId) -> session_state.StateKey[Cursor]:
    return session_state.StateKey("cursor", scope)


@cache
def confirmed_key(scope: model.ScopeId) -> session_state.StateKey[int]:
    """Return the key of the instant at which the scope's position was last confirmed."""
    return session_state.StateKey("confirmed", scope)


def key(scope: model.ScopeId) -> tuple[str, str, str]:
    """Return the primary key of a scope."""
    return scope.group, scope.kind, scope.namespace
