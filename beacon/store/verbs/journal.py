"""Objects and their events: applies observations to the ledger and writes events and their deliveries.

`domain.decision` decides; this module only writes. It works within the caller's transaction.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from beacon import codec
from beacon.domain import decision, model, rules, transitions
from beacon.store.ledger import database, event_notes, event_rows, packing, rendering, session_state, views
from beacon.store.verbs import catch_up


class Journal:
    """Writes observations and the events that follow from them."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger; written events are noted in the session state as `event_notes.EventRecorded`."""
        self._ledger = ledger
        self._state = state
        self._keys = views.OrderKeys(ledger)
        self._views = views.Views(ledger, state)
        self._rows = event_rows.EventRows(ledger, state)
        self._catch_ups = catch_up.CatchUps(ledger, state)
        self._written: Counter[model.EventType] = Counter()
        self._watched_changes = 0
        self._fingerprints: dict[tuple[model.ScopeId, str], str] = {}

    def apply(self, context: rendering.RequestContext, seen: model.Observation) -> None:
        """Apply one observation: write the object's row and the events that follow."""
        rows = self._known(packing.packed(seen.uid))
        own = views.order_of(rows[0][11], rows[0][12], [row[13:] for row in rows]) if rows else None
        known = _object(rows[0]).known if rows else None
        now = transitions.Circumstances(
            fingerprint=self._fingerprint(context.scope, seen.namespace),
            epoch=context.epoch,
            updates=context.updates,
            reason=context.reason,
        )
        scope = context.scope.id
        order, holders = own, list[decision.ObjectRow]()
        if decision.takes_name(seen, known) or own is None:
            named = self._keys.find(scope.group, scope.kind, seen.namespace, seen.name)
            order = own if own and named and own.key == named.key else named
            holders = self._holders(seen, order) if order and decision.takes_name(seen, known) else []
        for write in decision.decide(seen, known, holders, now):
            if order is None:
                order = self._keys.create(scope.group, scope.kind, seen.namespace, seen.name)
            self._write(context, write, own if own and write.shown.uid == seen.uid else order)

    def _known(self, uid: packing.Packed) -> list[database.Row]:
        """Return the row of an object, once for each view of its order key."""
        if self._ledger.is_touched(uid):
            self._ledger.write_later()
        rows = self._ledger.rows_beside(_KNOWN, (uid,))
        if rows and self._ledger.is_touched(rows[0][11]):
            return self._ledger.rows(_KNOWN, (uid,))
        return rows

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
            f"SELECT {_COLUMNS} FROM {_OBJECTS} WHERE o.api_group = ? AND o.kind = ? AND (? = '' OR o.namespace = ?)"
            " AND o.state <> 'gone' AND (o.epoch < ? OR o.resource_version <= ?)"
            " ORDER BY o.namespace, k.name, o.resource_version",
            (scope.group, scope.kind, scope.namespace, scope.namespace, context.epoch, list_version),
        )
        for row in candidates:
            if packing.unpacked(row[0]) not in listed:
                one, source = _object(row), model.Source.RECONCILIATION
                write = decision.ended(one, list_version=list_version, epoch=context.epoch, source=source)
                self._write(context, write, views.Order(key=row[11], bucket=row[12]))

    def known_among(self, uids: tuple[str, ...]) -> frozenset[str]:
        """Return those of the UIDs that have a row which is not gone."""
        rows = self._ledger.rows(
            "SELECT j.value FROM json_each(?) j CROSS JOIN objects o ON o.uid = packed(j.value)"
            " WHERE o.state <> 'gone'",
            (codec.encode(uids).decode(),),
        )
        return frozenset(uid for (uid,) in rows)

    def contradicting(self, epoch: int, list_version: int, listed: Mapping[str, int]) -> str | None:
        """Return a listed object (UID -> resourceVersion) that contradicts the ledger, None if there is none."""
        known = self._ledger.rows(
            "SELECT j.value, o.state, o.resource_version FROM json_each(?) j"
            " CROSS JOIN objects o ON o.uid = packed(j.value) WHERE o.epoch = ?",
            (codec.encode(list(listed)).decode(), epoch),
        )
        for uid, state, version in known:
            if transitions.is_impossible(
                model.ObjectState(state), version, listed=listed[uid], list_version=list_version
            ):
                return str(uid)
        return None

    def _holders(self, seen: model.Observation, order: views.Order) -> list[decision.ObjectRow]:
        """Return the other rows with the object's name that are not gone."""
        rows = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM {_OBJECTS} WHERE o.key = ? AND o.state <> 'gone' AND o.uid <> ?",
            (order.key, packing.packed(seen.uid)),
        )
        return [_object(row) for row in rows]

    def _write(self, context: rendering.RequestContext, write: decision.RowWrite, order: views.Order) -> None:
        """Write an object's row, and its event, if there is one."""
        shown, after, scope = write.shown, write.after, context.scope.id
        self._watched_changes += (write.before in _WATCHED_STATES) != (after.state in _WATCHED_STATES)
        self._state.sums.object_moved(scope.kind, write.before, after.state)
        content = (
            after.epoch,
            after.resource_version,
            after.judged_by,
            after.accepted_by,
            after.value,
            _text(after.labels),
            _text(after.annotations),
            context.now.us,
        )
        uid = packing.packed(shown.uid)
        if write.event is not None:
            self._catch_ups.before(context, order, (shown.namespace, shown.name))
        if write.before is None:
            identity = (uid, order.key, scope.group, scope.kind, shown.namespace, after.state)
            self._ledger.later(_INSERT_OBJECT, (*identity, *content), uid)
        elif write.before is after.state:  # without setting `state`: its indexes are not touched
            self._ledger.later(_UPDATE_OBJECT, (*content, uid), uid)
        else:
            self._ledger.later(_MOVE_OBJECT, (*content, after.state, uid), uid)
        self._ledger.touch(order.key)
        if write.event is not None and write.cause is not None:
            self._emit(context, write, write.event, write.cause, order)
        elif write.before is model.ObjectState.UNMANAGED and after.state is model.ObjectState.TRACKED:
            self._catch_ups.at_once(context, order, (shown.namespace, shown.name))

    def _emit(
        self,
        context: rendering.RequestContext,
        write: decision.RowWrite,
        event: model.EventType,
        cause: model.Cause,
        order: views.Order,
    ) -> None:
        """Write the event and its deliveries, unless an event with the same id exists."""
        shown, source = write.shown, write.source
        identity = rendering.event_id(context, shown, event)
        chosen = self._choose(context, order, shown, event, identity)
        if self._state.is_careful and self._is_known(identity):
            return
        detected_us = rendering.detected_us(context, shown)
        uid, now_us = packing.packed(shown.uid), context.now.us
        data = rendering.data(context, shown, cause, source, detected_us)
        sequence = self._rows.next_sequence()
        content = (identity, uid, context.api_version, event, cause, source, detected_us, now_us, data)
        self._rows.add(sequence, order.key, content)
        after = (None, None) if event is model.EventType.DELETED else (uid, packing.as_sent(shown.value))
        for view in self._views.of_order(order, chosen):
            if view.open:
                self._catch_ups.make_live(view)
            self._rows.queue(view, sequence, after, now_us)
        self._written[event] += 1
        self._state.note(
            event_notes.EventRecorded(
                sequence=sequence,
                kind=context.scope.id.kind,
                type=event,
                source=source,
                cause=cause,
                namespace=shown.namespace,
                name=shown.name,
                id=identity,
                received_ns=shown.received_ns,
            )
        )

    def _choose(
        self,
        context: rendering.RequestContext,
        order: views.Order,
        shown: model.Observation,
        event: model.EventType,
        identity: packing.Packed,
    ) -> list[int]:
        """Return the endpoints that get an event; if one has another object of that name, that one is ended before.

        A `deleted` is not for an endpoint that has another object; it is compared, since it may have an older one.
        """
        scope, uid = context.scope.id, packing.packed(shown.uid)
        selecting = [
            one
            for one in context.endpoints
            if one.settings.selects(scope.group, scope.kind, shown.namespace, shown.name)
        ]
        found = self._views.of_order(order, [one.id for one in selecting])
        others = [one for one, view in zip(selecting, found, strict=True) if view.written_uid not in (None, uid)]
        place = (shown.namespace, shown.name)
        if others and event is model.EventType.DELETED:
            self._catch_ups.at_once(replace(context, endpoints=tuple(others)), order, place)
            selecting = [one for one in selecting if one not in others]
        elif others and not self._is_known(identity):
            for one in others:
                self._catch_ups.replace(context, order, place, one)
        return [one.id for one in selecting if event in one.settings.types]

    def _is_known(self, identity: packing.Packed) -> bool:
        return self._ledger.row("SELECT 1 FROM events WHERE id = ?", (identity,)) is not None

    def _fingerprint(self, scope: rules.Scope, namespace: str) -> str:
        key = (scope.id, namespace)
        if key not in self._fingerprints:
            if len(self._fingerprints) >= _REMEMBERED_NAMESPACES:
                self._fingerprints.clear()
            self._fingerprints[key] = rules.fingerprint(scope.rule, namespace)
        return self._fingerprints[key]


_REMEMBERED_NAMESPACES = 4096
_OBJECT_STATES = {str(state): state for state in model.ObjectState}  # a look-up is faster than the call of the enum
_WATCHED_STATES = frozenset({model.ObjectState.TRACKED, model.ObjectState.UNMANAGED})
_COLUMNS = (
    "o.uid, o.namespace, k.name, o.state, o.epoch, o.resource_version, o.judged_by, o.accepted_by, o.value, o.labels,"
    " o.annotations, o.key, k.bucket"
)
_OBJECTS = "objects o CROSS JOIN order_keys k ON k.id = o.key"
_KNOWN = (
    f"SELECT {_COLUMNS}, {views.COLUMNS} FROM {_OBJECTS} LEFT JOIN views v ON {views.OF_KEY.format(key='o.key')}"
    " WHERE o.uid = ?"
)
_CONTENT = "epoch, resource_version, judged_by, accepted_by, value, labels, annotations, changed_us"
_INSERT_OBJECT = (
    f"INSERT INTO objects (uid, key, api_group, kind, namespace, state, {_CONTENT})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SET_CONTENT = ", ".join(f"{column} = ?" for column in _CONTENT.split(", "))
_UPDATE_OBJECT = f"UPDATE objects SET {_SET_CONTENT} WHERE uid = ?"
_MOVE_OBJECT = f"UPDATE objects SET {_SET_CONTENT}, state = ? WHERE uid = ?"


def _object(row: database.Row) -> decision.ObjectRow:
    uid, namespace, name, state, epoch, version, judged_by, accepted_by, value, labels, annotations = row[:11]
    known = transitions.KnownObject(
        state=_OBJECT_STATES[state],
        epoch=epoch,
        resource_version=version,
        judged_by=judged_by,
        accepted_by=accepted_by,
        value=value,
        labels=codec.decode(labels),
        annotations=codec.decode(annotations),
    )
    return decision.ObjectRow(uid=packing.unpacked(uid), namespace=namespace, name=name, known=known)


def _text(value: Mapping[str, object]) -> str:
    return codec.encode(value).decode()
