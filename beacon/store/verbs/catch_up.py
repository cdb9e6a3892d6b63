"""Catch-up: what an endpoint must be sent because what it gets has changed, found by comparing, not by remembering.

The tracked objects that an endpoint selects are compared with the written states of its views; what differs is written
as events for that endpoint alone. Only the scopes that must still be compared are recorded, each with its position, so
that a process that was terminated goes on. An object that is not compared yet is compared before its next event, in the
same transaction. Works within the caller's transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from beacon import codec
from beacon.domain import model, records
from beacon.store.ledger import (
    cursors,
    database,
    endpoints,
    event_notes,
    event_rows,
    packing,
    rendering,
    session_state,
    views,
)

_KEYS_IN_PAGE = 100
MOST_WAITING = 500  # background deliveries of an endpoint that wait to be sent; then its catch-up waits, too
_BESIDE_LIVE = 10  # the most of both while live events arrive, which would wait behind them in the notifier

Place = tuple[int, model.ScopeId]  # endpoint, scope
Position = tuple[str, str]  # namespace, name
_OWED: session_state.StateKey[Mapping[Place, Position]] = session_state.StateKey("catch-ups")


@records.record
class _KnownRow:
    """A row of `objects`, as an event shows it."""

    uid: packing.Packed
    state: str
    version: int
    value: str
    labels: str
    annotations: str


@records.record
class _Subject:
    """An order key and one endpoint; `background` events yield to live ones.

    `rows` are at least those of the key's tracked and unmanaged objects.
    """

    context: rendering.RequestContext
    order: views.Order
    place: Position
    endpoint: endpoints.ConfiguredEndpoint
    rows: Sequence[_KnownRow]
    background: bool = False


class CatchUps:
    """The table `catch_ups`, and the events that comparisons write."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger."""
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)
        self._events = event_rows.EventRows(ledger, state)
        self._cursors = cursors.Cursors(ledger, state)

    def load(self, scopes: Sequence[model.ScopeId], configured: Iterable[int]) -> None:
        """Read the table, once at startup, after `owe`; drop what is no longer configured."""
        known, numbers = set(scopes), set(configured)
        owed: dict[Place, Position] = {}
        for endpoint, group, kind, namespace, *after in self._ledger.rows(
            "SELECT endpoint, api_group, kind, namespace, after_namespace, after_name FROM catch_ups"
        ):
            place = (endpoint, model.ScopeId(group=group, kind=kind, namespace=namespace))
            if endpoint in numbers and place[1] in known:
                owed[place] = (after[0], after[1])
            else:
                self._ledger.run(_DELETE, _key_of(place))
        self._state.put(_OWED, owed)
        for (endpoint,) in self._ledger.rows(
            "SELECT id FROM endpoints p WHERE EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint = p.id"
            " AND d.state = 'ready' AND d.requests = 0 AND d.background = 1)"
        ):
            self._state.put(_background_key(endpoint), value=True)

    def owe(self, numbers: Iterable[int], scopes: Iterable[model.ScopeId]) -> None:
        """Record that endpoints must be compared with all objects of scopes; without any order key there are none."""
        for scope in scopes:
            if not self._ledger.row(
                "SELECT 1 FROM order_keys WHERE api_group = ? AND kind = ? LIMIT 1", (scope.group, scope.kind)
            ):
                continue
            for endpoint in numbers:
                self._ledger.run(
                    "INSERT OR REPLACE INTO catch_ups (endpoint, api_group, kind, namespace) VALUES (?, ?, ?, ?)",
                    _key_of((endpoint, scope)),
                )

    def withhold(self, endpoint: endpoints.ConfiguredEndpoint) -> None:
        """Write a view for every tracked object that a new endpoint selects: it gets only later changes.

        The written state is present, as if it had been sent; the accepted one is absent.
        """
        rows = self._ledger.rows(
            "SELECT o.key, o.uid, o.value, o.api_group, o.kind, o.namespace, k.name FROM objects o"
            " CROSS JOIN order_keys k ON k.id = o.key WHERE o.state = 'tracked'"
        )
        self._ledger.run_many(
            "INSERT OR IGNORE INTO views (id, written, written_uid, written_value) VALUES (?, 0, ?, ?)",
            [
                (packing.combined(key, endpoint.id), uid, packing.as_sent(value))
                for key, uid, value, *subject in rows
                if endpoint.settings.selects(*subject)
            ],
        )

    def is_owed(self, endpoint: int) -> bool:
        """Return True if an endpoint must still be compared."""
        return any(place[0] == endpoint for place in self._owed)

    @property
    def owes(self) -> bool:
        """Return True if any endpoint must still be compared."""
        return bool(self._owed)

    @property
    def _owed(self) -> Mapping[Place, Position]:
        return self._state.get(_OWED) or {}

    def has_background(self, endpoint: int) -> bool:
        """Return True if fresh background deliveries of an endpoint may exist."""
        return self._state.get(_background_key(endpoint)) is True

    def no_background(self, endpoint: int) -> None:
        """Record that an endpoint has no fresh background delivery."""
        self._state.put(_background_key(endpoint), value=False)

    def make_live(self, view: views.View) -> None:
        """Move the first open delivery of an object to the live ones: another event waits behind it."""
        if self.has_background(view.endpoint):
            self._ledger.run("UPDATE deliveries SET background = 0 WHERE id = ? AND background = 1", (view.ready,))

    def before(self, context: rendering.RequestContext, order: views.Order, place: Position) -> None:
        """Compare an object before its next event is written, for every endpoint that is not compared with it yet.

        Without a position of the scope, an object without a row may exist all the same, so that it must wait.
        """
        owed, scope = self._owed, context.scope.id
        if not owed:
            return
        late = [one for one in context.endpoints if place > owed.get((one.id, scope), _LAST)]
        rows = self._rows_of(order.key) if late else []
        if rows or (late and self._cursors.get(scope).version):
            for one in late:
                self._compare(_Subject(context=context, order=order, place=place, endpoint=one, rows=rows))

    def at_once(self, context: rendering.RequestContext, order: views.Order, place: Position) -> None:
        """Compare an object that is tracked again without an event, for every endpoint."""
        rows = self._rows_of(order.key)
        for one in context.endpoints:
            subject = _Subject(context=context, order=order, place=place, endpoint=one, rows=rows, background=True)
            self._compare(subject)

    def replace(
        self,
        context: rendering.RequestContext,
        order: views.Order,
        place: Position,
        endpoint: endpoints.ConfiguredEndpoint,
    ) -> None:
        """Write the `deleted` of the object that an endpoint has, before an event of another one of that name."""
        (view,) = self._views.of_order(order, (endpoint.id,))
        self._end(_Subject(context=context, order=order, place=place, endpoint=endpoint, rows=()), view)

    def next_place(self, *, beside_live: bool = False) -> Place | None:
        """Return what can be compared now: its scope has a position, and its endpoint has not too much to send."""
        full: dict[int, bool] = {}
        most = _at_most(MOST_WAITING, beside_live=beside_live)
        for endpoint, scope in self._owed:
            if not self._cursors.get(scope).version:
                continue
            if endpoint not in full:
                full[endpoint] = self._waiting(endpoint, most) >= most
            if not full[endpoint]:
                return endpoint, scope
        return None

    def page(
        self, context: rendering.RequestContext, endpoint: endpoints.ConfiguredEndpoint, *, beside_live: bool = False
    ) -> None:
        """Compare the next objects of a scope for one endpoint; other endpoints and scopes precede the next page."""
        scope, most = context.scope.id, _at_most(_KEYS_IN_PAGE, beside_live=beside_live)
        place = (endpoint.id, scope)
        found = self._ledger.rows(
            _PAGE, (scope.group, scope.kind, *self._owed[place], scope.namespace, scope.namespace, most, endpoint.id)
        )
        keys = 0
        for (key, bucket, *name), group in groupby(found, lambda row: row[:4]):
            keys += 1
            rows = list(group)
            subject = _Subject(
                context=context,
                order=views.order_of(key, bucket, [row[_VIEW_IN_PAGE:] for row in rows[:1]]),
                place=(name[0], name[1]),
                endpoint=endpoint,
                rows=[_known_row(row[4:]) for row in rows if row[4] is not None],
                background=True,
            )
            self._compare(subject)
        owed = {other: position for other, position in self._owed.items() if other != place}
        if keys == most:
            owed[place] = (found[-1][2], found[-1][3])
            self._ledger.run(_MOVE, (*owed[place], *_key_of(place)))
        else:
            self._ledger.run(_DELETE, _key_of(place))
        self._state.put(_OWED, owed)

    def _waiting(self, endpoint: int, most: int) -> int:
        if not self.has_background(endpoint):
            return 0
        row = self._ledger.row(
            "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE endpoint = ? AND state = 'ready' AND requests = 0"
            " AND background = 1 LIMIT ?)",
            (endpoint, most),
        )
        return row[0] if row else 0

    def _rows_of(self, key: int) -> list[_KnownRow]:
        return [_known_row(row) for row in self._ledger.rows(f"{_ROWS} WHERE o.key = ?", (key,))]

    def _compare(self, subject: _Subject) -> None:
        """Write what differs between the tracked object of a key and what was written for an endpoint."""
        scope, endpoint = subject.context.scope.id, subject.endpoint
        if not endpoint.settings.selects(scope.group, scope.kind, *subject.place):
            return
        if any(row.state == model.ObjectState.UNMANAGED for row in subject.rows):
            return
        (view,) = self._views.of_order(subject.order, (endpoint.id,))
        tracked = next((row for row in subject.rows if row.state == model.ObjectState.TRACKED), None)
        if view.written_uid is not None and (tracked is None or view.written_uid != tracked.uid):
            self._end(subject, view)
        if tracked is None:
            return
        if view.written_uid != tracked.uid:
            self._write(subject, view, model.EventType.CREATED, tracked)
        elif view.written_value != packing.as_sent(tracked.value) and subject.context.updates:
            self._write(subject, view, model.EventType.UPDATED, tracked)

    def _end(self, subject: _Subject, view: views.View) -> None:
        """Write the `deleted` of the object in a view; its row may have been pruned."""
        found = self._ledger.row(f"{_ROWS} WHERE o.uid = ?", (view.written_uid,))
        unknown = (view.written_uid, model.ObjectState.GONE, 0, view.written_value or "", "{}", "{}")
        self._write(subject, view, model.EventType.DELETED, _known_row(found or unknown))

    def _write(self, subject: _Subject, view: views.View, event: model.EventType, row: _KnownRow) -> None:
        """Write an event and its delivery for one endpoint alone, if its types allow it."""
        context, cause, source = subject.context, _CAUSE, model.Source.RECONCILIATION
        if event not in subject.endpoint.settings.types:
            return
        sequence = self._events.next_sequence()
        identity = rendering.catch_up_id(context.ledger, sequence)
        now_us, version = context.now.us, context.scope.api_version
        shown = _shown(row, subject.place)
        data = rendering.data(context, shown, cause, source, now_us)
        content = (identity, row.uid, version, event, cause, source, now_us, now_us, data)
        self._events.add(sequence, view.key, content, endpoint=view.endpoint)
        if view.open and not subject.background:
            self.make_live(view)
        after = (None, None) if event is model.EventType.DELETED else (row.uid, packing.as_sent(row.value))
        target = self._events.queue(view, sequence, after, now_us, background=subject.background)
        background = subject.background and target is model.DeliveryState.READY
        if background:
            self._state.put(_background_key(view.endpoint), value=True)
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
                received_ns=0,
            )
        )


_CAUSE = model.Cause.CONFIGURATION
_LAST = ("\U0010ffff", "")  # sorts behind every object
_PLACE = "endpoint = ? AND api_group = ? AND kind = ? AND namespace = ?"
_DELETE = f"DELETE FROM catch_ups WHERE {_PLACE}"
_MOVE = f"UPDATE catch_ups SET after_namespace = ?, after_name = ? WHERE {_PLACE}"
_ROW = "o.uid, o.state, o.resource_version, o.value, o.labels, o.annotations"
_ROWS = f"SELECT {_ROW} FROM objects o"
_PAGE = (
    f"SELECT k.id, k.bucket, k.namespace, k.name, {_ROW}, {views.COLUMNS} FROM"
    " (SELECT id, bucket, namespace, name FROM order_keys WHERE api_group = ? AND kind = ?"
    "  AND (namespace, name) > (?, ?) AND (? = '' OR namespace = ?) ORDER BY namespace, name LIMIT ?) k"
    " LEFT JOIN views v ON v.id = k.id << 12 | ?"
    " LEFT JOIN objects o ON o.key = k.id AND o.state IN ('tracked', 'unmanaged')"
    " ORDER BY k.namespace, k.name"
)
_VIEW_IN_PAGE = 10  # the first column of the view


def _at_most(usual: int, *, beside_live: bool) -> int:
    return min(usual, _BESIDE_LIVE) if beside_live else usual


def _known_row(row: database.Row) -> _KnownRow:
    """Return the row of an object from the columns of `_ROW`."""
    uid, state, version, value, labels, annotations, *_ = row
    return _KnownRow(uid=uid, state=state, version=version, value=value, labels=labels, annotations=annotations)


def _shown(row: _KnownRow, place: Position) -> rendering.LedgerObject:
    return rendering.LedgerObject(
        uid=packing.unpacked(row.uid),
        namespace=place[0],
        name=place[1],
        resource_version=row.version,
        value=row.value,
        labels=codec.raw(row.labels),
        annotations=codec.raw(row.annotations),
    )


def _key_of(place: Place) -> tuple[int, str, str, str]:
    endpoint, scope = place
    return endpoint, scope.group, scope.kind, scope.namespace


def _background_key(endpoint: int) -> session_state.StateKey[bool]:
    return session_state.StateKey("background", endpoint)
