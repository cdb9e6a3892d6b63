"""The circuit breaker: decides whether a failure counts against the event or the endpoint, and what may be sent.

Pure: a state machine. Its caller passes in every answer and the time, and asks which claims and requests are allowed.
It uses no thread, socket or clock. An endpoint that answers some events properly while others fail is not down:
decision 6 (docs/decisions).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from beacon.domain import parking, records
from beacon.notifier.delivery import retry, suspicion

FRESH_PROBES_PER_S = 20
_ALIVE_S = 0.5  # failures for less than this time, or a proper answer within it, are no outage
_SHORTEST_PROBE_S = 2.0


class BreakerMode(StrEnum):
    """Which deliveries may be claimed now."""

    FULL = "full"  # closed: all due deliveries, at full concurrency
    PAUSED = "paused"  # closed, but the endpoint asked for a pause
    PARKED = "parked"  # none: the endpoint is parked, and no probe is due
    HELD = "held"  # open: none; a probe is under way, or not due yet
    FRESH = "fresh"  # open: one event that has never been attempted
    PROBE = "probe"  # open: one event, even during its backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """How many consecutive outage-like answers may open the breaker (0: it never opens), and how an open one probes.

    `timeout_s` is the total deadline of a request. `refusals` are the statuses that may park the endpoint: they are not
    proper answers.
    """

    threshold: int
    probe_interval_s: float
    timeout_s: float
    refusals: frozenset[int] = frozenset()


@records.record
class ClaimPlan:
    """Which deliveries may be claimed, and until when (monotonic time) that is valid; None: until the next answer."""

    mode: BreakerMode
    until: float | None = None


@records.record
class BreakerVerdict:
    """The consequences of one answer: for its event, for events that failed earlier, and for the breaker.

    `overtaken`: the request was sent before the endpoint recovered and failed after it, so it is not counted.
    """

    counted: bool
    forgiven: bool = False
    overtaken: bool = False
    charged: tuple[suspicion.MadeRequest, ...] = ()
    opened: bool = False
    closed: bool = False


ACCEPTED = BreakerVerdict(counted=True)  # an event was accepted, and nothing else follows


@dataclass(slots=True)
class CircuitBreaker:
    """The state of one endpoint. For one thread."""

    rules: BreakerRules
    open: bool = False
    failures: int = 0  # consecutive outage-like answers
    failure_code: str = ""  # of the latest of them
    slowest_s: float = 0.0  # the longest answer of the endpoint itself so far; 0: none
    _suspicions: suspicion.Suspicions = field(default_factory=suspicion.Suspicions)
    _closed_at: float = -math.inf
    _answered_at: float = -math.inf  # when the endpoint itself last answered
    _proper_at: float = -math.inf  # when the last proper answer arrived
    _failing_since: float = -math.inf  # when the first of the consecutive failures came back
    _begun_at: float = -math.inf  # when the last request was begun
    _unanswered: bool = False  # the last outage-like failure had no complete answer
    _paused_until: float = 0.0
    _probing: bool = False
    _probed_at: float = 0.0  # when the last probe was sent, or the breaker opened
    _complete: bool = False  # the last probe, or the answer that opened, was complete

    def answered(
        self, request: suspicion.MadeRequest, *, duration_s: float, now: float, probe: bool = False
    ) -> BreakerVerdict:
        """Record an answer and return its consequences."""
        if probe:
            self._probing = False
        if not retry.outage_like(request.status):
            return self._answered_itself(request, duration_s, now)
        if not self.open and now - duration_s < self._closed_at:
            return BreakerVerdict(counted=False, forgiven=True, overtaken=True)
        self._note_failure(request, now)
        if self.rules.threshold == 0:
            return BreakerVerdict(counted=True)
        if self.open:
            if probe:
                self._complete = request.status != 0
            return BreakerVerdict(counted=False, forgiven=True)
        self._suspicions.add(request, now)
        if self._is_down(now):
            self._open(complete=request.status != 0, now=now)
            return BreakerVerdict(counted=False, forgiven=True, opened=True)
        return BreakerVerdict(counted=False, forgiven=True)

    @property
    def in_doubt(self) -> bool:
        """Return True if an accepted event may have more consequences than `ACCEPTED`."""
        return self.open or self._suspicions.any

    def accepted(self, *, duration_s: float, now: float) -> BreakerVerdict:
        """Record that an event was accepted while nothing is in doubt: the same as `answered`, but cheaper."""
        self._answered_at = self._proper_at = now
        self.failures = 0
        self.slowest_s = max(self.slowest_s, duration_s)
        return ACCEPTED

    def detect_outage(self, now: float) -> bool:
        """Open the breaker if the endpoint has failed for long enough, although nothing is sent any more."""
        if self.open or not self._is_down(now):
            return False
        self._open(complete=not self._unanswered, now=now)
        return True

    def detect_silence(self, began: Iterable[float], now: float) -> int:
        """Open the breaker when no request is answered, without waiting for all of them to time out.

        Return the number of failed and unanswered requests if that opened the breaker, else 0.

        A request that takes longer than a probe may take, while no other is answered properly, is treated like a
        failure, although it may still be answered. An endpoint that has never answered gets its full timeout. `began`
        holds the send times of the requests under way.
        """
        if self.open or self.rules.threshold == 0 or self.slowest_s == 0.0:
            return 0
        limit = now - self.deadline_s(probe=True)
        silent = sum(one < limit for one in began)
        if not silent or self._answered_at > limit or self.failures + silent < self.rules.threshold:
            return 0
        self._open(complete=False, now=now)
        return self.failures + silent

    def finished(self, delivery: int) -> None:
        """Forget the failures of an event that is finished: nothing counts against it any more."""
        self._suspicions.finished(delivery)

    def is_alive(self, now: float) -> bool:
        """Return True if the endpoint has answered properly a moment ago, whatever has failed since."""
        return now - self._proper_at < _ALIVE_S

    def next_request_at(self, *, under_way: int) -> float | None:
        """Return when the next request may be begun while the breaker is closed; None: when another one has ended.

        An endpoint that gives no answers, but did a moment ago, gets one request at a time, at most 20 a second.
        """
        in_doubt = 0 < self.rules.threshold <= self.failures and self._unanswered and not self.open
        if not in_doubt:
            return -math.inf
        return None if under_way else self._begun_at + 1 / FRESH_PROBES_PER_S

    def begun(self, now: float) -> None:
        """Record that a request was begun."""
        self._begun_at = now

    def pause(self, seconds: float, now: float) -> None:
        """Pause for as long as the endpoint asked. An open breaker ignores the pause."""
        self._paused_until = max(self._paused_until, now + seconds)

    def admits(self, now: float) -> bool:
        """Return True if requests may be sent at full concurrency."""
        return not self.open and now >= self._paused_until

    @property
    def probing(self) -> bool:
        """Return True if a probe is under way."""
        return self._probing

    def probe_sent(self, now: float) -> None:
        """Record that a probe was sent."""
        self._probing = True
        self._probed_at = now

    def probe_dropped(self) -> None:
        """Record that the probe under way ended without an answer, e.g. because the notifier stops."""
        self._probing = False

    def deadline_s(self, *, probe: bool) -> float:
        """Return the total deadline of the next request. An endpoint that has never answered gets the full timeout."""
        if not probe or self.slowest_s == 0.0:
            return self.rules.timeout_s
        return min(self.rules.timeout_s, max(_SHORTEST_PROBE_S, 2 * self.slowest_s))

    def plan(self, now: float) -> ClaimPlan:
        """Return which deliveries may be claimed now."""
        if not self.open:
            down_at = self._down_at()
            if now < self._paused_until:
                until = self._paused_until if down_at is None else min(self._paused_until, down_at)
                return ClaimPlan(mode=BreakerMode.PAUSED, until=until)
            return ClaimPlan(mode=BreakerMode.FULL, until=down_at)
        if self._probing:
            return ClaimPlan(mode=BreakerMode.HELD)
        probe_at = self._probed_at + self.rules.probe_interval_s
        if now >= probe_at:
            return ClaimPlan(mode=BreakerMode.PROBE)
        if not self._complete:
            return ClaimPlan(mode=BreakerMode.HELD, until=probe_at)
        fresh_at = self._probed_at + 1 / FRESH_PROBES_PER_S
        if now < fresh_at:
            return ClaimPlan(mode=BreakerMode.HELD, until=min(fresh_at, probe_at))
        return ClaimPlan(mode=BreakerMode.FRESH, until=probe_at)

    def _answered_itself(self, request: suspicion.MadeRequest, duration_s: float, now: float) -> BreakerVerdict:
        """Record an answer of the endpoint itself: it ends the row. Earlier failures count only if it is proper."""
        closed = self.open
        self._answered_at = now
        if closed:
            self.open, self._closed_at = False, now
        self.failures = 0
        self.slowest_s = max(self.slowest_s, duration_s)
        self._suspicions.answered(request)
        if not parking.is_proper(request.status, self.rules.refusals):
            return BreakerVerdict(counted=True, closed=closed)
        self._proper_at = now
        charged = self._suspicions.charge(sent_at=now - duration_s, own=request.delivery)
        return BreakerVerdict(counted=True, charged=charged, closed=closed)

    def _note_failure(self, request: suspicion.MadeRequest, now: float) -> None:
        self.failures += 1
        if self.failures == 1:
            self._failing_since = now
        self.failure_code, self._unanswered = request.code, request.status == 0

    def _down_at(self) -> float | None:
        """Return when the failures so far make an outage if nothing else is answered; None: they are too few."""
        if self.rules.threshold == 0 or self.failures < self.rules.threshold:
            return None
        return max(self._proper_at, self._failing_since) + _ALIVE_S

    def _is_down(self, now: float) -> bool:
        down_at = self._down_at()
        return down_at is not None and now >= down_at

    def _open(self, *, complete: bool, now: float) -> None:
        self.open = True
        self._suspicions.clear()  # failures that opened the breaker do not count against their events
        self._paused_until = 0.0
        self._probing = False
        self._probed_at = now
        self._complete = complete
