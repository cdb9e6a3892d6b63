"""The operator's actions: redeliver or discard a delivery.

An event must not be delivered after a later event of its object. A redelivery that violates this is refused, or fails
if the violation occurs while it waits, unless the operator requested it out of order. A repeated request is applied
once. Works within the service's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import ages, attempts, database, packing, session_state, views
from beacon.store.verbs import actions

_AT_ONCE = 40  # deliveries that one request processes, so that other requests do not wait long
_EXAMINED = 250  # deliveries that one request examines for failed ones that are too old
_OLD = "failed longer ago than retention.failedPeriod"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OldDiscarded:
    """A delivery that failed too long ago was discarded: for metrics, after the commit."""

    endpoint: str
    type: model.EventType


class Redelivery:
    """Serves the verbs `redeliver`, `discard` and `discard-old`."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger."""
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)
        self._actions = actions.Actions(ledger)

    def redeliver(self, request: wire.Redeliver, now_us: int) -> wire.ActionResult:
        """Make finished deliveries again."""
        taken = request.deliveries[:_AT_ONCE]
        answers = [(one[0], self._redeliver(*one, now_us, request)) for one in taken]
        self._note_applied(request, answers, "")
        return self._acted(answers)

    def discard(self, request: wire.Discard, now_us: int) -> wire.ActionResult:
        """Discard failed deliveries."""
        taken = request.deliveries[:_AT_ONCE]
        answers = [(one[0], self._discard(*one, now_us, request)) for one in taken]
        self._note_applied(request, answers, request.reason)
        return self._acted(answers)

    def discard_old(self, request: wire.DiscardOld, now_us: int, split: ages.Ages) -> wire.DiscardedOld:
        """Examine the next deliveries, and discard those that failed before the period that `split` divides."""
        after = max(0, min(request.after, model.MAX_INTEGER))
        if not self._ledger.row("SELECT 1 FROM counts WHERE what = 'deliveries' AND state = 'failed' AND number > 0"):
            return wire.DiscardedOld(discarded=0, after=after, more=False)
        rows = self._ledger.rows(
            "SELECT d.id, d.endpoint, p.name, e.type, d.state = 'failed', d.settled_us FROM deliveries d"
            " CROSS JOIN events e ON e.sequence = d.id >> 12 CROSS JOIN endpoints p ON p.id = d.endpoint"
            " WHERE d.id > ? ORDER BY d.id LIMIT ?",
            (after, _EXAMINED),
        )
        old = [
            (delivery, number, endpoint, type_)
            for delivery, number, endpoint, type_, failed, settled_us in rows
            if failed and split.is_old(settled_us)
        ]
        for delivery, number, endpoint, type_ in old:
            self._ledger.run(SET_DISCARDED, (now_us, _OLD, delivery))
            self._state.sums.delivery_moved(number, model.DeliveryState.FAILED, model.DeliveryState.DISCARDED)
            self._state.note(OldDiscarded(endpoint=endpoint, type=model.EventType(type_)))
        return wire.DiscardedOld(discarded=len(old), after=rows[-1][0] if rows else after, more=len(rows) == _EXAMINED)

    def _note_applied(
        self, request: wire.Redeliver | wire.Discard, answers: Sequence[tuple[int, str]], reason: str
    ) -> None:
        redelivered = isinstance(request, wire.Redeliver)
        self._state.note(
            actions.ActionsApplied(
                action=model.OperatorAction.REDELIVERED if redelivered else model.OperatorAction.DISCARDED,
                operation=request.operation.id,
                actor=actions.shortened_actor(request.operation.actor),
                reason=actions.shortened_reason(reason),
                done=sum(not why for _, why in answers),
                refused=sum(bool(why) for _, why in answers),
                left=len(request.deliveries) - len(answers) + max(0, request.operation.left),
            )
        )

    def _redeliver(self, delivery: int, generation: int, now_us: int, request: wire.Redeliver) -> str:
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
        if not request.out_of_order and views.is_overtaken(view, delivery):
            return views.OVERTAKEN
        self._state.note(Redelivered(endpoint=endpoint))
        attempts.keep_last_attempt(self._ledger, delivery)
        if view.written == delivery >> packing.ENDPOINT_BITS and state == model.DeliveryState.DISCARDED:
            view.written_uid, view.written_value = self._views.state_in(view.written)
        target = self._views.open(view, delivery)
        self._ledger.run(
            "UPDATE deliveries SET generation = generation + 1, attempts = 0, requests = 0,"
            " delivered_us = CASE WHEN state = 'delivered' THEN settled_us ELSE delivered_us END,"
            " forgiven = 0, next_attempt_us = ?, last_tried_us = 0, settled_us = 0, reason = '', out_of_order = ?,"
            " started_us = NULL, duration_us = 0, counted = 0, request_id = '', background = 0, state = ? WHERE id = ?",
            (now_us, int(request.out_of_order), target, delivery),
        )
        self._state.sums.delivery_moved(view.endpoint, state, target)
        self._views.put(view)
        actor, action = request.operation.actor, model.OperatorAction.REDELIVERED
        self._actions.record(delivery, generation + 1, action, actor=actor, reason="", now_us=now_us)
        return ""

    def _discard(self, delivery: int, generation: int, now_us: int, request: wire.Discard) -> str:
        reason = actions.shortened_reason(request.reason)
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
        self._ledger.run(SET_DISCARDED, (now_us, reason, delivery))
        actor, action = request.operation.actor, model.OperatorAction.DISCARDED
        self._actions.record(delivery, generation, action, actor=actor, reason=reason, now_us=now_us)
        self._state.sums.delivery_moved(number, state, model.DeliveryState.DISCARDED)
        identity = packing.unpacked(event)
        self._state.note(Discarded(endpoint=endpoint, type=model.EventType(type_), id=identity, reason=reason))
        return ""

    def _acted(self, answers: Sequence[tuple[int, str]]) -> wire.ActionResult:
        refused = tuple(self._refused(delivery, why) for delivery, why in answers if why)
        return wire.ActionResult(taken=len(answers), done=len(answers) - len(refused), refused=refused)

    def _refused(self, delivery: int, why: str) -> wire.RefusedAction:
        row = self._ledger.row(
            "SELECT e.id, p.name FROM deliveries d JOIN events e ON e.sequence = d.id >> 12"
            " JOIN endpoints p ON p.id = d.endpoint WHERE d.id = ?",
            (delivery,),
        )
        event, endpoint = row or ("", "")
        return wire.RefusedAction(delivery=delivery, event_id=packing.unpacked(event), why=why, endpoint=endpoint)


SET_DISCARDED = "UPDATE deliveries SET state = 'discarded', settled_us = ?, reason = ? WHERE id = ?"
_OPEN = (model.DeliveryState.QUEUED, model.DeliveryState.READY)
