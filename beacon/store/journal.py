"""Objects and their events: applies observations to the ledger and writes events and their deliveries.

`domain.decision` decides; this module only writes. It works within the caller's transaction.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from beacon import codec
from beacon.domain import decision, model, rules, transitions
from beacon.store import database, rendering, session_state


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecorded:
    """An event was written: for metrics and the log, after the commit."""

    kind: str
    type: model.EventType
    source: model.Source
    cause: model.Cause
    namespace: str
    name: str
    id: str
    received_ns: int


class Journal:
    """Writes observations and the events that follow from them."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger; written events are noted in the session state as `EventRecorded`."""
        self._ledger = ledger
        self._state = state
        self._written: Counter[model.EventType] = Counter()
        self._watched_changes = 0
        self._fingerprints: dict[tuple[model.ScopeId, str], str] = {}

    def apply(self, context: rendering.RequestContext, seen: model.Observation) -> None:
        """Apply one observation: write the object's row and the events that follow."""
        row = self._ledger.row(f"SELECT {_COLUMNS} FROM objects WHERE uid = ?", (seen.uid,))
        known = _object(row).known if row else None
        now = transitions.Circumstances(
            fingerprint=self._fingerprint(context.scope, seen.namespace),
            epoch=context.epoch,
            updates=context.updates,
            reason=context.reason,
        )
        holders = self._holders(context.scope.id, seen) if decision.takes_name(seen, known) else []
        for write in decision.decide(seen, known, holders, now):
            self._write(context, write)

    @property
    def events_written(self) -> int:
        """Return the number of events written so far."""
        return self._written.total()

    @property
    def events_written_by_type(self) -> Mapping[model.EventType, int]:
        """Return the number of events written so far by type."""
        return dict(self._written)

    @property
    def watched_changes(self) -> int:
        """Return how often the set of tracked and unmanaged UIDs, which the watcher must know, has changed so far."""
        return self._watched_changes

    def sweep(self, context: rendering.RequestContext, *, list_version: int, listed: frozenset[str]) -> None:
        """Mark objects that a complete list at `list_version` does not contain as gone, and emit their events."""
        scope = context.scope.id
        candidates = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE api_group = ? AND kind = ? AND (? = '' OR namespace = ?)"
            " AND state <> 'gone' AND (epoch < ? OR resource_version <= ?) ORDER BY namespace, name, resource_version",
            (scope.group, scope.kind, scope.namespace, scope.namespace, context.epoch, list_version),
        )
        for row in candidates:
            if row[0] not in listed:
                source = model.Source.RECONCILIATION
                self._write(
                    context, decision.ended(_object(row), list_version=list_version, epoch=context.epoch, source=source)
                )

    def known_among(self, uids: tuple[str, ...]) -> frozenset[str]:
        """Return those of the UIDs that have a row which is not gone."""
        rows = self._ledger.rows(
            "SELECT uid FROM objects WHERE state <> 'gone' AND uid IN (SELECT value FROM json_each(?))",
            (codec.encode(uids).decode(),),
        )
        return frozenset(uid for (uid,) in rows)

    def contradicting(self, epoch: int, list_version: int, listed: Mapping[str, int]) -> str | None:
        """Return a listed object (UID -> resourceVersion) that contradicts the ledger, None if there is none."""
        known = self._ledger.rows(
            "SELECT uid, state, resource_version FROM objects"
            " WHERE epoch = ? AND uid IN (SELECT value FROM json_each(?))",
            (epoch, codec.encode(list(listed)).decode()),
        )
        for uid, state, version in known:
            if transitions.is_impossible(
                model.ObjectState(state), version, listed=listed[uid], list_version=list_version
            ):
                return str(uid)
        return None

    def _holders(self, scope: model.ScopeId, seen: model.Observation) -> list[decision.ObjectRow]:
        """Return the other rows with the object's name that are not gone."""
        rows = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE api_group = ? AND kind = ? AND namespace = ? AND name = ?"
            " AND state <> 'gone' AND uid <> ?",
            (scope.group, scope.kind, seen.namespace, seen.name, seen.uid),
        )
        return [_object(row) for row in rows]

    def _write(self, context: rendering.RequestContext, write: decision.RowWrite) -> None:
        """Write an object's row, and its event, if there is one."""
        shown, after = write.shown, write.after
        self._watched_changes += (write.before in _WATCHED_STATES) != (after.state in _WATCHED_STATES)
        self._ledger.run(
            "INSERT INTO objects (uid, api_group, kind, namespace, name, state, epoch, resource_version, judged_by,"
            " accepted_by, value, labels, annotations, changed_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (uid) DO UPDATE SET state = excluded.state, epoch = excluded.epoch,"
            " resource_version = excluded.resource_version, judged_by = excluded.judged_by,"
            " accepted_by = excluded.accepted_by, value = excluded.value, labels = excluded.labels,"
            " annotations = excluded.annotations, changed_us = excluded.changed_us",
            (
                shown.uid,
                context.scope.id.group,
                context.scope.id.kind,
                shown.namespace,
                shown.name,
                after.state,
                after.epoch,
                after.resource_version,
                after.judged_by,
                after.accepted_by,
                after.value,
                _text(after.labels),
                _text(after.annotations),
                context.now.us,
            ),
        )
        if write.event is not None and write.cause is not None:
            self._emit(context, write, write.event, write.cause)

    def _emit(
        self, context: rendering.RequestContext, write: decision.RowWrite, event: model.EventType, cause: model.Cause
    ) -> None:
        """Write the event and its delivery, unless an event with the same id exists."""
        shown, source, scope = write.shown, write.source, context.scope.id
        subject = f"{scope.group}/{scope.kind}/{shown.namespace}/{shown.name}"
        identity = rendering.event_id(context, shown, event)
        detected_us = rendering.detected_us(context, shown)
        written = self._ledger.run(
            "INSERT INTO events (id, subject, uid, api_version, kind, namespace, name, previous, type, cause, source,"
            " detected_us, committed_us, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
            " coalesce((SELECT max(sequence) FROM events WHERE subject = ?2), 0), ?8, ?9, ?10, ?11, ?12, ?13)"
            " ON CONFLICT (id) DO NOTHING",
            (
                identity,
                subject,
                shown.uid,
                context.api_version,
                scope.kind,
                shown.namespace,
                shown.name,
                event,
                cause,
                source,
                detected_us,
                context.now.us,
                rendering.data(context, shown, cause, source, detected_us),
            ),
        )
        if written:
            self._queue(context, subject, self._ledger.last_rowid)
            self._written[event] += 1
            self._state.note(
                EventRecorded(
                    kind=scope.kind,
                    type=event,
                    source=source,
                    cause=cause,
                    namespace=shown.namespace,
                    name=shown.name,
                    id=identity,
                    received_ns=shown.received_ns,
                )
            )

    def _queue(self, context: rendering.RequestContext, subject: str, sequence: int) -> None:
        self._ledger.run(
            "INSERT INTO deliveries (sequence, endpoint, subject, state, next_attempt_us) VALUES (?1, ?2, ?3,"
            " CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?2 AND subject = ?3"
            " AND state IN ('queued', 'ready')) THEN 'queued' ELSE 'ready' END, ?4)",
            (sequence, context.endpoint, subject, context.now.us),
        )

    def _fingerprint(self, scope: rules.Scope, namespace: str) -> str:
        key = (scope.id, namespace)
        if key not in self._fingerprints:
            if len(self._fingerprints) >= _REMEMBERED_NAMESPACES:
                self._fingerprints.clear()
            self._fingerprints[key] = rules.fingerprint(scope.rule, namespace)
        return self._fingerprints[key]


_REMEMBERED_NAMESPACES = 4096
_WATCHED_STATES = frozenset({model.ObjectState.TRACKED, model.ObjectState.UNMANAGED})
_COLUMNS = "uid, namespace, name, state, epoch, resource_version, judged_by, accepted_by, value, labels, annotations"


def _object(row: database.Row) -> decision.ObjectRow:
    uid, namespace, name, state, epoch, version, judged_by, accepted_by, value, labels, annotations = row
    known = transitions.KnownObject(
        state=model.ObjectState(state),
        epoch=epoch,
        resource_version=version,
        judged_by=judged_by,
        accepted_by=accepted_by,
        value=value,
        labels=codec.decode(labels),
        annotations=codec.decode(annotations),
    )
    return decision.ObjectRow(uid=uid, namespace=namespace, name=name, known=known)


def _text(value: Mapping[str, object]) -> str:
    return codec.encode(value).decode()
