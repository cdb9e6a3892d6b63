"""Parking: an endpoint that refuses everything gets nothing but probes, and what it refused is restored.

`beacon.domain.parking` has the rules. Here they are applied to the settlements, within the claim's transaction. What a
request was sent under is known by the endpoint's parking number, not by times: it grows when the endpoint is parked or
resumed and when a secret or the URL changes, and a refusal of a request with an older number says nothing any more.

A failed delivery is not restored before a later one of its object while that one is in flight: it waits in memory until
that one has come back. If the store or the notifier is terminated meanwhile, it stays failed.

Deliveries are restored a page at a time, each in a transaction of its own, so that other writes do not wait for all of
them. Until the last page nothing is leased, or a later event of an object could be sent before an earlier one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from beacon import codec, wire
from beacon.domain import model, parking, records
from beacon.store.ledger import attempts, database, packing, session_state, views
from beacon.store.verbs import actions

OUTRUN = "a later event of the object was in flight, and may have been accepted"
_ANSWERED = frozenset({model.DeliveryResult.DELIVERED, model.DeliveryResult.FAILED, model.DeliveryResult.RETRY})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointParked:
    """An endpoint was parked, and `restored` deliveries are sent again: for the log, after the commit."""

    endpoint: str
    cause: str
    restored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkingEnded:
    """An endpoint is no longer parked, or what it refused was restored: for the log, after the commit."""

    endpoint: str
    why: str
    cause: str  # "" if it was not parked
    parked_s: float
    restored: int


@records.record
class ParkingState:
    """The parking of one endpoint. `row` are the refusals since the latest proper answer that count.

    While what was refused is being restored, `restoring` is the instant from which refusals still are (0: none is). Of
    that, the log needs `why` and `restored`, how many were; a restart forgets both.
    """

    number: int
    parked_us: int
    cause: str
    proper_sent_us: int
    proper_us: int
    restoring: int
    why: str = "changed configuration or resumed"
    restored: int = 0
    row: tuple[parking.RefusedObject, ...] = ()


class Parking:
    """Applies the rules of parking to one claim after the other."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        rules: Mapping[str, parking.ParkingRules | None],
        *,
        on_retry: Callable[[int], None],
    ) -> None:
        """Work on the given ledger; `on_retry` is called with the endpoint of restored deliveries."""
        self._ledger = ledger
        self._state = state
        self._rules = rules
        self._on_retry = on_retry
        self._views = views.Views(ledger, state)
        self._actions = actions.Actions(ledger)

    def rules_of(self, name: str) -> parking.ParkingRules | None:
        """Return the rules of an endpoint; None: it is never parked."""
        return self._rules.get(name)

    def of(self, endpoint: int) -> ParkingState:
        """Return an endpoint's state, from the ledger at first."""
        known = self._state.get(_parking_key(endpoint))
        if known is None:
            known = self._read(endpoint)
            self._state.put(_parking_key(endpoint), known)
        return known

    def known(self, endpoint: int) -> ParkingState | None:
        """Return an endpoint's state if it was read before."""
        return self._state.get(_parking_key(endpoint))

    def is_parked(self, endpoint: int) -> bool:
        """Return True if only probes may be leased."""
        return self.of(endpoint).parked_us > 0

    def begin(self, claim: wire.Claim, endpoint: int, out: Collection[int], now_us: int) -> None:
        """Apply what a claim says about its endpoint, before its settlements; `out` are the deliveries in flight."""
        state = self.of(endpoint)
        if claim.died_with:
            self._forget_unanswered(endpoint)
        if claim.renewed:
            self._change(endpoint, replace(state, number=max(state.number, claim.parking - 1)))
            self.end(endpoint, claim.endpoint, "changed secret", now_us, out)
        elif claim.parking > state.number:
            self._change(endpoint, replace(state, number=claim.parking))
        elif state.restoring:
            self.go_on(endpoint, claim.endpoint, out, now_us)
        rules = self.rules_of(claim.endpoint)
        if rules is None:
            return
        times = [_times(one) for one in claim.settlements if _is_proper(one, rules)]
        if times:
            self._answered_properly(endpoint, max(sent for sent, _ in times), max(at for _, at in times))

    def judge(self, claim: wire.Claim, endpoint: int, outcome: model.Outcome) -> model.Outcome:
        """Return an outcome as it is to be written: a refusal that says nothing is forgiven."""
        rules = self.rules_of(claim.endpoint)
        if rules is None or not _is_refusal(outcome, rules):
            return outcome
        state = self.of(endpoint)
        if not state.parked_us and outcome.parking >= state.number:
            return outcome
        return replace(outcome, result=model.DeliveryResult.RETRY, counted=False, forgiven=False, delay_s=0.0)

    def settled(
        self, claim: wire.Claim, view: views.View, outcome: model.Outcome, now_us: int, *, failed: bool
    ) -> None:
        """Apply what follows from an outcome that was written; `failed`: the delivery has failed with it."""
        rules = self.rules_of(claim.endpoint)
        if rules is None:
            return
        if failed and _is_refusal(outcome, rules):
            self._refused(view, outcome)
        elif _is_proper(outcome, rules):
            state = self.of(view.endpoint)
            if state.parked_us and (outcome.parking >= state.number or outcome.started_us >= state.parked_us):
                self._unpark(view.endpoint, claim.endpoint, "proper answer", now_us)

    def came_back(self, key: int, endpoint: int, outcome: model.Outcome, now_us: int) -> None:
        """Restore, or give up, the deliveries that wait for a later one of their object, which has come back."""
        if outcome.status == 0:
            self._forget_unanswered(endpoint)
        waiting = self._state.get(_waiting_key(endpoint))
        if not waiting or key not in waiting:
            return
        earlier = [one for one in waiting[key] if one < outcome.delivery]
        is_accepted = outcome.result is model.DeliveryResult.DELIVERED
        is_unknown = outcome.result is not model.DeliveryResult.RELEASED and outcome.status == 0
        is_refused = outcome.result is model.DeliveryResult.RELEASED or 300 <= outcome.status < 500
        if not earlier or not (is_accepted or is_unknown or is_refused):
            return
        left = tuple(one for one in waiting[key] if one not in earlier)
        self._state.put(_waiting_key(endpoint), {**waiting, key: left} if left else _without(waiting, key))
        if is_refused and len(earlier) > AT_ONCE:
            self._restore_later(endpoint, earlier)
        elif is_refused:
            page = _Page(out=(), unanswered={})
            for delivery in earlier:
                self._restore(delivery, now_us, page)

    def look(self, endpoint: int, name: str, out: Collection[int], now_us: int) -> bool:
        """Park the endpoint if its refusals have lasted for long enough; return True if it was parked."""
        at_us = self.park_at_us(endpoint, name)
        if at_us is None or now_us < at_us:
            return False
        state = self.of(endpoint)
        cause = parking.cause_of(max(state.row, key=lambda refusal: refusal.answered_us).status)
        self._change(endpoint, replace(_restoring(state, "parked"), parked_us=max(1, now_us), cause=cause))
        restored = self._restore_page(endpoint, now_us, out)
        self._state.note(EndpointParked(endpoint=name, cause=cause, restored=restored))
        return True

    def test_answered(self, endpoint: int, name: str, sent_us: int, now_us: int) -> None:
        """Apply a proper answer to a test event, which was sent at `sent_us` or later."""
        if not endpoint:
            return
        self._answered_properly(endpoint, sent_us, now_us)
        state = self.of(endpoint)
        if state.parked_us and sent_us >= state.parked_us:
            self._unpark(endpoint, name, "proper answer to a test event", now_us)

    def park_at_us(self, endpoint: int, name: str) -> int | None:
        """Return when the endpoint must be looked at again; None: its refusals do not speak against it."""
        rules, state = self.rules_of(name), self.of(endpoint)
        if rules is None or state.parked_us or not state.row or not parking.is_enough(rules, state.row):
            return None
        return parking.park_at_us(state.proper_us, state.row)

    def end(self, endpoint: int, name: str, why: str, now_us: int, out: Collection[int] | None) -> int:
        """End the parking, if any, under a new number, and restore the first of what was refused; return how much.

        `out` is None while no notifier has reported what is in flight: its next claim then restores the first ones.
        """
        state = self.of(endpoint)
        self._change(endpoint, replace(_restoring(state, why), parked_us=0, cause=""))
        restored = 0 if out is None else self._restore_page(endpoint, now_us, out)
        if state.parked_us or restored:
            self._note_end(name, why, state, now_us, restored)
        return restored

    def is_restoring(self, endpoint: int) -> bool:
        """Return True if more deliveries are to be restored, so that none may be leased."""
        return self.of(endpoint).restoring > 0

    def left(self, endpoint: int) -> int:
        """Return how many deliveries are still to be restored, unless a later event of their object was accepted."""
        state = self.of(endpoint)
        if not state.restoring:
            return 0
        (number,) = self._ledger.row(f"SELECT count(*) {_REFUSED}", _refused(endpoint, state)) or (0,)
        return int(number)

    def go_on(self, endpoint: int, name: str, out: Collection[int], now_us: int) -> None:
        """Restore the next deliveries."""
        restored = self._restore_page(endpoint, now_us, out)
        state = self.of(endpoint)
        if not state.restoring and state.restored + restored:
            ended = ParkingEnded(endpoint=name, why=state.why, cause="", parked_s=0.0, restored=state.restored)
            self._state.note(ended)

    def forget_waiting(self, endpoint: int) -> None:
        """Leave failed what waits for a later delivery: another notifier took over, and its fate is not known."""
        if self._state.get(_waiting_key(endpoint)):
            self._state.remove(_waiting_key(endpoint))

    # --- the state of an endpoint

    def _read(self, endpoint: int) -> ParkingState:
        row = self._ledger.row(
            "SELECT parking, parked_us, parked_cause, proper_sent_us, proper_us, restoring FROM endpoints WHERE id = ?",
            (endpoint,),
        )
        number, parked_us, cause, sent_us, proper_us, restoring = row or (0, 0, "", 0, 0, 0)
        refusals = self._ledger.rows(
            "SELECT d.key, d.status, d.refused_us, coalesce(v.accepted, 0) > 0 FROM deliveries d"
            " LEFT JOIN views v ON v.id = d.key << 12 | d.endpoint WHERE d.endpoint = ? AND d.state = 'failed'"
            " AND d.refused_us > 0 AND d.refused_us > ? AND d.refused_first = 1",
            (endpoint, sent_us),
        )
        return ParkingState(
            number=number,
            parked_us=parked_us,
            cause=cause,
            proper_sent_us=sent_us,
            proper_us=proper_us,
            restoring=restoring,
            row=tuple(
                parking.RefusedObject(key=key, status=status, answered_us=at_us, accepted=bool(accepted))
                for key, status, at_us, accepted in refusals
            ),
        )

    def _change(self, endpoint: int, state: ParkingState) -> None:
        """Write a state with a new number, under which nothing was refused yet."""
        self._ledger.run(
            "UPDATE deliveries SET refused_first = 0 WHERE endpoint = ? AND state = 'failed' AND refused_us > 0"
            " AND refused_us > ? AND refused_first = 1",
            (endpoint, state.proper_sent_us),
        )
        self._write(endpoint, replace(state, row=()))

    def _write(self, endpoint: int, state: ParkingState) -> None:
        self._ledger.run(
            "UPDATE endpoints SET parking = ?, parked_us = ?, parked_cause = ?, proper_sent_us = ?, proper_us = ?,"
            " restoring = ? WHERE id = ?",
            (
                state.number,
                state.parked_us,
                state.cause,
                state.proper_sent_us,
                state.proper_us,
                state.restoring,
                endpoint,
            ),
        )
        self._state.put(_parking_key(endpoint), state)

    def _answered_properly(self, endpoint: int, sent_us: int, at_us: int) -> None:
        """Remember a proper answer. It is written only while the endpoint is parked or refusals are known."""
        state = self.of(endpoint)
        if sent_us <= state.proper_sent_us and at_us <= state.proper_us:
            return
        changed = replace(
            state,
            proper_sent_us=max(sent_us, state.proper_sent_us),
            proper_us=max(at_us, state.proper_us),
            row=tuple(one for one in state.row if one.answered_us > sent_us),
        )
        if state.row or state.parked_us:
            self._write(endpoint, changed)
        else:
            self._state.put(_parking_key(endpoint), changed)

    def _refused(self, view: views.View, outcome: model.Outcome) -> None:
        """Record that a delivery failed with a refusal; it counts if it is the first one of its object."""
        _, at_us = _times(outcome)
        is_first = not self._was_refused(view, outcome.delivery)
        self._ledger.run(
            "UPDATE deliveries SET refused_us = ?, refused_first = ? WHERE id = ?",
            (max(1, at_us), int(is_first), outcome.delivery),
        )
        state = self.of(view.endpoint)
        if is_first and at_us > state.proper_sent_us and len(state.row) < _MOST_IN_ROW:
            refusal = parking.RefusedObject(
                key=view.key, status=outcome.status, answered_us=at_us, accepted=view.accepted > 0
            )
            state = replace(state, row=(*state.row, refusal))
        self._write(view.endpoint, state)

    def _was_refused(self, view: views.View, delivery: int) -> bool:
        """Return True if the object was refused since the endpoint accepted something of it."""
        return (
            self._ledger.row(
                "SELECT 1 FROM events e CROSS JOIN deliveries d ON d.id = e.sequence << 12 | ?"
                " WHERE e.key = ? AND e.sequence BETWEEN ? AND ? AND d.refused_us > 0 LIMIT 1",
                (view.endpoint, view.key, view.accepted + 1, delivery >> packing.ENDPOINT_BITS),
            )
            is not None
        )

    def _unpark(self, endpoint: int, name: str, why: str, now_us: int) -> None:
        state = self.of(endpoint)
        self._write(endpoint, replace(state, parked_us=0, cause="", row=()))
        self._note_end(name, why, state, now_us, 0)

    def _note_end(self, name: str, why: str, state: ParkingState, now_us: int, restored: int) -> None:
        parked_s = max(0.0, (now_us - state.parked_us) / 1_000_000) if state.parked_us else 0.0
        self._state.note(
            ParkingEnded(endpoint=name, why=why, cause=state.cause, parked_s=round(parked_s, 3), restored=restored)
        )

    # --- restoring

    def _restore_page(self, endpoint: int, now_us: int, out: Collection[int]) -> int:
        """Restore the next deliveries that were refused; return how many.

        Each one that was looked at is no longer among the next ones, so that a page may begin where the last one ended.
        """
        state = self.of(endpoint)
        refused = self._ledger.rows(
            f"SELECT id, refused_us {_REFUSED} ORDER BY refused_us LIMIT ?", (*_refused(endpoint, state), AT_ONCE)
        )
        unanswered = self._state.get(_unanswered_key(endpoint))
        page = _Page(out=out, unanswered=dict(unanswered) if unanswered else {})
        restored = sum(self._restore(delivery, now_us, page) for delivery, _ in sorted(refused))
        following = refused[-1][1] if len(refused) == AT_ONCE else 0
        self._state.put(_unanswered_key(endpoint), page.unanswered if following else {})
        if page.waiting:
            self._wait(endpoint, page.waiting)
        self._write(endpoint, replace(state, restoring=following, restored=state.restored + restored))
        return restored

    def _restore_later(self, endpoint: int, deliveries: Sequence[int]) -> None:
        """Restore, with the next pages, many deliveries that waited for a later one."""
        ids = (codec.encode(list(deliveries)).decode(),)
        (first_us,) = self._ledger.row(f"SELECT min(refused_us) FROM deliveries WHERE id IN ({_LISTED})", ids) or (1,)
        self._ledger.run(f"UPDATE deliveries SET reason = '' WHERE id IN ({_LISTED})", ids)
        state = self.of(endpoint)
        self._write(endpoint, replace(state, restoring=min(state.restoring or first_us, first_us)))

    def _restore(self, delivery: int, now_us: int, page: "_Page") -> bool:
        """Send a failed delivery again, before the later ones of its object; return True if that was possible."""
        row = self._ledger.row("SELECT state, generation, restores FROM deliveries WHERE id = ?", (delivery,))
        view = self._views.of_delivery(delivery)
        if row is None or row[0] != model.DeliveryState.FAILED or row[2] >= parking.MOST_RESTORES:
            return False
        if views.is_overtaken(view, delivery):
            self._ledger.run("UPDATE deliveries SET refused_us = 0, refused_first = 0 WHERE id = ?", (delivery,))
            return False
        if view.ready > delivery and view.ready in page.out:
            self._ledger.run("UPDATE deliveries SET reason = ? WHERE id = ?", (OUTRUN, delivery))
            page.waiting.setdefault(view.key, []).append(delivery)
            return False
        if self._last_unanswered(view, page) > delivery:
            self._ledger.run("UPDATE deliveries SET reason = ? WHERE id = ?", (OUTRUN, delivery))
            return False
        self._reopen(view, delivery, now_us)
        self._actions.record(delivery, row[1] + 1, model.OperatorAction.RESTORED, actor="", reason="", now_us=now_us)
        return True

    def _reopen(self, view: views.View, delivery: int, now_us: int) -> None:
        """Make a delivery ready, or queue it behind an earlier one. It counts as tried, so it is no fresh probe."""
        target = model.DeliveryState.QUEUED
        view.open += 1
        if view.ready == 0 or view.ready > delivery:
            if view.ready:
                self._ledger.run("UPDATE deliveries SET state = 'queued' WHERE id = ?", (view.ready,))
                self._state.sums.delivery_moved(view.endpoint, "ready", "queued")
            target, view.ready = model.DeliveryState.READY, delivery
        attempts.keep_last_attempt(self._ledger, delivery)
        self._ledger.run(
            "UPDATE deliveries SET state = ?, generation = generation + 1, restores = restores + 1, attempts = 0,"
            " forgiven = 0, next_attempt_us = ?, settled_us = 0, reason = '', started_us = NULL, duration_us = 0,"
            " counted = 0, request_id = '', refused_us = 0, refused_first = 0 WHERE id = ?",
            (target, now_us, delivery),
        )
        self._state.sums.delivery_moved(view.endpoint, model.DeliveryState.FAILED, target)
        self._views.put(view)
        self._on_retry(view.endpoint)

    def _wait(self, endpoint: int, deliveries: Mapping[int, Sequence[int]]) -> None:
        """Record that failed deliveries wait for a later one in flight; their reason stays if it is not answered."""
        before = self._state.get(_waiting_key(endpoint))
        waiting = dict(before) if before else {}
        for key, mine in deliveries.items():
            waiting[key] = tuple(sorted({*waiting.get(key, ()), *mine}))
        self._state.put(_waiting_key(endpoint), waiting)

    def _last_unanswered(self, view: views.View, page: "_Page") -> int:
        """Return the object's last delivery with a request that was not answered, which may have been accepted.

        Nothing before it is restored. While pages follow each other it is looked up once for each object.
        """
        known = page.unanswered.get(view.key)
        if known is None:
            values = (view.endpoint, view.key, view.accepted)
            (known,) = self._ledger.row(_LAST_UNANSWERED, values) or (0,)
            page.unanswered[view.key] = known
        return known

    def _forget_unanswered(self, endpoint: int) -> None:
        if self._state.get(_unanswered_key(endpoint)) is not None:
            self._state.remove(_unanswered_key(endpoint))


@dataclass(slots=True, kw_only=True)
class _Page:
    """Deliveries that are restored together.

    `out` are in flight; `waiting` those that wait for one of these, and `unanswered` the last delivery without an
    answer, both by the key of the object.
    """

    out: Collection[int]
    unanswered: dict[int, int]
    waiting: dict[int, list[int]] = field(default_factory=dict)


_LISTED = "SELECT value FROM json_each(?)"
_LAST_UNANSWERED = (
    "SELECT coalesce(max(d.id), 0) FROM events e CROSS JOIN deliveries d ON d.id = e.sequence << 12 | ?1"
    " WHERE e.key = ?2 AND e.sequence > ?3 AND (d.started_us IS NOT NULL AND d.status = 0"
    " OR d.requests > 0 AND EXISTS (SELECT 1 FROM attempts a WHERE a.delivery = d.id AND a.status = 0)"
    " OR d.id IN (SELECT delivery FROM suspects))"
)
AT_ONCE = 500  # deliveries that are restored in one transaction
_MOST_IN_ROW = 10_000
_REFUSED = (
    "FROM deliveries WHERE endpoint = ? AND state = 'failed' AND refused_us > 0 AND refused_us >= ?"
    " AND reason <> ? AND restores < ?"
)


def _refused(endpoint: int, state: ParkingState) -> tuple[int | str, ...]:
    """Return the values of `_REFUSED`."""
    return endpoint, state.restoring, OUTRUN, parking.MOST_RESTORES


def _restoring(state: ParkingState, why: str) -> ParkingState:
    """Return a state with the next number, in which all is restored that was refused since the last proper answer."""
    since_us = state.restoring or state.proper_sent_us + 1
    return replace(state, number=state.number + 1, restoring=since_us, why=why, restored=0)


def _is_refusal(outcome: model.Outcome, rules: parking.ParkingRules) -> bool:
    return outcome.result is model.DeliveryResult.FAILED and outcome.status in rules.statuses


def _is_proper(outcome: model.Outcome, rules: parking.ParkingRules) -> bool:
    return outcome.result in _ANSWERED and parking.is_proper(outcome.status, rules.statuses)


def _times(outcome: model.Outcome) -> tuple[int, int]:
    """Return when a request was sent and when it was answered."""
    return outcome.started_us, outcome.started_us + int(outcome.duration_s * 1_000_000)


def _without(waiting: Mapping[int, tuple[int, ...]], key: int) -> Mapping[int, tuple[int, ...]]:
    return {known: deliveries for known, deliveries in waiting.items() if known != key}


@cache  # made for every settlement
def _parking_key(endpoint: int) -> session_state.StateKey[ParkingState]:
    return session_state.StateKey("parking", endpoint)


@cache
def _unanswered_key(endpoint: int) -> session_state.StateKey[Mapping[int, int]]:
    """Return the key of what `_last_unanswered` has found since the first page."""
    return session_state.StateKey("unanswered", endpoint)


@cache
def _waiting_key(endpoint: int) -> session_state.StateKey[Mapping[int, tuple[int, ...]]]:
    """Return the key of the failed deliveries that wait for a later one, by the key of their object."""
    return session_state.StateKey("waiting", endpoint)
