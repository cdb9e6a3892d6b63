"""Removes endpoints that were removed from the configuration long ago, a few rows at a time.

An endpoint with an open or failed delivery stays. The first step takes its name away, so that a configuration that
names it again gets a new receiver and not one of which half is gone.
"""

from collections.abc import Callable

from beacon import codec, wire
from beacon.domain import model
from beacon.store.ledger import ages, database, packing, session_state, views

_ROWS_PER_REQUEST = 500
_UNNAMED = "(removed {})"  # no valid name in a configuration


class RemovedEndpoints:
    """Serves the verb `prune` for the table `endpoints`."""

    def __init__(
        self, ledger: database.Database, state: session_state.SessionState, drop_key: Callable[[int], None]
    ) -> None:
        """Work on the given ledger; `drop_key` removes an order key that nothing needs."""
        self._ledger = ledger
        self._state = state
        self._drop_key = drop_key
        self._views = views.Views(ledger, state)

    def prune(self, request: wire.Prune, split: ages.Ages) -> wire.Pruned:
        """Remove the next rows of the first endpoint that is due; `after` is the position in its rows."""
        due = [row for row in self._ledger.rows(_REMOVED) if split.is_old(row[1])]
        oldest_us = min((row[1] for row in due), default=0)
        if request.survey or not due:
            found = {"endpoints": len(due)} if due else {}
            return wire.Pruned(rows=found, after=(0, ""), more=False, oldest_us=oldest_us)
        number = due[0][0]
        position, table = max(0, min(request.after[0], model.MAX_INTEGER)), request.after[1]
        steps = (f"deliveries of {number}", f"views of {number}")
        if table not in steps:
            position, table = 0, steps[0]
            name = _UNNAMED.format(number)
            self._ledger.run("UPDATE endpoints SET name = ? WHERE id = ?", (name, number))
        in_deliveries = table == steps[0]
        rows = self._ledger.rows(
            f"SELECT id FROM {'deliveries' if in_deliveries else 'views'} WHERE id > ? ORDER BY id LIMIT ?",
            (position, _ROWS_PER_REQUEST),
        )
        ids = [one for (one,) in rows if one & packing.LAST_ENDPOINT == number]
        removed = self._remove_deliveries(ids) if in_deliveries else self._remove_views(ids)
        if len(rows) == _ROWS_PER_REQUEST:
            return wire.Pruned(rows=removed, after=(rows[-1][0], table), more=True, oldest_us=oldest_us)
        if in_deliveries:
            return wire.Pruned(rows=removed, after=(0, steps[1]), more=True, oldest_us=oldest_us)
        for sql in _REST:
            self._ledger.run(sql, (number,))
        self._state.sums.drop_endpoint(number)
        self._ledger.run("DELETE FROM counts WHERE what = 'deliveries' AND name = ?", (str(number),))
        return wire.Pruned(rows={"endpoints": 1}, after=(0, ""), more=len(due) > 1, oldest_us=oldest_us)

    def _remove_deliveries(self, ids: list[int]) -> dict[str, int]:
        chosen = codec.encode(ids).decode()
        for endpoint, state, number in self._ledger.rows(
            "SELECT endpoint, state, count(*) FROM deliveries WHERE id IN (SELECT value FROM json_each(?))"
            " GROUP BY endpoint, state",
            (chosen,),
        ):
            self._state.sums.delivery_moved(endpoint, state, None, number)
        for table in ("attempts", "actions", "suspects"):
            self._ledger.run(f"DELETE FROM {table} WHERE delivery IN (SELECT value FROM json_each(?))", (chosen,))
        number = self._ledger.run("DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?))", (chosen,))
        return {"deliveries": number} if number else {}

    def _remove_views(self, ids: list[int]) -> dict[str, int]:
        rows = self._ledger.rows(_VIEWS, (codec.encode(ids).decode(),))
        for bucket, *row in rows:
            view = views.view_of(tuple(row), bucket)
            self._views.drop(view)
            self._drop_key(view.key)
        return {}


_REMOVED = (
    "SELECT p.id, p.removed_us FROM endpoints p WHERE p.removed_us > 0 AND NOT EXISTS (SELECT 1 FROM counts c"
    " WHERE c.what = 'deliveries' AND c.name = CAST(p.id AS TEXT) AND c.state IN ('queued', 'ready', 'failed')"
    " AND c.number > 0) ORDER BY p.id"
)
_VIEWS = (
    f"SELECT k.bucket, {views.COLUMNS} FROM json_each(?) j CROSS JOIN views v ON v.id = j.value"
    " CROSS JOIN order_keys k ON k.id = v.id >> 12"
)
_REST = (
    "DELETE FROM digests WHERE endpoint = ?",
    "DELETE FROM catch_ups WHERE endpoint = ?",
    "DELETE FROM endpoints WHERE id = ?",
)
