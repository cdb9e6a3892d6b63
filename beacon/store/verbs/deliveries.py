"""Deliveries: claims of the notifier, their sessions and fencing, and the leases of deliveries to it.

Settling writes, within the service's transaction: see `settlements`. Leasing only reads and updates memory: a leased
delivery is still `ready` in the ledger, so that nothing must be repaired after a process was terminated.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace

from beacon import codec, wire
from beacon.domain import instants, model, records
from beacon.domain import parking as parking_rules
from beacon.store.ledger import database, packing, session_state
from beacon.store.verbs import catch_up, endpoint_control, parking, settlements
from beacon.store.verbs import suspects as suspected

_SHARE_OF_RETRIES = 5  # at least 1 in 5 deliveries of a claim is a retry, if retries are due
_SHARE_OF_BACKGROUND = 5  # at most 1 in 5 is of a catch-up while live deliveries are due
_REMEMBERED_FENCED = 16
_REPORTED_S = 1.0  # within which the answer to a test event is reported
_MOST_AT_ONCE = 10_000  # deliveries in one reply, whatever a claim wants
_MOST_DATA = 8 * 1024 * 1024  # characters of their data; a single delivery may exceed it


@records.record
class _NotifierSession:
    """The active notifier of an endpoint.

    `unacknowledged` are replies that may not have arrived yet: claim number -> reply.
    """

    name: str
    endpoint: str
    number: int = 0
    held: frozenset[int] = frozenset()
    unacknowledged: Mapping[int, wire.Claimed] = field(default_factory=dict)


_CLAIMED_AT: session_state.StateKey[int] = session_state.StateKey("claimed")


class Deliveries:
    """Serves the verb `claim`."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        now_us: Callable[[], int],
        *,
        park: Mapping[str, parking_rules.ParkingRules | None] | None = None,
    ) -> None:
        """Work on the given ledger; `now_us` is the wall clock, `park` the rules of the endpoints."""
        self._ledger = ledger
        self._state = state
        self.now_us = now_us
        self._catch_ups = catch_up.CatchUps(ledger, state)
        self._halts = endpoint_control.Halts(ledger, state)
        self._endpoints: dict[str, int] = {}
        self._without_retries: set[int] = set()  # endpoints of which it is known that no delivery was tried and waits
        self._tests: list[tuple[str, int]] = []  # endpoint and earliest send time of test events, properly answered
        self.suspects = suspected.Suspects(ledger, state)
        self.parking = parking.Parking(ledger, state, park or {}, on_retry=self._without_retries.discard)
        self._settlements = settlements.Settlements(
            ledger, state, self.suspects, self.parking, on_retry=self._without_retries.discard
        )

    def endpoint_id(self, name: str) -> int:
        """Return the id of an endpoint, 0 if the ledger has none of that name."""
        if name not in self._endpoints:
            row = self._ledger.row("SELECT id FROM endpoints WHERE name = ?", (name,))
            if row is None:
                return 0
            self._endpoints[name] = row[0]
        return self._endpoints[name]

    def settle(self, claim: wire.Claim, now_us: int) -> None:
        """Write the outcomes of earlier deliveries; every settlement is applied once, even if it is repeated."""
        self.suspects.record(claim, now_us)
        endpoint, out = self.endpoint_id(claim.endpoint), self._out(claim)
        self.parking.begin(claim, endpoint, out, now_us)
        self._settlements.apply(claim, endpoint, now_us)
        self.parking.look(endpoint, claim.endpoint, out, now_us)
        if claim.resume:
            self._ledger.run(
                "UPDATE deliveries SET next_attempt_us = min(next_attempt_us, ?), forgiven = 0"
                " WHERE endpoint = ? AND state = 'ready' AND requests > 0 AND forgiven = 1",
                (now_us, self.endpoint_id(claim.endpoint)),
            )

    def has_writes(self, claim: wire.Claim) -> bool:
        """Return True if the claim requires a write."""
        if claim.settlements or claim.died_with or claim.resume or claim.renewed:
            return True
        state = self.parking.known(self._endpoints.get(claim.endpoint, 0))
        return state is not None and (state.restoring > 0 or claim.parking > state.number)

    def prepare(self, names: Iterable[str]) -> None:
        """Read which of the configured endpoints are parked, at the start."""
        for name in names:
            self.parking.of(self.endpoint_id(name))

    def park_at_us(self) -> int | None:
        """Return when an endpoint that has a notifier must be looked at again.

        It may have to be parked, or what it refused is being restored.
        """
        if self._tests or self.is_restoring():
            return 0
        times = (self.parking.park_at_us(number, name) for name, number in self._served())
        return min((at_us for at_us in times if at_us is not None), default=None)

    def is_restoring(self) -> bool:
        """Return True if what an endpoint refused is being restored, and its notifier has named what is in flight."""
        return any(self.parking.is_restoring(number) for _, number in self._served())

    def note_test(self, result: wire.TestEventResult) -> None:
        """Remember a proper answer to a test event, for `park_refusing`; others say nothing about parking."""
        rules = self.parking.rules_of(result.endpoint)
        if rules is not None and parking_rules.is_proper(result.status, rules.statuses):
            self._tests.append((result.endpoint, self.now_us() - _micros(result.seconds + _REPORTED_S)))

    def tests_applied(self) -> None:
        """Forget the answers to test events, which are committed."""
        self._tests.clear()

    def park_refusing(self, now_us: int) -> None:
        """Park the endpoints whose refusals have lasted for long enough without a proper answer; go on restoring."""
        for name, sent_us in self._tests:
            self.parking.test_answered(self.endpoint_id(name), name, sent_us, now_us)
        for name, number in self._served():
            if self.parking.is_restoring(number):
                self.parking.go_on(number, name, self.in_flight(name), now_us)
            self.parking.look(number, name, self.in_flight(name), now_us)

    def resume(self, endpoint: int, name: str, now_us: int) -> tuple[int, int]:
        """End the parking of an endpoint, and restore what it refused; return how much that is already, and is left."""
        session = self._state.get(_session_key(name))
        restored = self.parking.end(endpoint, name, "resumed", now_us, _leased(session) if session else None)
        return restored, self.parking.left(endpoint)

    def _served(self) -> list[tuple[str, int]]:
        """Return the endpoints that have a notifier."""
        return [(name, number) for name, number in self._endpoints.items() if self._state.get(_session_key(name))]

    def _out(self, claim: wire.Claim) -> frozenset[int]:
        """Return the deliveries that a notifier holds or is about to receive when a claim is settled."""
        session = self._state.get(_session_key(claim.endpoint))
        settled = {one.delivery for one in claim.settlements}
        if session is None or session.name != claim.session:
            return (frozenset(claim.held) - settled).union(_leased(session) if session else ())
        seen = claim.number - 1 if claim.seen < 0 else claim.seen
        replies = (reply for number, reply in session.unacknowledged.items() if number > seen)
        return frozenset(claim.held).union(*map(_ids, replies)) - settled

    def lease(self, claim: wire.Claim, now_us: int) -> wire.Claimed | None:
        """Reply to a claim whose settlements are committed; None if nothing is due."""
        session = self._session_of(claim)
        if session is None:
            return wire.Claimed(number=claim.number, fenced=True)
        if claim.number in session.unacknowledged:
            return session.unacknowledged[claim.number]
        if claim.number <= session.number:
            return wire.Claimed(number=claim.number)
        leased = _leased(session)
        self.suspects.look()
        endpoint = self.endpoint_id(claim.endpoint)
        self._look_for_retries(endpoint)
        is_parked = self.parking.is_parked(endpoint)
        is_held = self._halts.is_halted(endpoint) or self.parking.is_restoring(endpoint)
        wanted = claim.want > 0 and not is_held and claim.parked is is_parked
        found = self._choose(claim, leased, now_us) if wanted and (claim.probe or not is_parked) else []
        self._remember(session)
        if claim.want > 0 and not found and claim.parked is is_parked:
            return None
        return self._answer(claim, session, leased, found)

    def answer_empty(self, claim: wire.Claim) -> wire.Claimed:
        """Reply to a claim without deliveries: it timed out, or the next claim has arrived."""
        session = self._session_of(claim)
        if session is None:
            return wire.Claimed(number=claim.number, fenced=True)
        if claim.number in session.unacknowledged:
            return session.unacknowledged[claim.number]
        leased = _leased(session)
        return self._answer(claim, session, leased, [])

    def next_due_us(self, claim: wire.Claim) -> int | None:
        """Return the instant at which the next retry for this claim is due, None if it requests none."""
        session = self._state.get(_session_key(claim.endpoint))
        if claim.want <= 0 or claim.probe or session is None:
            return None
        endpoint = self.endpoint_id(claim.endpoint)
        is_held = self._halts.is_halted(endpoint) or self.parking.is_restoring(endpoint)
        if is_held or self.parking.is_parked(endpoint):
            return None
        leased, now_us = _leased(session), self.now_us()
        suspects = self.suspects.of(claim.endpoint)
        if not suspected.turn(suspects, leased, now_us, probe=False).others:
            return None
        aside = leased.union(one.delivery for one in suspects)
        rows = self._ledger.rows(
            "SELECT id, next_attempt_us FROM deliveries WHERE endpoint = ? AND state = 'ready' AND requests > 0"
            " ORDER BY next_attempt_us LIMIT ?",
            (self.endpoint_id(claim.endpoint), len(aside) + 1),
        )
        dues = [due_us for delivery, due_us in rows if delivery not in aside][:1]
        turn_us = suspected.next_turn_us(suspects, leased, now_us)
        return min([*dues, *([turn_us] if turn_us is not None else [])], default=None)

    def claimed_us(self) -> int:
        """Return the instant of the latest claim, 0 if there was none."""
        return self._state.get(_CLAIMED_AT) or 0

    def in_flight(self, endpoint: str) -> frozenset[int]:
        """Return the endpoint's deliveries that the notifier holds."""
        session = self._state.get(_session_key(endpoint))
        return _leased(session) if session else frozenset()

    def _session_of(self, claim: wire.Claim) -> _NotifierSession | None:
        """Return the claim's session with the deliveries that it holds now; None if another notifier is active."""
        fenced = self._state.get(_fenced_key(claim.endpoint)) or ()
        self._state.put(_CLAIMED_AT, self.now_us())
        if claim.session in fenced:
            return None
        session = self._state.get(_session_key(claim.endpoint))
        if session is None or session.name != claim.session:
            if session is not None:
                self._state.put(_fenced_key(claim.endpoint), (*fenced, session.name)[-_REMEMBERED_FENCED:])
                self.parking.forget_waiting(self.endpoint_id(claim.endpoint))
            session = _NotifierSession(name=claim.session, endpoint=claim.endpoint)
            self._remember(session)
        if claim.number <= session.number:
            return session
        seen = claim.number - 1 if claim.seen < 0 else claim.seen
        unacknowledged = {number: reply for number, reply in session.unacknowledged.items() if number > seen}
        settled = {outcome.delivery for outcome in claim.settlements}
        held = frozenset(claim.held) - settled
        return replace(session, held=held, unacknowledged=unacknowledged)

    def _answer(
        self, claim: wire.Claim, session: _NotifierSession, leased: frozenset[int], found: list[model.Delivery]
    ) -> wire.Claimed:
        row = self._ledger.row(
            "SELECT number FROM counts WHERE what = 'deliveries' AND name = ? AND state = 'ready'",
            (str(self.endpoint_id(claim.endpoint)),),
        )
        backlog = max(0, (row[0] if row else 0) - len(leased) - len(found))
        state = self.parking.of(self.endpoint_id(claim.endpoint))
        reply = wire.Claimed(
            number=claim.number,
            deliveries=tuple(found),
            backlog=backlog,
            parking=state.number,
            parked=state.cause if state.parked_us else "",
        )
        unacknowledged = {**session.unacknowledged, claim.number: reply}
        self._remember(replace(session, number=max(session.number, claim.number), unacknowledged=unacknowledged))
        return reply

    def _remember(self, session: _NotifierSession) -> None:
        self._state.put(_session_key(session.endpoint), session)

    def _choose(self, claim: wire.Claim, leased: frozenset[int], now_us: int) -> list[model.Delivery]:
        """Return the deliveries that are due; suspects come last and alone."""
        suspects = self.suspects.of(claim.endpoint)
        if not suspects:
            return self._choose_others(claim, leased, now_us)
        turn = suspected.turn(suspects, leased, now_us, probe=claim.probe)
        aside = leased.union(one.delivery for one in suspects)
        found = self._choose_others(claim, aside, now_us) if turn.others else []
        if found or not turn.suspect or claim.fresh_only:
            return found
        return self._select("d.id = ?", (turn.suspect,), leased, 1)

    def _choose_others(self, claim: wire.Claim, leased: frozenset[int], now_us: int) -> list[model.Delivery]:
        if claim.probe:
            return self._choose_probe(claim, leased)
        endpoint = self.endpoint_id(claim.endpoint)
        due = [] if endpoint in self._without_retries else self._select(_DUE, (endpoint, now_us), leased, claim.want)
        kept = min(len(due), max(1, claim.want // _SHARE_OF_RETRIES)) if claim.want > 1 else 0
        fresh = self._choose_fresh(endpoint, leased, claim.want - kept)
        return fresh + due[: claim.want - len(fresh)]

    def _look_for_retries(self, endpoint: int) -> None:
        """Remember that an endpoint has no retries, which is common: then none must be searched."""
        if endpoint not in self._without_retries and not self._ledger.row(_ANY_RETRY, (endpoint,)):
            self._without_retries.add(endpoint)

    def _choose_fresh(self, endpoint: int, leased: frozenset[int], want: int) -> list[model.Delivery]:
        """Return deliveries without a request: those of a catch-up fill the rest, or are a fifth beside live ones."""
        if not self._catch_ups.has_background(endpoint):
            return self._select(_FRESH, (endpoint,), leased, want)
        before = self._state.get(_live_key(endpoint)) or 0
        live = self._select(_FRESH, (endpoint,), leased, want)
        share = (before + want) // _SHARE_OF_BACKGROUND
        wanted = min(want, max(want - len(live), share))
        background = self._select(_BACKGROUND, (endpoint,), leased, wanted)
        live = live[: want - len(background)]
        unspent = before + len(live) - (_SHARE_OF_BACKGROUND - 1) * len(background)
        self._state.put(_live_key(endpoint), max(0, min(unspent, _SHARE_OF_BACKGROUND - 1)))
        if not background and not leased and wanted:
            self._catch_ups.no_background(endpoint)
        return live + background

    def _choose_probe(self, claim: wire.Claim, leased: frozenset[int]) -> list[model.Delivery]:
        endpoint = self.endpoint_id(claim.endpoint)
        found = self._select(_NEWEST, (endpoint,), leased, 1) or self._select(_NEWEST_BEHIND, (endpoint,), leased, 1)
        if found or claim.fresh_only:
            return found
        return self._select(_LEAST_RECENT, (endpoint,), leased, 1)

    def _select(
        self, which: str, values: tuple[str | int, ...], leased: frozenset[int], want: int
    ) -> list[model.Delivery]:
        if want <= 0:
            return []
        held = codec.encode(list(leased)).decode()
        rows = self._ledger.each(f"{_WHOLE} {which} LIMIT ?", (held, *values, min(want, _MOST_AT_ONCE)))
        return _bounded(map(_delivery, rows))


def _session_key(endpoint: str) -> session_state.StateKey[_NotifierSession]:
    return session_state.StateKey("notifier", endpoint)


def _live_key(endpoint: int) -> session_state.StateKey[int]:
    """Return the key of the number of live deliveries that were leased since one of a catch-up was."""
    return session_state.StateKey("live", endpoint)


def _fenced_key(endpoint: str) -> session_state.StateKey[tuple[str, ...]]:
    return session_state.StateKey("fenced", endpoint)


_COLUMNS = (
    "d.id, d.generation, e.id, d.previous, e.type, e.api_version, k.kind, k.api_group, k.namespace, k.name,"
    " e.detected_us, e.committed_us, d.attempts, d.requests, e.data, d.out_of_order, d.restores"
)
_WHOLE = (
    f"SELECT {_COLUMNS} FROM deliveries d CROSS JOIN events e ON e.sequence = d.id >> 12"
    " CROSS JOIN order_keys k ON k.id = d.key WHERE d.id NOT IN (SELECT value FROM json_each(?)) AND"
)
_ANY_RETRY = "SELECT 1 FROM deliveries WHERE endpoint = ? AND state = 'ready' AND requests > 0 LIMIT 1"
_LIVE = "d.endpoint = ? AND d.state = 'ready' AND d.requests = 0 AND d.background = 0"
_BEHIND = "d.endpoint = ? AND d.state = 'ready' AND d.requests = 0 AND d.background = 1"
_FRESH = f"{_LIVE} ORDER BY d.id"
_NEWEST = f"{_LIVE} ORDER BY d.id DESC"
_BACKGROUND = f"{_BEHIND} ORDER BY d.id"
_NEWEST_BEHIND = f"{_BEHIND} ORDER BY d.id DESC"
_DUE = "d.endpoint = ? AND d.state = 'ready' AND d.requests > 0 AND d.next_attempt_us <= ? ORDER BY d.next_attempt_us"
_LEAST_RECENT = "d.endpoint = ? AND d.state = 'ready' AND d.requests > 0 ORDER BY d.last_tried_us"
# A look-up is faster than the call of the enum.
_EVENT_TYPES = {str(type_): type_ for type_ in model.EventType}


def _bounded(found: Iterable[model.Delivery]) -> list[model.Delivery]:
    """Return the first deliveries, as many as fit in one reply."""
    taken: list[model.Delivery] = []
    size = 0
    for one in found:
        size += len(one.data)
        if taken and size > _MOST_DATA:
            break
        taken.append(one)
    return taken


def _micros(seconds: float) -> int:
    """Return a duration in microseconds, limited so that an instant can be shifted by it."""
    return int(min(max(seconds, 0.0), instants.LONGEST_S) * 1_000_000)


def _leased(session: _NotifierSession) -> frozenset[int]:
    """Return the deliveries that the notifier has or is about to receive."""
    return session.held.union(*(_ids(reply) for reply in session.unacknowledged.values()))


def _ids(reply: wire.Claimed) -> frozenset[int]:
    return frozenset(delivery.id for delivery in reply.deliveries)


def _delivery(row: database.Row) -> model.Delivery:
    return model.Delivery(
        id=row[0],
        generation=row[1],
        event_id=packing.unpacked(row[2]),
        sequence=row[0] >> packing.ENDPOINT_BITS,
        previous=row[3],
        type=_EVENT_TYPES[row[4]],
        api_version=row[5],
        kind=row[6],
        group=row[7],
        namespace=row[8],
        name=row[9],
        detected_us=row[10],
        committed_us=row[11],
        attempts=row[12],
        requests=row[13],
        data=row[14],
        redelivered=row[1] > row[16],
        out_of_order=bool(row[15]),
    )
