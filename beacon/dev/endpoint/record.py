"""Records the received requests and detects violations: duplicates, wrong order, overlaps, missing events.

It must not use sockets, clocks or threads; the caller serializes access. An event counts as seen only after it was
accepted, that is, answered with a 2xx. Requests are kept up to a limit, counts without one.
"""

import collections
import enum
from dataclasses import dataclass, field

from beacon.dev.endpoint import checks, percentiles

_NOTED = 100  # violations with a description; all are counted
# If a client aborts a request and retries on another connection, the retry may be processed before the abort.
_LEAVING_S = 0.25


class SinkOutcome(enum.StrEnum):
    """How a request without a complete response ended."""

    ABANDONED = "abandoned"  # the client disconnected before the response
    HUNG = "hung"  # it was never answered, as configured
    DRIPPED = "dripped"  # its response never ended, as configured
    RESET = "reset"  # its connection was reset, as configured
    CLOSED = "closed"  # its connection was closed, as configured
    INCOMPLETE = "incomplete"  # its body was incomplete


Answer = int | SinkOutcome

_CLIENT_LEFT = frozenset({SinkOutcome.ABANDONED, SinkOutcome.HUNG, SinkOutcome.DRIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRequest:
    """The kept parts of a request. `at_s` is wall-clock time, `started_s` monotonic."""

    at_s: float
    started_s: float
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value; empty if it was not sent."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), "")


@dataclass(slots=True, eq=False)
class SinkAttempt:
    """One request, from its arrival to its end."""

    request: SinkRequest
    event: checks.CheckedEnvelope | None
    number: int = 0  # of this event, from 1
    answer: Answer | None = None
    ended_s: float = 0.0
    note: str = ""
    index: int = 0  # among the accepted ones, from 1
    duplicate: bool = False


@dataclass(slots=True)
class _Known:
    """The state of one event id."""

    digest: int
    attempts: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Statistics of the record."""

    requests: int
    accepted: int
    distinct: int  # ids accepted
    unaccepted: int  # ids sent but not accepted so far
    refused: int  # invalid requests
    duplicates: int
    order_violations: int
    overlaps: int
    chain_gaps: int
    altered: int  # events resent with a different body
    in_flight: int
    in_flight_peak: int
    by_type: dict[str, int]
    by_status: dict[str, int]
    latency_s: percentiles.Percentiles  # from the event's time to the receipt of the accepted request
    first_accepted_at_s: float
    last_accepted_at_s: float
    violations: list[str]


@dataclass(slots=True)
class _Chain:
    """The state of one ledger's sequence."""

    keys: dict[int, str] = field(default_factory=dict)  # accepted sequence -> its object
    newest: dict[str, int] = field(default_factory=dict)  # object -> highest accepted sequence
    holes: dict[int, str] = field(default_factory=dict)  # missing sequence -> its object
    highest: int = 0
    floor: int = 0  # sequences up to here, accepted before a reset, are not missing


class SinkRecord:
    """Counts requests and violations. Per request: call `begin`, then `accept` before a 2xx is sent, then `end`."""

    def __init__(self, *, keep: int) -> None:
        self._keep = keep
        self._chains: dict[str, _Chain] = {}
        self.reset()

    def reset(self) -> None:
        """Clear the record, except for the highest sequence of each ledger."""
        self._known: dict[str, _Known] = {}
        self._chains = {ledger: _Chain(floor=max(c.highest, c.floor)) for ledger, c in self._chains.items()}
        self._flying: dict[str, list[SinkAttempt]] = {}
        self._suspects: list[tuple[SinkAttempt, float]] = []
        self._in_flight: set[SinkAttempt] = set()
        self._peak = self._requests = self._refused = self._accepted = self._distinct = 0
        self._duplicates = self._misordered = self._overlaps = self._altered = 0
        self._by_type: collections.Counter[str] = collections.Counter()
        self._by_answer: collections.Counter[Answer] = collections.Counter()
        self._latency = percentiles.Distribution()
        self._first_s = self._last_s = 0.0
        self._noted: list[str] = []
        self.accepted: collections.deque[SinkAttempt] = collections.deque(maxlen=self._keep)
        self.attempts: collections.deque[SinkAttempt] = collections.deque(maxlen=self._keep)

    def begin(self, request: SinkRequest, event: checks.CheckedEnvelope) -> SinkAttempt:
        """Record the arrival of a request."""
        attempt = SinkAttempt(request, event)
        known = self._known.get(event.id)
        digest = hash(request.body)
        if known is None:
            known = self._known[event.id] = _Known(digest)
        elif known.digest != digest and not event.redelivered:
            self._altered += 1
            self._note(f"altered: {event.id} came with another body than before")
        known.attempts += 1
        attempt.number = known.attempts
        if event.key:
            self._look_for_overlap(attempt, event)
        self._in_flight.add(attempt)
        self._peak = max(self._peak, len(self._in_flight))
        return attempt

    def accept(self, attempt: SinkAttempt) -> None:
        """Record that a request is about to be answered with a 2xx; its event counts as seen from now on."""
        event = attempt.event
        if event is None or attempt not in self._in_flight:
            return
        self._accepted += 1
        attempt.index = self._accepted
        known = self._known[event.id]
        attempt.duplicate = known.accepted > 0
        known.accepted += 1
        self._by_type[event.type] += 1
        if attempt.duplicate:
            self._duplicates += 1
            self._note(f"duplicate: {event.id} of {event.key} was accepted before")
        else:
            self._distinct += 1
            self._judge_order(event)
        if event.time_s:
            self._latency.add(max(0.0, attempt.request.at_s - event.time_s))
        self._first_s = self._first_s or attempt.request.at_s
        self._last_s = attempt.request.at_s
        self.accepted.append(attempt)

    def end(self, attempt: SinkAttempt, answer: Answer, now_s: float) -> None:
        """Record how a request ended."""
        attempt.answer, attempt.ended_s = answer, now_s
        if attempt not in self._in_flight:  # it began before a reset
            return
        self._in_flight.discard(attempt)
        self._settle_suspects(attempt, now_s)
        if attempt.event is not None and attempt.event.key:
            together = self._flying[attempt.event.key]
            together.remove(attempt)
            if not together:
                del self._flying[attempt.event.key]
        self._count(attempt)

    def refuse(self, request: SinkRequest, refusal: checks.CheckRefusal, now_s: float) -> SinkAttempt:
        """Record an invalid request and its refusal."""
        attempt = SinkAttempt(request, None, answer=refusal.status, ended_s=now_s, note=refusal.reason)
        self._refused += 1
        self._count(attempt)
        return attempt

    def lose(self, request: SinkRequest, now_s: float) -> SinkAttempt:
        """Record a request with an incomplete body."""
        attempt = SinkAttempt(request, None, answer=SinkOutcome.INCOMPLETE, ended_s=now_s)
        self._count(attempt)
        return attempt

    def seen(self, event_id: str) -> bool:
        """Return True if an event with this id was accepted."""
        known = self._known.get(event_id)
        return known is not None and known.accepted > 0

    def stats(self) -> Stats:
        """Return the current statistics."""
        return Stats(
            requests=self._requests + len(self._in_flight),
            accepted=self._accepted,
            distinct=self._distinct,
            unaccepted=len(self._known) - self._distinct,
            refused=self._refused,
            duplicates=self._duplicates,
            order_violations=self._misordered,
            overlaps=self._overlaps + len(self._suspects),
            chain_gaps=sum(len(chain.holes) for chain in self._chains.values()),
            altered=self._altered,
            in_flight=len(self._in_flight),
            in_flight_peak=self._peak,
            by_type=dict(self._by_type),
            by_status={str(answer): count for answer, count in self._by_answer.items()},
            latency_s=self._latency.percentiles(),
            first_accepted_at_s=self._first_s,
            last_accepted_at_s=self._last_s,
            violations=[*self._noted, *self._described_holes()],
        )

    def _look_for_overlap(self, attempt: SinkAttempt, event: checks.CheckedEnvelope) -> None:
        together = self._flying.setdefault(event.key, [])
        self._suspects += [(older, attempt.request.started_s) for older in together]
        together.append(attempt)

    def _settle_suspects(self, ended: SinkAttempt, now_s: float) -> None:
        """Decide about suspected overlaps with an ended request; none if its client was just disconnecting."""
        if not self._suspects:
            return
        concerned = [begun_s for older, begun_s in self._suspects if older is ended]
        self._suspects = [suspect for suspect in self._suspects if suspect[0] is not ended]
        left = ended.answer in _CLIENT_LEFT
        for begun_s in concerned:
            if not left or now_s - begun_s > _LEAVING_S:
                self._overlaps += 1
                key = ended.event.key if ended.event else ""
                self._note(f"overlap: {key} had two requests in flight")

    def _judge_order(self, event: checks.CheckedEnvelope) -> None:
        if not event.key or not event.sequence:
            return
        chain = self._chains.setdefault(event.ledger, _Chain())
        newest = chain.newest.get(event.key, 0)
        if event.sequence < newest and not event.redelivered:
            self._misordered += 1
            self._note(f"order: {event.key} sent {event.sequence} after {newest}")
        chain.newest[event.key] = max(newest, event.sequence)
        chain.highest = max(chain.highest, event.sequence)
        chain.keys[event.sequence] = event.key
        chain.holes.pop(event.sequence, None)
        if event.previous > chain.floor and chain.keys.get(event.previous) != event.key:
            chain.holes[event.previous] = event.key

    def _count(self, attempt: SinkAttempt) -> None:
        self._requests += 1
        if attempt.answer is not None:
            self._by_answer[attempt.answer] += 1
        self.attempts.append(attempt)

    def _described_holes(self) -> list[str]:
        holes = [hole for chain in self._chains.values() for hole in chain.holes.items()]
        return [f"hole: {key} never showed {sequence}" for sequence, key in holes[:_NOTED]]

    def _note(self, violation: str) -> None:
        if len(self._noted) < _NOTED:
            self._noted.append(violation)
