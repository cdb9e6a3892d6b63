"""The verb `prune`: removes rows that are no longer needed, a few at a time, and decides which those are.

Rows that the guarantees need stay: open and failed deliveries, the latest event of an existing object, the last
delivery of an endpoint and object while an earlier one stays, and everything that a watch could show again because its
scope's cursor has not passed it. A request examines a bounded number of rows for a bounded time, so that other requests
do not wait long; a repetition is harmless.
"""

import time
from collections.abc import Callable, Sequence

from beacon import codec, wire
from beacon.domain import model
from beacon.store.ledger import ages, clock, cursors, database, endpoints, packing, session_state, views
from beacon.store.verbs import removed_endpoints

_ROWS_PER_REQUEST = 250  # rows that one request examines
_OBJECTS_PER_REQUEST = 50
_STEP = 25  # events that are removed between two checks of the time
_BUDGET_S = 0.003


class Pruning:
    """Serves the verb `prune`."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        time_: clock.Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        configured: Callable[[], Sequence[endpoints.ConfiguredEndpoint]] = tuple,
    ) -> None:
        """Work on the given ledger; `monotonic` measures the time of a request."""
        self._configured = configured
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)
        self._cursors = cursors.Cursors(ledger, state)
        self._clock = time_
        self._monotonic = monotonic
        self._removed = removed_endpoints.RemovedEndpoints(ledger, state, self._drop_key)

    def prune(self, request: wire.Prune) -> wire.Pruned:
        """Examine the next rows of one table and remove those that are no longer needed, or only count them."""
        self._cursors.write_moved()
        split = self._clock.ages(self._ledger, request.older_than_s)
        tables: dict[wire.Prunable, Callable[[wire.Prune, ages.Ages], wire.Pruned]] = {
            wire.Prunable.OBJECTS: self._objects,
            wire.Prunable.EVENTS: self._events,
            wire.Prunable.ATTEMPTS: self._attempts,
            wire.Prunable.GAPS: self._gaps,
            wire.Prunable.ENDPOINTS: self._removed.prune,
        }
        return tables[request.table](request, split)

    def _note_future(self, split: ages.Ages, latest_us: int) -> None:
        """Record that rows have timestamps in the future, so that they are removed one period from now."""
        if latest_us > split.explained_us:
            self._clock.distrust_jumps(self._ledger)

    def _objects(self, request: wire.Prune, split: ages.Ages) -> wire.Pruned:
        """Remove objects that are gone, with all their events."""
        deadline = self._monotonic() + _BUDGET_S
        after = (max(0, min(request.after[0], model.MAX_INTEGER)), request.after[1])
        latest = self._ledger.row("SELECT max(changed_us) FROM objects WHERE state = 'gone'")
        self._note_future(split, (latest and latest[0]) or 0)
        period = next((one for one in split.old if one[1] >= after[0]), None)
        if period is None:
            return wire.Pruned(rows={}, after=after, more=False, oldest_us=0)
        low_us, high_us = period
        after = max(after, (max(0, low_us), ""))
        position = (after[0], packing.packed(after[1]))
        found = self._ledger.rows(_GONE, (_json(split.young), *position, high_us, _OBJECTS_PER_REQUEST))
        oldest_us = next((changed_us for changed_us, *_, may_go in found if may_go), 0)
        removed: dict[str, int] = {}
        for changed_us, uid, kind, key, may_go in found:
            if may_go and request.survey:
                _count(removed, "objects", 1)
            elif may_go and not self._forget(uid, kind, key, removed, deadline):
                return wire.Pruned(rows=removed, after=after, more=True, oldest_us=oldest_us)
            after = (changed_us, packing.unpacked(uid))
            if self._monotonic() > deadline:
                return wire.Pruned(rows=removed, after=after, more=True, oldest_us=oldest_us)
        if len(found) == _OBJECTS_PER_REQUEST:
            return wire.Pruned(rows=removed, after=after, more=True, oldest_us=oldest_us)
        following = next((one for one in split.old if one[0] > high_us), None)
        after = (following[0], "") if following else after
        return wire.Pruned(rows=removed, after=after, more=following is not None, oldest_us=oldest_us)

    def _forget(self, uid: packing.Packed, kind: str, key: int, removed: dict[str, int], deadline: float) -> bool:
        """Remove the events of an object that is gone and then its row; return False if the time is up before."""
        while True:
            events = self._ledger.rows(
                "SELECT sequence FROM events WHERE key = ? AND uid = ? ORDER BY sequence LIMIT ?", (key, uid, _STEP)
            )
            if not events:
                break
            self._remove([sequence for (sequence,) in events], removed)
            if self._monotonic() > deadline:
                return False
        self._cursors.prune(packing.unpacked(uid))
        _count(removed, "objects", self._ledger.run("DELETE FROM objects WHERE uid = ?", (uid,)))
        self._state.sums.object_moved(kind, model.ObjectState.GONE, None)
        self._drop_key(key)
        return True

    def _drop_key(self, key: int) -> None:
        """Remove the views of a key that no object and no event bears, and the key with the last of them.

        A present view stays: its endpoint must get the `deleted`, unless its types leave that out.
        """
        if self._ledger.row("SELECT 1 FROM objects WHERE key = ? LIMIT 1", (key,)):
            return
        if self._ledger.row("SELECT 1 FROM events WHERE key = ? LIMIT 1", (key,)):
            return
        present = False
        for view in self._views.of_key(key):
            if (view.written_uid is None or view.endpoint in self._without_deleted()) and not view.open:
                self._views.drop(view)
            else:
                present = True
        if not present:
            self._ledger.run("DELETE FROM order_keys WHERE id = ?", (key,))

    def _without_deleted(self) -> frozenset[int]:
        """Return the configured endpoints that get no `deleted`."""
        return frozenset(one.id for one in self._configured() if model.EventType.DELETED not in one.settings.types)

    def _events(self, request: wire.Prune, split: ages.Ages) -> wire.Pruned:
        """Remove settled events, except the latest of each existing object."""
        deadline = self._monotonic() + _BUDGET_S
        position = max(0, min(request.after[0], model.MAX_INTEGER))
        found = self._ledger.rows(_SETTLED, (_json(split.young), position, _ROWS_PER_REQUEST))
        self._note_future(split, max((latest_us for *_, latest_us in found), default=0))
        removed: dict[str, int] = {}
        more = len(found) == _ROWS_PER_REQUEST
        oldest_us = next((committed_us for _, committed_us, may_go, _ in found if may_go), 0)
        for start in range(0, len(found), _STEP):
            step = found[start : start + _STEP]
            # Events are in the order of their commits: after the first recent one, all are recent.
            if not split.is_old(step[0][1]):
                more = False
                break
            going = [sequence for sequence, _, may_go, _ in step if may_go]
            if request.survey:
                _count(removed, "events", len(going))
            elif going:
                keys = self._ledger.rows(_KEYS_OF, (codec.encode(going).decode(),))
                self._remove(going, removed)
                for (key,) in keys:
                    self._drop_key(key)
            position = step[-1][0]
            if self._monotonic() > deadline and start + _STEP < len(found):
                more = True
                break
        return wire.Pruned(rows=removed, after=(position, ""), more=more, oldest_us=oldest_us)

    def _remove(self, sequences: Sequence[int], removed: dict[str, int]) -> None:
        chosen = codec.encode(sequences).decode()
        found = self._ledger.rows(_DELIVERIES_OF, (chosen,))
        for _, endpoint, state, _ in found:
            self._state.sums.delivery_moved(endpoint, state, None)
        # The last request is in the row of its delivery: it is counted like the others.
        recorded = sum(is_recorded for *_, is_recorded in found)
        deliveries = codec.encode([delivery for delivery, *_ in found]).decode()
        for table, column, ids in (
            ("attempts", "delivery", deliveries),
            ("actions", "delivery", deliveries),
            ("suspects", "delivery", deliveries),
            ("deliveries", "id", deliveries),
            ("events", "sequence", chosen),
        ):
            number = self._ledger.run(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (ids,))
            if table != "suspects":
                _count(removed, table, number + (recorded if table == "attempts" else 0))

    def _attempts(self, request: wire.Prune, split: ages.Ages) -> wire.Pruned:
        """Remove records of requests, except the last one of an open delivery: its outcome may still change."""
        number, _, rest = request.after[1].partition(".")
        generation, attempt = (
            int(part) if part.isdecimal() and len(part) < 19 else model.MAX_INTEGER for part in (number, rest)
        )
        position = (max(0, min(request.after[0], model.MAX_INTEGER)), generation, attempt)
        rows = self._ledger.rows(_MADE, (_json(split.young), *position, _ROWS_PER_REQUEST))
        self._note_future(split, max((max(row[3], row[5]) for row in rows), default=0))
        # Deliveries are in the order of their events: no request after the first recent delivery is older.
        found = [row for row in rows if split.is_old(row[5])]
        going = [(delivery, generation, attempt) for delivery, generation, attempt, _, may_go, _ in found if may_go]
        if not request.survey:
            for each in going:
                self._ledger.run("DELETE FROM attempts WHERE delivery = ? AND generation = ? AND attempt = ?", each)
        after = (found[-1][0], f"{found[-1][1]}.{found[-1][2]}") if found else request.after
        return wire.Pruned(
            rows={"attempts": len(going)} if going else {},
            after=after,
            more=len(found) == _ROWS_PER_REQUEST,
            oldest_us=min((started_us for _, _, _, started_us, may_go, _ in found if may_go), default=0),
        )

    def _gaps(self, request: wire.Prune, split: ages.Ages) -> wire.Pruned:
        """Remove records of closed gaps."""
        position = max(0, min(request.after[0], model.MAX_INTEGER))
        rows = self._ledger.rows(
            "SELECT id, to_us FROM gaps WHERE to_us IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
            (position, _ROWS_PER_REQUEST),
        )
        self._note_future(split, max((to_us for _, to_us in rows), default=0))
        found = [row for row in rows if split.is_old(row[1])]
        if not request.survey:
            for gap, _ in found:
                self._ledger.run("DELETE FROM gaps WHERE id = ?", (gap,))
        return wire.Pruned(
            rows={"gaps": len(found)} if found else {},
            after=(rows[-1][0] if rows else position, ""),
            more=len(rows) == _ROWS_PER_REQUEST,
            oldest_us=min((to_us for _, to_us in found), default=0),
        )


def _json(ranges: Sequence[ages.Range]) -> str:
    return codec.encode(ranges).decode()


def _count(removed: dict[str, int], table: str, number: int) -> None:
    if number:
        removed[table] = removed.get(table, 0) + number


# An invalid cursor has passed nothing. A scope that is no longer configured has none: if it returns, it is listed.
_PASSED = (
    "NOT EXISTS (SELECT 1 FROM cursors c WHERE c.api_group = {group} AND c.kind = {kind}"
    " AND c.namespace IN ('', {namespace}) AND (c.resource_version = 0 OR {newer}))"
)
_GONE_PASSED = _PASSED.format(
    group="o.api_group",
    kind="o.kind",
    namespace="o.namespace",
    newer="(o.epoch, o.resource_version) > (c.epoch, c.resource_version)",
)
_EVENT_PASSED = _PASSED.format(
    group="k.api_group",
    kind="k.kind",
    namespace="k.namespace",
    newer="CAST(json_extract(e.data, '$.metadata.resourceVersion') AS INTEGER) > c.resource_version",
)
# The timestamps that are younger than the period, as ranges.
_YOUNG = "WITH young (low, high) AS MATERIALIZED (SELECT value ->> 0, value ->> 1 FROM json_each(?1))"
_IS_YOUNG = "EXISTS (SELECT 1 FROM young y WHERE {} BETWEEN y.low AND y.high)"
_DELIVERIES = "deliveries d ON d.id BETWEEN e.sequence << 12 AND e.sequence << 12 | 4095"
_OF_EVENT = _DELIVERIES.replace(" ON ", " WHERE ")
_KEYS_OF = "SELECT DISTINCT key FROM events WHERE sequence IN (SELECT value FROM json_each(?))"
_DELIVERIES_OF = (
    "SELECT d.id, d.endpoint, d.state, d.started_us IS NOT NULL FROM json_each(?) j"
    " CROSS JOIN deliveries d ON d.id BETWEEN j.value << 12 AND j.value << 12 | 4095"
)
_GONE = (
    f"{_YOUNG} SELECT o.changed_us, o.uid, o.kind, o.key, {_GONE_PASSED}"
    f" AND NOT EXISTS (SELECT 1 FROM events e JOIN {_DELIVERIES} WHERE e.key = o.key"
    f"  AND e.uid = o.uid AND (d.state NOT IN ('delivered', 'discarded') OR {_IS_YOUNG.format('d.settled_us')}))"
    # Events of earlier objects with the name, which stay: the ledger must keep that a later event overtook them.
    f" AND NOT EXISTS (SELECT 1 FROM events e JOIN {_DELIVERIES} WHERE e.key = o.key AND e.uid <> o.uid"
    f"  AND (d.state NOT IN ('delivered', 'discarded') OR {_IS_YOUNG.format('d.settled_us')}) AND e.sequence <"
    "  (SELECT max(m.sequence) FROM events m WHERE m.key = o.key AND m.uid = o.uid))"
    " FROM objects o WHERE o.state = 'gone' AND (o.changed_us, o.uid) > (?, ?) AND o.changed_us <= ?"
    " ORDER BY o.changed_us, o.uid LIMIT ?"
)
# The last delivery of an endpoint and a key goes after the others of them: if their view is lost in a damaged file, it
# shows what was sent and accepted last. It may be older than the latest event of the object.
_LAST_OF_MORE = (
    "SELECT 1 FROM deliveries d CROSS JOIN views v ON v.id = d.key << 12 | d.endpoint"
    " WHERE d.id BETWEEN e.sequence << 12 AND e.sequence << 12 | 4095 AND d.previous > 0 AND v.written = e.sequence"
    " AND EXISTS (SELECT 1 FROM events x CROSS JOIN deliveries p ON p.id = x.sequence << 12 | d.endpoint"
    "  WHERE x.key = e.key AND x.sequence <= d.previous)"
)
# Objects that are gone are removed as a whole, above; events without an object were rescued from a damaged file.
_SETTLED = (
    f"{_YOUNG} SELECT e.sequence, e.committed_us, NOT {_IS_YOUNG.format('e.committed_us')}"
    f" AND NOT EXISTS (SELECT 1 FROM {_OF_EVENT}"
    f"  AND (d.state NOT IN ('delivered', 'discarded') OR {_IS_YOUNG.format('d.settled_us')}))"
    " AND coalesce((SELECT o.state <> 'gone' AND EXISTS (SELECT 1 FROM events l WHERE l.key = e.key"
    "  AND l.uid = e.uid AND l.sequence > e.sequence) FROM objects o WHERE o.uid = e.uid), 1)"
    f" AND NOT EXISTS ({_LAST_OF_MORE}) AND {_EVENT_PASSED},"
    f" max(e.committed_us, coalesce((SELECT max(d.settled_us) FROM {_OF_EVENT}), 0))"
    " FROM events e CROSS JOIN order_keys k ON k.id = e.key WHERE e.sequence > ?2 ORDER BY e.sequence LIMIT ?3"
)
# The last request of a delivery is in its row, and stays as long as that.
_MADE = (
    f"{_YOUNG} SELECT a.delivery, a.generation, a.attempt, a.started_us,"
    f" NOT {_IS_YOUNG.format('a.started_us')} AND EXISTS (SELECT 1 FROM deliveries d"
    " WHERE d.id = a.delivery AND (d.state NOT IN ('ready', 'queued') OR a.attempt < d.requests)), coalesce("
    "(SELECT e.committed_us FROM events e WHERE e.sequence = a.delivery >> 12), 0)"
    " FROM attempts a WHERE (a.delivery, a.generation, a.attempt) > (?2, ?3, ?4)"
    " ORDER BY a.delivery, a.generation, a.attempt LIMIT ?5"
)
