"""The circuit breaker: decides whether a failure counts against the event or the endpoint, and what may be sent.

Pure: a state machine. Its caller passes in every answer and the time, and asks which claims are allowed. It uses no
thread, socket or clock. Decision 6 (docs/decisions).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from beacon.domain import model
from beacon.notifier.delivery import retry

FRESH_PROBES_PER_S = 20
_SHORTEST_PROBE_S = 2.0


class BreakerMode(StrEnum):
    """Which deliveries may be claimed now."""

    FULL = "full"  # closed: all due deliveries, at full concurrency
    PAUSED = "paused"  # closed, but the endpoint asked for a pause
    HELD = "held"  # open: none; a probe is under way, or not due yet
    FRESH = "fresh"  # open: one event that has never been attempted
    PROBE = "probe"  # open: one event, even during its backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """How many consecutive outage-like answers open the breaker (0: it never opens), and how an open one probes.

    `timeout_s` is the total deadline of a request.
    """

    threshold: int
    probe_interval_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPlan:
    """Which deliveries may be claimed, and until when (monotonic time) that is valid; None: until the next answer."""

    mode: BreakerMode
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRequest:
    """One request and its answer. An outage-like failure counts only if another event is answered properly later.

    `counted` is the number of earlier attempts that count; `code`, `status` and `error` describe the answer. `latest`
    is the event's latest attempt, if that is another one.
    """

    delivery: int
    generation: int
    attempt: int
    counted: int
    type: model.EventType
    code: str = ""
    status: int = 0
    error: str = ""
    latest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerVerdict:
    """The consequences of one answer: for its event, for events that failed earlier, and for the breaker.

    `overtaken`: the request was sent before the endpoint recovered and failed after it, so it is not counted.
    """

    counted: bool
    forgiven: bool = False
    overtaken: bool = False
    charged: tuple[MadeRequest, ...] = ()
    opened: bool = False
    closed: bool = False


@dataclass(slots=True)
class CircuitBreaker:
    """The state of one endpoint. For one thread."""

    rules: BreakerRules
    open: bool = False
    failures: int = 0  # consecutive outage-like answers
    slowest_s: float = 0.0  # the longest proper answer so far; 0: none
    _suspects: list[MadeRequest] = field(default_factory=list)
    _closed_at: float = -math.inf
    _answered_at: float = -math.inf  # when the last proper answer arrived
    _paused_until: float = 0.0
    _probing: bool = False
    _probed_at: float = 0.0  # when the last probe was sent, or the breaker opened
    _complete: bool = False  # the last probe, or the answer that opened, was a complete 502, 503 or 504

    def answered(self, request: MadeRequest, *, duration_s: float, now: float, probe: bool = False) -> BreakerVerdict:
        """Record an answer and return its consequences."""
        if probe:
            self._probing = False
        if not retry.outage_like(request.status):
            return self._answered_properly(request, duration_s, now)
        if not self.open and now - duration_s < self._closed_at:
            return BreakerVerdict(counted=False, forgiven=True, overtaken=True)
        self.failures += 1
        if self.rules.threshold == 0:
            return BreakerVerdict(counted=True)
        if self.open:
            if probe:
                self._complete = request.status != 0
            return BreakerVerdict(counted=False, forgiven=True)
        if self.failures >= self.rules.threshold:
            self._open(request.status, now)
            return BreakerVerdict(counted=False, forgiven=True, opened=True)
        self._suspects.append(request)
        return BreakerVerdict(counted=False, forgiven=True)

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
        self._open(0, now)
        return self.failures + silent

    def finished(self, delivery: int) -> None:
        """Forget the failures of an event that is finished: nothing counts against it any more."""
        self._suspects = [suspect for suspect in self._suspects if suspect.delivery != delivery]

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
            paused = now < self._paused_until
            return (
                ClaimPlan(mode=BreakerMode.PAUSED, until=self._paused_until)
                if paused
                else ClaimPlan(mode=BreakerMode.FULL)
            )
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

    def _answered_properly(self, request: MadeRequest, duration_s: float, now: float) -> BreakerVerdict:
        closed = self.open
        self._answered_at = now
        if closed:
            self.open, self._closed_at = False, now
        self.failures = 0
        self.slowest_s = max(self.slowest_s, duration_s)
        charged = tuple(suspect for suspect in self._suspects if suspect.delivery != request.delivery)
        self._suspects = [
            replace(suspect, counted=request.counted + 1, latest=request.attempt)
            for suspect in self._suspects
            if suspect.delivery == request.delivery
        ]
        return BreakerVerdict(counted=True, charged=charged, closed=closed)

    def _open(self, status: int, now: float) -> None:
        self.open = True
        self._suspects.clear()  # failures that opened the breaker do not count against their events
        self._paused_until = 0.0
        self._probing = False
        self._probed_at = now
        self._complete = status != 0
