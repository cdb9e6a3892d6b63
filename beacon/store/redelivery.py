"""The operator's actions: redeliver or discard a delivery.

An event must not be delivered after a later event of its object. A redelivery that violates this is refused, or fails
if the violation occurs while it waits, unless the operator requested it out of order. A repeated request is applied
once. Works within the service's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beacon import wire
from beacon.domain import model
from beacon.store import database, deliveries, packing, session_state, views

_AT_ONCE = 40  # deliveries that one request processes, so that other requests do not wait long


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivered:
    """A delivery is made again: for metrics, after the commit."""

    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """A delivery was discarded: for metrics and the log, after the commit."""

    endpoint: str
    type: model.EventType
    id: str
    reason: str


class Redelivery:
    """Serves the verbs `redeliver` and `discard`."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger."""
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)

    def redeliver(self, request: wire.Redeliver, now_us: int) -> wire.ActionResult:
        """Make finished deliveries again."""
        taken = request.deliveries[:_AT_ONCE]
        answers = [(one[0], self._redeliver(*one, now_us, out_of_order=request.out_of_order)) for one in taken]
        return self._acted(answers)

    def discard(self, request: wire.Discard, now_us: int) -> wire.ActionResult:
        """Discard failed deliveries."""
        taken = request.deliveries[:_AT_ONCE]
        return self._acted([(one[0], self._discard(*one, now_us, request.reason)) for one in taken])

    def _redeliver(self, delivery: int, generation: int, now_us: int, *, out_of_order: bool) -> str:
        """Return the reason of a refusal, "" if it is done."""
        row = self._ledger.row(
            "SELECT d.state, d.generation, p.name FROM deliveries d JOIN endpoints p ON p.id = d.endpoint"
            " WHERE d.id = ?",
            (delivery,),
        )
        if row is None:
            return "it no longer exists"
        state, known, endpoint = row
        if known == generation + 1:
            return ""  # done before: this request is a repetition
        if known != generation:
            return "it was redelivered in the meantime"
        if state in _OPEN:
            return "it is open, and will be delivered"
        view = self._views.of_delivery(delivery)
        if not out_of_order and views.is_overtaken(view, delivery):
            return views.OVERTAKEN
        self._state.note(Redelivered(endpoint=endpoint))
        deliveries.keep_last_attempt(self._ledger, delivery)
        target = self._views.open(view, delivery)
        self._ledger.run(
            "UPDATE deliveries SET generation = generation + 1, attempts = 0, requests = 0,"
            " delivered_us = CASE WHEN state = 'delivered' THEN settled_us ELSE delivered_us END,"
            " forgiven = 0, next_attempt_us = ?, last_tried_us = 0, settled_us = 0, reason = '', out_of_order = ?,"
            " started_us = NULL, duration_us = 0, counted = 0, request_id = '', state = ? WHERE id = ?",
            (now_us, int(out_of_order), target, delivery),
        )
        self._state.sums.delivery_moved(view.endpoint, state, target)
        self._views.put(view)
        return ""

    def _discard(self, delivery: int, generation: int, now_us: int, reason: str) -> str:
        row = self._ledger.row(
            "SELECT d.state, d.generation, p.name, e.type, e.id, d.endpoint FROM deliveries d"
            " JOIN events e ON e.sequence = d.id >> 12 JOIN endpoints p ON p.id = d.endpoint WHERE d.id = ?",
            (delivery,),
        )
        if row is None:
            return "it no longer exists"
        state, known, endpoint, type_, event, number = row
        if known != generation:
            return "it was redelivered in the meantime"
        if state == model.DeliveryState.DISCARDED:
            return ""
        if state != model.DeliveryState.FAILED:
            return f"it is {state}; only failed deliveries can be discarded"
        self._ledger.run(
            "UPDATE deliveries SET state = 'discarded', settled_us = ?, reason = ? WHERE id = ?",
            (now_us, reason, delivery),
        )
        self._state.sums.delivery_moved(number, state, model.DeliveryState.DISCARDED)
        identity = packing.unpacked(event)
        self._state.note(Discarded(endpoint=endpoint, type=model.EventType(type_), id=identity, reason=reason))
        return ""

    def _acted(self, answers: Sequence[tuple[int, str]]) -> wire.ActionResult:
        refused = tuple(
            wire.RefusedAction(delivery=delivery, event_id=self._event_of(delivery), why=why)
            for delivery, why in answers
            if why
        )
        return wire.ActionResult(taken=len(answers), done=len(answers) - len(refused), refused=refused)

    def _event_of(self, delivery: int) -> str:
        row = self._ledger.row(
            "SELECT e.id FROM deliveries d JOIN events e ON e.sequence = d.id >> 12 WHERE d.id = ?", (delivery,)
        )
        return packing.unpacked(row[0]) if row else ""


_OPEN = (model.DeliveryState.QUEUED, model.DeliveryState.READY)
