"""The operator's actions on a whole endpoint: pause, resume, and discard the deliveries of a removed one.

A pause is recorded in the ledger: it survives restarts. Works within the service's transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass

from beacon import errors, wire
from beacon.domain import model
from beacon.store.ledger import database, packing, session_state, views
from beacon.store.verbs import actions, redelivery

_EXAMINED = 1000  # deliveries that one request examines
_AT_ONCE = 100  # deliveries that one request discards


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHalted:
    """An operator paused or resumed an endpoint: for the log, after the commit."""

    endpoint: str
    paused: bool
    actor: str
    reason: str


class Halts:
    """Which endpoints get no deliveries: the paused ones and those that are not configured."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Read the table `endpoints`, once for each endpoint."""
        self._ledger = ledger
        self._state = state

    def is_halted(self, endpoint: int) -> bool:
        """Return True if no delivery of an endpoint may be leased."""
        known = self._state.get(_halted_key(endpoint))
        if known is None:
            row = self._ledger.row("SELECT removed_us > 0 OR paused_us > 0 FROM endpoints WHERE id = ?", (endpoint,))
            known = row is None or bool(row[0])
            self._state.put(_halted_key(endpoint), known)
        return known

    def read_again(self, endpoint: int) -> None:
        """Forget an endpoint, whose row has changed."""
        self._state.remove(_halted_key(endpoint))


class EndpointControl:
    """Serves the verbs `pause`, `resume` and `discard-endpoint`."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        *,
        unpark: Callable[[int, str, int], tuple[int, int]],
    ) -> None:
        """Work on the given ledger; `unpark` ends the parking of an endpoint, see `Deliveries.resume`."""
        self._ledger = ledger
        self._state = state
        self._unpark = unpark
        self._halts = Halts(ledger, state)
        self._views = views.Views(ledger, state)
        self._actions = actions.Actions(ledger)

    def pause(self, request: wire.PauseEndpoint, now_us: int) -> wire.EndpointPaused:
        """Record that an endpoint is paused."""
        number, since_us, _ = self._row(request.endpoint)
        if since_us:
            return wire.EndpointPaused(since_us=since_us, changed=False)
        self._record(request, number, max(1, now_us), request.reason)
        return wire.EndpointPaused(since_us=max(1, now_us), changed=True)

    def resume(self, request: wire.ResumeEndpoint, now_us: int) -> wire.EndpointPaused:
        """Record that an endpoint is neither paused nor parked, and restore what it refused."""
        number, since_us, _ = self._row(request.endpoint)
        (cause,) = self._ledger.row("SELECT parked_cause FROM endpoints WHERE id = ?", (number,)) or ("",)
        if since_us:
            self._record(request, number, 0, "")
        restored, left = self._unpark(number, request.endpoint, now_us)
        return wire.EndpointPaused(
            since_us=0,
            changed=since_us > 0 or bool(cause) or restored + left > 0,
            parked=cause,
            restored=restored,
            left=left,
            was_paused=since_us > 0,
        )

    def discard(self, request: wire.DiscardEndpoint, now_us: int) -> wire.DiscardedOfEndpoint:
        """Discard the next open and failed deliveries of an endpoint that is not configured.

        What was written for it is then what it accepted, so that its return sends what was discarded.
        """
        number, _, removed_us = self._row(request.endpoint)
        if not removed_us:
            message = f"endpoint {request.endpoint} is configured: only a removed one can be discarded as a whole"
            raise errors.PermanentError(message)
        after = max(0, min(request.after, model.MAX_INTEGER))
        rows = self._ledger.rows(
            "SELECT d.id, d.endpoint, d.state, d.generation FROM deliveries d WHERE d.id > ? ORDER BY d.id LIMIT ?",
            (after, _EXAMINED),
        )
        meant = [row for row in rows if row[1] == number and row[2] in _UNSETTLED]
        for delivery, _, _, generation in meant[:_AT_ONCE]:
            self._discard(delivery, generation, request, now_us)
        if meant:
            self._ledger.run("UPDATE endpoints SET removed_us = max(removed_us, ?) WHERE id = ?", (now_us, number))
        more = len(meant) > _AT_ONCE or len(rows) == _EXAMINED
        self._state.note(
            actions.ActionsApplied(
                action=model.OperatorAction.DISCARDED,
                operation=request.operation.id,
                actor=actions.shortened_actor(request.operation.actor),
                reason=actions.shortened_reason(request.reason),
                done=len(meant[:_AT_ONCE]),
                refused=0,
                left=max(1, request.operation.left) if more else 0,
            )
        )
        if len(meant) > _AT_ONCE:
            return wire.DiscardedOfEndpoint(discarded=_AT_ONCE, after=meant[_AT_ONCE - 1][0], more=True)
        last = rows[-1][0] if rows else after
        return wire.DiscardedOfEndpoint(discarded=len(meant), after=last, more=more)

    def _row(self, name: str) -> tuple[int, int, int]:
        row = self._ledger.row("SELECT id, paused_us, removed_us FROM endpoints WHERE name = ?", (name,))
        if row is None:
            raise errors.PermanentError(f"the ledger has no endpoint {name}")
        return row[0], row[1], row[2]

    def _record(
        self, request: wire.PauseEndpoint | wire.ResumeEndpoint, number: int, paused_us: int, reason: str
    ) -> None:
        actor, reason = actions.shortened_actor(request.operation.actor), actions.shortened_reason(reason)
        self._ledger.run(
            "UPDATE endpoints SET paused_us = ?, paused_by = ?, paused_reason = ? WHERE id = ?",
            (paused_us, actor if paused_us else "", reason, number),
        )
        self._halts.read_again(number)
        self._state.note(EndpointHalted(endpoint=request.endpoint, paused=paused_us > 0, actor=actor, reason=reason))

    def _discard(self, delivery: int, generation: int, request: wire.DiscardEndpoint, now_us: int) -> None:
        """Discard one delivery; its state is read again, because an earlier one of its object may have changed it."""
        view = self._views.of_delivery(delivery)
        found = self._ledger.row(
            "SELECT d.state, e.type, e.id FROM deliveries d CROSS JOIN events e ON e.sequence = d.id >> 12"
            " WHERE d.id = ?",
            (delivery,),
        )
        if found is None:
            return
        state, type_, event = found
        reason = actions.shortened_reason(request.reason)
        self._ledger.run(redelivery.SET_DISCARDED, (now_us, reason, delivery))
        self._state.sums.delivery_moved(view.endpoint, state, model.DeliveryState.DISCARDED)
        if state != model.DeliveryState.FAILED:
            self._views.close(view, delivery, now_us)
        view.written_uid, view.written_value = view.accepted_uid, view.accepted_value
        self._views.put(view)
        action = model.OperatorAction.DISCARDED
        actor = request.operation.actor
        self._actions.record(delivery, generation, action, actor=actor, reason=reason, now_us=now_us)
        self._state.note(
            redelivery.Discarded(
                endpoint=request.endpoint, type=model.EventType(type_), id=packing.unpacked(event), reason=reason
            )
        )


_UNSETTLED = (model.DeliveryState.QUEUED, model.DeliveryState.READY, model.DeliveryState.FAILED)


def _halted_key(endpoint: int) -> session_state.StateKey[bool]:
    return session_state.StateKey("halted", endpoint)
