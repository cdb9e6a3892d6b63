"""Objects and what is to be told of them: applies observations to the ledger and writes events and their deliveries.

It decides nothing itself (that is `beacon.transitions`) and never begins or ends a transaction: it works within one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from beacon import codec, model, rules, transitions
from beacon.store import database, memory, rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event that was written: what the metrics are told once it is on disk."""

    kind: str
    type: model.EventType
    source: model.Source
    cause: model.Cause
    namespace: str
    name: str
    id: str
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """A row of `objects`: who it is and what is known of it."""

    uid: str
    namespace: str
    name: str
    known: transitions.Known


class Journal:
    """Writes what was observed and what follows from it."""

    def __init__(self, ledger: database.Database, remembered: memory.Memory) -> None:
        """Work on the given ledger; events written are noted in memory as `Told`."""
        self._ledger = ledger
        self._memory = remembered
        self._told: Counter[model.EventType] = Counter()
        self._regarded = 0
        self._fingerprints: dict[tuple[model.ScopeId, str], str] = {}

    def apply(self, frame: rendering.Frame, seen: model.Observation) -> None:
        """Apply one observation: keep what it says of the object and tell what follows from it."""
        known = self._known(seen.uid)
        now = transitions.Circumstances(
            fingerprint=self._fingerprint(frame.scope, seen.namespace),
            epoch=frame.epoch,
            updates=frame.updates,
            reason=frame.reason,
        )
        if known and transitions.is_stale(known, seen, now):
            return
        # While an object is tracked nobody else has its name: whoever took it over would have ended it.
        holds = known is not None and known.state is model.ObjectState.TRACKED
        if seen.verdict is model.Verdict.ACCEPTED and not holds and not self._take_over(frame, seen):
            return
        if (step := transitions.step(known, seen, now)) is not None:
            self._write(frame, seen, known, step, now.fingerprint)

    @property
    def told(self) -> int:
        """How many events have been written so far."""
        return self._told.total()

    @property
    def told_by_type(self) -> Mapping[model.EventType, int]:
        """How many events of each type have been written so far."""
        return dict(self._told)

    @property
    def regarded(self) -> int:
        """How often the set of tracked and unmanaged UIDs, which the watcher must know, has changed so far."""
        return self._regarded

    def sweep(self, frame: rendering.Frame, *, at: int, listed: frozenset[str]) -> None:
        """Mark as gone what a complete list at `at` does not show, and tell it."""
        scope = frame.scope.id
        candidates = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE api_group = ? AND kind = ? AND (? = '' OR namespace = ?)"
            " AND state <> 'gone' AND (epoch < ? OR resource_version <= ?) ORDER BY namespace, name, resource_version",
            (scope.group, scope.kind, scope.namespace, scope.namespace, frame.epoch, at),
        )
        for row in candidates:
            if row[0] not in listed:
                self._vanish(frame, _object(row), at=at, source=model.Source.RECONCILIATION, received_ns=0)

    def known_among(self, uids: tuple[str, ...]) -> frozenset[str]:
        """Give those of the UIDs that have a row which is not gone."""
        rows = self._ledger.rows(
            "SELECT uid FROM objects WHERE state <> 'gone' AND uid IN (SELECT value FROM json_each(?))",
            (codec.encode(uids).decode(),),
        )
        return frozenset(uid for (uid,) in rows)

    def contradicting(self, epoch: int, at: int, listed: Mapping[str, int]) -> str | None:
        """Name a listed object (UID -> resourceVersion) that contradicts the ledger, None when all is possible."""
        known = self._ledger.rows(
            "SELECT uid, state, resource_version FROM objects"
            " WHERE epoch = ? AND uid IN (SELECT value FROM json_each(?))",
            (epoch, codec.encode(list(listed)).decode()),
        )
        for uid, state, version in known:
            if transitions.is_impossible(model.ObjectState(state), version, listed=listed[uid], at=at):
                return str(uid)
        return None

    def _take_over(self, frame: rendering.Frame, seen: model.Observation) -> bool:
        """Let an accepted object take its name from an older one; False: the observation is a stale replay."""
        scope = frame.scope.id
        holders = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE api_group = ? AND kind = ? AND namespace = ? AND name = ?"
            " AND state <> 'gone' AND uid <> ?",
            (scope.group, scope.kind, seen.namespace, seen.name, seen.uid),
        )
        for holder in map(_object, holders):
            if (frame.epoch, seen.resource_version) <= (holder.known.epoch, holder.known.resource_version):
                return False
            source = _SOURCES[seen.change]
            self._vanish(frame, holder, at=seen.resource_version, source=source, received_ns=seen.received_ns)
        return True

    def _vanish(
        self, frame: rendering.Frame, gone: _Object, *, at: int, source: model.Source, received_ns: int
    ) -> None:
        step = transitions.vanish(gone.known.state)
        self._regarded += gone.known.state in _REGARDED
        self._ledger.run(
            "UPDATE objects SET state = 'gone', epoch = ?, resource_version = ?, changed_us = ? WHERE uid = ?",
            (frame.epoch, at, frame.now.us, gone.uid),
        )
        if step.event is not None:
            self._tell(
                frame,
                step,
                model.Observation(
                    uid=gone.uid,
                    namespace=gone.namespace,
                    name=gone.name,
                    resource_version=at,
                    change=model.Change.DELETED,
                    verdict=model.Verdict.ANNOTATION,
                    value=gone.known.value,
                    labels=gone.known.labels,
                    annotations=gone.known.annotations,
                    received_ns=received_ns,
                ),
                source,
            )

    def _write(
        self,
        frame: rendering.Frame,
        seen: model.Observation,
        known: transitions.Known | None,
        step: transitions.Step,
        fingerprint: str,
    ) -> None:
        accepted = seen.verdict is model.Verdict.ACCEPTED and seen.change is not model.Change.DELETED
        value = seen.value if accepted or known is None else known.value
        self._regarded += (known is not None and known.state in _REGARDED) != (step.state in _REGARDED)
        self._ledger.run(
            "INSERT INTO objects (uid, api_group, kind, namespace, name, state, epoch, resource_version, judged_by,"
            " accepted_by, value, labels, annotations, changed_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (uid) DO UPDATE SET state = excluded.state, epoch = excluded.epoch,"
            " resource_version = excluded.resource_version, judged_by = excluded.judged_by,"
            " accepted_by = excluded.accepted_by, value = excluded.value, labels = excluded.labels,"
            " annotations = excluded.annotations, changed_us = excluded.changed_us",
            (
                seen.uid,
                frame.scope.id.group,
                frame.scope.id.kind,
                seen.namespace,
                seen.name,
                step.state,
                frame.epoch,
                seen.resource_version,
                fingerprint,
                fingerprint if accepted or known is None else known.accepted_by,
                value,
                _text(seen.labels),
                _text(seen.annotations),
                frame.now.us,
            ),
        )
        if step.event is not None:
            shown = seen if accepted else _with_value(seen, value)
            self._tell(frame, step, shown, _SOURCES[seen.change])

    def _tell(
        self, frame: rendering.Frame, step: transitions.Step, shown: model.Observation, source: model.Source
    ) -> None:
        """Write the event and its delivery; an event with the same id has been told before."""
        event, cause = step.event, step.cause
        if event is None or cause is None:
            return
        scope = frame.scope.id
        subject = f"{scope.group}/{scope.kind}/{shown.namespace}/{shown.name}"
        identity = rendering.event_id(frame, shown, event)
        detected_us = rendering.detected_us(frame, shown)
        written = self._ledger.run(
            "INSERT INTO events (id, subject, uid, api_version, kind, namespace, name, previous, type, cause, source,"
            " detected_us, committed_us, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
            " coalesce((SELECT max(sequence) FROM events WHERE subject = ?2), 0), ?8, ?9, ?10, ?11, ?12, ?13)"
            " ON CONFLICT (id) DO NOTHING",
            (
                identity,
                subject,
                shown.uid,
                frame.api_version,
                scope.kind,
                shown.namespace,
                shown.name,
                event,
                cause,
                source,
                detected_us,
                frame.now.us,
                rendering.data(frame, shown, cause, source, detected_us),
            ),
        )
        if written:
            self._queue(frame, subject, self._ledger.last_rowid)
            self._told[event] += 1
            self._memory.note(
                Told(
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

    def _queue(self, frame: rendering.Frame, subject: str, sequence: int) -> None:
        self._ledger.run(
            "INSERT INTO deliveries (sequence, endpoint, subject, state, next_attempt_us) VALUES (?1, ?2, ?3,"
            " CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?2 AND subject = ?3"
            " AND state IN ('queued', 'ready')) THEN 'queued' ELSE 'ready' END, ?4)",
            (sequence, frame.endpoint, subject, frame.now.us),
        )

    def _fingerprint(self, scope: rules.Scope, namespace: str) -> str:
        key = (scope.id, namespace)
        if key not in self._fingerprints:
            if len(self._fingerprints) >= _REMEMBERED_NAMESPACES:
                self._fingerprints.clear()
            self._fingerprints[key] = rules.fingerprint(scope.rule, namespace)
        return self._fingerprints[key]

    def _known(self, uid: str) -> transitions.Known | None:
        row = self._ledger.row(f"SELECT {_COLUMNS} FROM objects WHERE uid = ?", (uid,))
        return _object(row).known if row else None


_REMEMBERED_NAMESPACES = 4096
_REGARDED = frozenset({model.ObjectState.TRACKED, model.ObjectState.UNMANAGED})
_COLUMNS = "uid, namespace, name, state, epoch, resource_version, judged_by, accepted_by, value, labels, annotations"
_SOURCES = {
    model.Change.ADDED: model.Source.WATCH,
    model.Change.DELETED: model.Source.WATCH,
    model.Change.MODIFIED: model.Source.MUTATION,
    model.Change.LISTED: model.Source.RECONCILIATION,
}


def _object(row: database.Row) -> _Object:
    uid, namespace, name, state, epoch, version, judged_by, accepted_by, value, labels, annotations = row
    known = transitions.Known(
        state=model.ObjectState(state),
        epoch=epoch,
        resource_version=version,
        judged_by=judged_by,
        accepted_by=accepted_by,
        value=value,
        labels=codec.decode(labels),
        annotations=codec.decode(annotations),
    )
    return _Object(uid=uid, namespace=namespace, name=name, known=known)


def _with_value(seen: model.Observation, value: str) -> model.Observation:
    return model.Observation(
        uid=seen.uid,
        namespace=seen.namespace,
        name=seen.name,
        resource_version=seen.resource_version,
        change=seen.change,
        verdict=seen.verdict,
        value=value,
        labels=seen.labels,
        annotations=seen.annotations,
        received_ns=seen.received_ns,
    )


def _text(value: Mapping[str, object]) -> str:
    return codec.encode(value).decode()
