"""Serves `explain`: the ledger's data on one object, a bounded number of rows at a time, through indexes.

It only reads. No query scans a table, however many events the ledger or the object has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from beacon import codec, wire
from beacon.configuration import configured_scopes
from beacon.domain import model, rules
from beacon.store.ledger import database, packing
from beacon.store.verbs import actions, suspects

_EVENTS = 20
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """An object, as the key by which its events are ordered."""

    group: str
    kind: str
    namespace: str
    name: str


class ObjectHistory:
    """Reads objects, events and attempts, and the configured scopes that cover an object."""

    def __init__(self, ledger: database.Database, scopes: tuple[rules.Scope, ...]) -> None:
        """Read from the given ledger, under the given configuration."""
        self._ledger = ledger
        self._scopes = scopes
        self._actions = actions.Actions(ledger)

    def explain(self, request: wire.Explain) -> wire.Explanation:
        """Return one page of an object's history; the next page is older."""
        subjects = self._subjects(request)
        before = request.before if 0 < request.before < model.MAX_INTEGER else model.MAX_INTEGER
        found = sorted((number for one in subjects for number in self._sequences(one, before)), reverse=True)
        shown = found[:_EVENTS]
        rows = self._ledger.rows(_EVENT_ROWS, (codec.encode(shown).decode(),))
        events = tuple(
            self._event(row) for row in sorted(rows, key=lambda row: (int(row[0]), row[1] or 0), reverse=True)
        )
        first = next(iter(subjects), None)
        return wire.Explanation(
            known=first is not None,
            kind=first.kind if first else request.kind,
            namespace=first.namespace if first else request.namespace,
            name=first.name if first else request.name,
            objects=tuple(self._objects(subjects, {event.uid for event in events})),
            events=events,
            covering=tuple(self._covering(subjects)),
            kinds=tuple(sorted({scope.id.kind for scope in self._scopes})),
            before=shown[-1] if shown else 0,
            more=len(found) > _EVENTS,
            endpoints=tuple(self._endpoints(subjects)),
        )

    def _endpoints(self, subjects: list[_Subject]) -> Iterator[wire.ExplainedEndpoint]:
        """Yield what each endpoint was sent about the first of the objects that the ledger knows."""
        names = [(one.group, one.kind, one.namespace, one.name) for one in subjects]
        keys = (row[0] for name in names for row in self._ledger.rows(_KEY, name))
        key, (group, kind, namespace, object_) = next(keys, 0), next(iter(names), ("", "", "", ""))
        for name, paused_us, reason, removed_us, written, uid, accepted, owed, parked_us, cause in self._ledger.rows(
            _ENDPOINT_ROWS, (group, kind, namespace, namespace, object_, key)
        ):
            yield wire.ExplainedEndpoint(
                name=name,
                written=written or 0,
                accepted=accepted or 0,
                present=uid is not None,
                catching_up=bool(owed),
                paused_us=paused_us,
                paused_reason=reason,
                removed_us=removed_us,
                parked_us=parked_us,
                parked_cause=cause,
            )

    def _subjects(self, request: wire.Explain) -> list[_Subject]:
        """Return the objects that the request identifies; a kind may exist in several API groups."""
        if request.target:
            row = self._ledger.row(
                "SELECT k.api_group, k.kind, k.namespace, k.name FROM order_keys k WHERE k.id IN"
                " (SELECT key FROM objects WHERE uid = ?1 UNION ALL SELECT key FROM events WHERE id = ?1) LIMIT 1",
                (packing.packed(request.target),),
            )
            return [_Subject(group=row[0], kind=row[1], namespace=row[2], name=row[3])] if row else []
        wanted = request.kind.lower()
        return [
            _Subject(group=group, kind=kind, namespace=request.namespace, name=request.name)
            for group, kind in sorted({*self._kinds_held(), *((one.id.group, one.id.kind) for one in self._scopes)})
            if kind.lower() == wanted
        ]

    def _kinds_held(self) -> Iterator[tuple[str, str]]:
        """Yield the kinds by index seeks from one to the next: as many steps as there are kinds, not objects."""
        yield from self._ledger.rows("SELECT DISTINCT api_group, kind FROM cursors")
        group, kind = "", ""
        while row := self._ledger.row(_NEXT_KIND, (group, kind)) or self._ledger.row(_NEXT_GROUP, (group,)):
            group, kind = row
            yield group, kind

    def _sequences(self, subject: _Subject, before: int) -> list[int]:
        key = (subject.group, subject.kind, subject.namespace, subject.name)
        return [sequence for (sequence,) in self._ledger.rows(_SEQUENCES, (*key, before, _EVENTS + 1))]

    def _event(self, row: database.Row) -> wire.EmittedEvent:
        (sequence, delivery, id_, uid, group, kind, namespace, name, type_, cause, source, version, detected_us) = row[
            :13
        ]
        endpoint, state, generation, counted, requests, next_attempt_us, settled_us, reason, deaths, first, alone = row[
            13:
        ]
        queued = state == model.DeliveryState.QUEUED
        return wire.EmittedEvent(
            sequence=sequence,
            id=packing.unpacked(id_),
            uid=packing.unpacked(uid),
            group=group,
            kind=kind,
            namespace=namespace,
            name=name,
            type=type_,
            cause=cause,
            source=source,
            resource_version=version or "",
            detected_us=detected_us,
            endpoint=endpoint,
            alone=alone,
            state=model.DeliveryState(state) if state else None,
            generation=generation,
            counted=counted,
            requests=requests,
            next_attempt_us=next_attempt_us if state == model.DeliveryState.READY else 0,
            settled_us=settled_us,
            reason=reason,
            behind=self._first(first) if queued else "",
            attempts=self._attempts(delivery) if delivery else (),
            deaths=deaths,
            actions=self._actions.of(delivery) if delivery else (),
        )

    def _first(self, delivery: int) -> str:
        row = self._ledger.row("SELECT id FROM events WHERE sequence = ? >> 12", (delivery,))
        return packing.unpacked(row[0]) if row else ""

    def _attempts(self, delivery: int) -> tuple[wire.RecordedAttempt, ...]:
        """Return the latest attempts, in ascending order."""
        rows = self._ledger.rows(_TRIED, (delivery, _ATTEMPTS))
        return tuple(
            wire.RecordedAttempt(
                generation=row[0],
                number=row[1],
                started_us=row[2],
                duration_us=row[3],
                code=row[4],
                status=row[5],
                error=row[6],
                counted=bool(row[7]),
            )
            for row in reversed(rows)
        )

    def _objects(self, subjects: list[_Subject], uids: set[str]) -> Iterator[wire.ExplainedObject]:
        """Yield the existing objects with that name, and the objects of the events."""
        rows = {
            packing.unpacked(row[0]): row
            for one in subjects
            for row in self._ledger.rows(_PRESENT, (one.group, one.kind, one.namespace, one.name, _EVENTS))
        }
        found = self._ledger.rows(_BY_UID, (codec.encode(sorted(uids)).decode(),))
        rows |= {packing.unpacked(row[0]): row for row in found}
        for uid, row in sorted(rows.items(), key=lambda item: int(item[1][9])):
            yield wire.ExplainedObject(
                uid=uid,
                group=row[1],
                kind=row[2],
                namespace=row[3],
                name=row[4],
                state=model.ObjectState(row[5]),
                resource_version=row[6],
                value=row[7],
                current=row[8] in self._fingerprints(row[1], row[2], row[3]),
                changed_us=row[9],
            )

    def _fingerprints(self, group: str, kind: str, namespace: str) -> set[str]:
        """Return the rules by which the configuration evaluates objects of one kind in one namespace."""
        return {
            rules.fingerprint(scope.rule, namespace)
            for scope in self._scopes
            if (scope.id.group, scope.id.kind) == (group, kind) and scope.id.namespace in ("", namespace)
        }

    def _covering(self, subjects: list[_Subject]) -> Iterator[wire.CoveringScope]:
        for one in subjects:
            for scope in self._scopes:
                same = (scope.id.group, scope.id.kind) == (one.group, one.kind)
                if same and scope.id.namespace in ("", one.namespace):
                    yield self._cover(scope, one.namespace)

    def _cover(self, scope: rules.Scope, namespace: str) -> wire.CoveringScope:
        cursor = self._ledger.row(
            "SELECT label, resource_version FROM cursors WHERE api_group = ? AND kind = ? AND namespace = ?",
            (scope.id.group, scope.id.kind, scope.id.namespace),
        )
        asked = scope.rule.named.get(namespace, scope.rule.default)
        return wire.CoveringScope(
            label=(cursor[0] if cursor else "") or configured_scopes.spelled("", scope.id),
            group=scope.id.group,
            listed=bool(cursor and cursor[1]),
            excluded=asked is None or namespace in asked.excluded,
            selects=asked is not None and bool(asked.selector.requirements),
            annotation=scope.rule.annotation,
            values=tuple(sorted(scope.rule.values or ())),
        )


# Comparing the pair (group, kind) would make SQLite scan all objects of the group.
_NEXT_KIND = (
    "SELECT api_group, kind FROM objects WHERE state <> 'gone' AND api_group = ? AND kind > ? ORDER BY kind LIMIT 1"
)
_NEXT_GROUP = (
    "SELECT api_group, kind FROM objects WHERE state <> 'gone' AND api_group > ? ORDER BY api_group, kind LIMIT 1"
)
# An event has a delivery for each endpoint: a page has whole events.
_SEQUENCES = (
    "SELECT e.sequence FROM order_keys k CROSS JOIN events e ON e.key = k.id WHERE k.api_group = ? AND k.kind = ?"
    " AND k.namespace = ? AND k.name = ? AND e.sequence < ? ORDER BY e.sequence DESC LIMIT ?"
)
_EVENT_ROWS = (
    "SELECT e.sequence, d.id, e.id, e.uid, k.api_group, k.kind, k.namespace, k.name, e.type, e.cause, e.source,"
    " json_extract(e.data, '$.metadata.resourceVersion'), e.detected_us, coalesce(p.name, ''), d.state,"
    " coalesce(d.generation, 0), coalesce(d.attempts, 0), coalesce(d.requests, 0),"
    " max(coalesce(d.next_attempt_us, 0), coalesce(s.not_before_us, 0)), coalesce(d.settled_us, 0),"
    " coalesce(d.reason, ''), coalesce(s.deaths, 0), coalesce(v.ready, 0), coalesce(a.name, '')"
    " FROM json_each(?) j CROSS JOIN events e ON e.sequence = j.value"
    " CROSS JOIN order_keys k ON k.id = e.key LEFT JOIN endpoints a ON a.id = e.endpoint"
    " LEFT JOIN deliveries d ON d.id BETWEEN e.sequence << 12 AND e.sequence << 12 | 4095"
    " LEFT JOIN endpoints p ON p.id = d.endpoint LEFT JOIN views v ON v.id = d.key << 12 | d.endpoint"
    " LEFT JOIN suspects s ON s.delivery = d.id"
    f" AND s.generation = d.generation AND s.deaths >= {suspects.SUSPECTED_AFTER} AND d.state = 'ready'"
)
_KEY = "SELECT id FROM order_keys WHERE api_group = ? AND kind = ? AND namespace = ? AND name = ?"
_ENDPOINT_ROWS = (
    "SELECT p.name, p.paused_us, p.paused_reason, p.removed_us, v.written, v.written_uid, v.accepted,"
    " EXISTS (SELECT 1 FROM catch_ups c WHERE c.endpoint = p.id AND c.api_group = ? AND c.kind = ?"
    " AND c.namespace IN ('', ?) AND (c.after_namespace, c.after_name) < (?, ?)),"
    " p.parked_us, p.parked_cause"
    " FROM endpoints p LEFT JOIN views v ON v.id = ? << 12 | p.id ORDER BY p.name"
)
_TRIED = (
    "SELECT generation, attempt, started_us, duration_us, code, status, error, counted FROM readable_attempts"
    " WHERE delivery = ? ORDER BY generation DESC, attempt DESC LIMIT ?"
)
_OBJECT = (
    "o.uid, o.api_group, o.kind, o.namespace, k.name, o.state, o.resource_version, o.value, o.judged_by, o.changed_us"
)
_PRESENT = (
    f"SELECT {_OBJECT} FROM order_keys k CROSS JOIN objects o ON o.key = k.id"
    " WHERE k.api_group = ? AND k.kind = ? AND k.namespace = ? AND k.name = ? AND o.state <> 'gone' LIMIT ?"
)
_BY_UID = (
    f"SELECT {_OBJECT} FROM json_each(?) j CROSS JOIN objects o ON o.uid = packed(j.value)"
    " CROSS JOIN order_keys k ON k.id = o.key"
)
