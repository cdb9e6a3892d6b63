"""Settlements: what the outcomes of requests make of their deliveries, within the claim's transaction.

Every outcome is applied once, even if it is repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from beacon import wire
from beacon.domain import instants, model, records
from beacon.store.ledger import attempts, database, session_state, views
from beacon.store.verbs import parking, suspects

_TOGETHER = 4  # settlements of a claim whose deliveries are read together


@records.record
class Settled:
    """A request was completed: for `follow`, after the commit."""

    delivery: int
    generation: int
    attempt: int


@records.record
class _Found:
    """Rows by delivery as they were read, and the number of writes by then."""

    rows: Mapping[int, database.Row]
    writes: int


class Settlements:
    """Writes the outcomes of a claim's settlements."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        suspects_: suspects.Suspects,
        parking_: parking.Parking,
        *,
        on_retry: Callable[[int], None],
    ) -> None:
        """Work on the given ledger; `on_retry` is called with the endpoint of a delivery that is sent again."""
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)
        self._suspects = suspects_
        self._parking = parking_
        self._on_retry = on_retry

    def apply(self, claim: wire.Claim, endpoint: int, now_us: int) -> None:
        """Write the outcomes of a claim."""
        found = self._settled(claim)
        for outcome in claim.settlements:
            row = self._current(outcome.delivery, found)
            if row is not None and row[1] == outcome.generation:
                self._settle_one(claim, self._parking.judge(claim, endpoint, outcome), row, now_us)

    def _settled(self, claim: wire.Claim) -> _Found:
        """Read together the deliveries that a claim settles; for a few that does not pay."""
        if len(claim.settlements) < _TOGETHER:
            return _Found(rows={}, writes=0)
        chosen = ",".join(str(one.delivery) for one in claim.settlements)
        rows = self._ledger.rows(_ALL_SETTLED, (f"[{chosen}]",))
        return _Found(rows={row[0]: row[1:] for row in rows}, writes=self._ledger.writes)

    def _current(self, delivery: int, found: _Found) -> database.Row | None:
        """Return the row of a delivery and its view: what was read before, unless it may have changed since."""
        row = found.rows.get(delivery)
        if row is None or self._ledger.writes != found.writes or self._ledger.is_touched(row[4]):
            return self._ledger.row(_SETTLED, (delivery,))
        return row

    def _settle_one(self, claim: wire.Claim, outcome: model.Outcome, row: database.Row, now_us: int) -> None:
        if outcome.result is not model.DeliveryResult.RELEASED:
            self._apply(claim, outcome, row, now_us)
        self._parking.came_back(row[4], row[3], outcome, now_us)

    def _apply(self, claim: wire.Claim, outcome: model.Outcome, row: database.Row, now_us: int) -> None:
        state, requests = _DELIVERY_STATES[row[0]], row[2]
        if outcome.attempt < 1 or state is model.DeliveryState.QUEUED:
            return  # the delivery was not leased, so that it has no outcome
        if outcome.result is model.DeliveryResult.CHARGED:
            self._charge(outcome)
        elif outcome.attempt > requests and state not in _FINAL:
            if requests:
                attempts.keep_last_attempt(self._ledger, outcome.delivery)
            self._move(claim, outcome, row, now_us)
            self._suspects.clear(outcome.delivery)
            self._state.note(Settled(delivery=outcome.delivery, generation=outcome.generation, attempt=outcome.attempt))
        elif _is_verdict(outcome, state, requests):
            attempts.keep_last_attempt(self._ledger, outcome.delivery)
            self._move(claim, replace(outcome, counted=False), row, now_us)

    def _move(self, claim: wire.Claim, outcome: model.Outcome, row: database.Row, now_us: int) -> None:
        """Write the delivery's new state; a failed one becomes delivered if the endpoint received it after all."""
        state, requests, endpoint = _DELIVERY_STATES[row[0]], row[2], row[3]
        target = _STATES[outcome.result]
        if state is model.DeliveryState.FAILED and target is model.DeliveryState.READY:
            target = state
        final = target is not model.DeliveryState.READY
        is_new = outcome.attempt > requests
        self._ledger.later(
            _MOVE,
            (
                target,
                int(outcome.counted),
                outcome.attempt if is_new else requests,
                0 if final else now_us + _micros(outcome.delay_s),
                now_us,
                int(outcome.forgiven and not final),
                outcome.code,
                outcome.status,
                outcome.error,
                now_us if final else 0,
                outcome.started_us if is_new else None,
                _micros(outcome.duration_s) if is_new else 0,
                int(outcome.counted),
                outcome.request_id if is_new else "",
                outcome.delivery,
            ),
            row[4],
        )
        if target is model.DeliveryState.READY:
            self._on_retry(endpoint)
        view = views.view_of(row[6:], row[5])
        self._parking.settled(claim, view, outcome, now_us, failed=target is model.DeliveryState.FAILED)
        if target is state:
            return
        self._state.sums.delivery_moved(endpoint, state, target)
        if target is model.DeliveryState.DELIVERED:
            self._views.accept(view, outcome.delivery)
        if state is model.DeliveryState.READY:
            self._views.close(view, outcome.delivery, now_us)
            if view.ready:  # in a rescued ledger, what was promoted may have been tried before
                self._on_retry(endpoint)
        self._views.put(view)

    def _charge(self, outcome: model.Outcome) -> None:
        """Count a request that was forgiven at first, once."""
        request = (outcome.delivery, outcome.generation, outcome.attempt)
        changed = self._ledger.run(
            "UPDATE deliveries SET counted = 1"
            " WHERE id = ? AND generation = ? AND requests = ? AND counted = 0 AND started_us IS NOT NULL",
            request,
        ) or self._ledger.run(
            "UPDATE attempts SET counted = 1 WHERE delivery = ? AND generation = ? AND attempt = ? AND counted = 0",
            request,
        )
        if changed:
            self._ledger.run(
                "UPDATE deliveries SET attempts = attempts + 1, forgiven = 0 WHERE id = ?", (outcome.delivery,)
            )


_SETTLED_COLUMNS = f"d.state, d.generation, d.requests, d.endpoint, d.key, k.bucket, {views.COLUMNS}"
_WITH_VIEW = "CROSS JOIN order_keys k ON k.id = d.key CROSS JOIN views v ON v.id = d.key << 12 | d.endpoint"
_SETTLED = f"SELECT {_SETTLED_COLUMNS} FROM deliveries d {_WITH_VIEW} WHERE d.id = ?"
_ALL_SETTLED = (
    f"SELECT d.id, {_SETTLED_COLUMNS} FROM json_each(?) j CROSS JOIN deliveries d ON d.id = j.value {_WITH_VIEW}"
)
_MOVE = (
    "UPDATE deliveries SET state = ?, attempts = attempts + ?, requests = ?, next_attempt_us = ?, last_tried_us = ?,"
    " forgiven = ?, code = ?, status = ?, error = ?, settled_us = ?, started_us = ?, duration_us = ?, counted = ?,"
    " request_id = ? WHERE id = ?"
)
# A look-up is faster than the call of the enum.
_DELIVERY_STATES = {str(state): state for state in model.DeliveryState}
_FINAL = (model.DeliveryState.DELIVERED, model.DeliveryState.DISCARDED)
_STATES = {
    model.DeliveryResult.DELIVERED: model.DeliveryState.DELIVERED,
    model.DeliveryResult.FAILED: model.DeliveryState.FAILED,
    model.DeliveryResult.RETRY: model.DeliveryState.READY,
}


def _is_verdict(outcome: model.Outcome, state: model.DeliveryState, requests: int) -> bool:
    """Return True if a second outcome of a settled attempt is the final result of the delivery.

    Either the attempt turns out to have been the last one allowed, or two notifiers made it, the older one hanging
    while the newer one was active, and the endpoint received the event after all.
    """
    if outcome.result is model.DeliveryResult.DELIVERED:
        return state not in _FINAL
    last = outcome.result is model.DeliveryResult.FAILED and outcome.attempt == requests
    return last and state is model.DeliveryState.READY


def _micros(seconds: float) -> int:
    """Return a duration in microseconds, limited so that an instant can be shifted by it."""
    return int(min(max(seconds, 0.0), instants.LONGEST_S) * 1_000_000)
