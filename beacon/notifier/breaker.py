"""Whose fault is a failure: the event's or the endpoint's; and what may be sent while it is the endpoint's.

Pure: a state machine that is told of every answer and of the time, and asked what to claim next. It knows no thread,
no socket and no clock. Architecture, section 6, "Whose fault is it?".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from beacon.domain import model
from beacon.notifier import retry

FRESH_PROBES_PER_S = 20
_SHORTEST_PROBE_S = 2.0


class BreakerMode(StrEnum):
    """What may be claimed now."""

    FULL = "full"  # closed: everything that is due, at full width
    PAUSED = "paused"  # closed, but the endpoint asked to be left alone
    HELD = "held"  # open: nothing, a probe is under way or not due yet
    FRESH = "fresh"  # open: one event that was never attempted
    PROBE = "probe"  # open: one event, whatever its backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """How many outage-like answers in a row open the breaker (0: it never opens), and how it is probed then.

    `timeout_s` is the total deadline of a request.
    """

    threshold: int
    probe_interval_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPlan:
    """What may be claimed now, and when (monotonic) that changes by itself; None: it doesn't."""

    mode: BreakerMode
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRequest:
    """A request that was made: when it fails in an outage-like way, it counts only if another event is answered.

    `counted` is how many attempts counted before it; `code`, `status` and `error` are what came back.
    """

    delivery: int
    generation: int
    attempt: int
    counted: int
    type: model.EventType
    code: str = ""
    status: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerVerdict:
    """What one answer means for its event, for the events that failed before, and for the breaker.

    `overtaken`: the request was sent before the endpoint came back and failed after that, so it says nothing about now.
    """

    counted: bool
    forgiven: bool = False
    overtaken: bool = False
    charged: tuple[MadeRequest, ...] = ()
    opened: bool = False
    closed: bool = False


@dataclass(slots=True)
class CircuitBreaker:
    """The state of one endpoint. Not safe for threads: its caller holds a lock."""

    rules: BreakerRules
    open: bool = False
    failures: int = 0  # outage-like answers in a row
    slowest_s: float = 0.0  # the slowest proper answer seen; 0: none
    _suspects: list[MadeRequest] = field(default_factory=list)
    _closed_at: float = -math.inf
    _answered_at: float = -math.inf  # when the last proper answer came
    _paused_until: float = 0.0
    _probing: bool = False
    _probed_at: float = 0.0  # when the last probe was sent, or the breaker opened
    _complete: bool = False  # the last probe, or the answer that opened, was a complete 502, 503 or 504

    def answered(self, request: MadeRequest, *, duration_s: float, now: float, probe: bool = False) -> BreakerVerdict:
        """Take note of an answer and judge it."""
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

    def heed_silence(self, began: Iterable[float], now: float) -> int:
        """Open when nothing comes back at all, without waiting for every request under way to time out.

        Gives how many requests failed or are silent when that opened the breaker, else 0.

        A request that has been under way for longer than a probe may take, while no other was answered properly,
        looks like a failure. It is none yet: it may still be answered. An endpoint that never answered is given its
        full timeout. `began` are the instants at which the requests under way were sent.
        """
        if self.open or self.rules.threshold == 0 or self.slowest_s == 0.0:
            return 0
        limit = now - self.deadline_s(probe=True)
        silent = sum(one < limit for one in began)
        if not silent or self._answered_at > limit or self.failures + silent < self.rules.threshold:
            return 0
        self._open(0, now)
        return self.failures + silent

    def pause(self, seconds: float, now: float) -> None:
        """Leave the endpoint alone for a while, as it asked. An open breaker doesn't care."""
        self._paused_until = max(self._paused_until, now + seconds)

    def admits(self, now: float) -> bool:
        """Tell whether requests go out at full width."""
        return not self.open and now >= self._paused_until

    @property
    def probing(self) -> bool:
        """Tell whether a probe is under way."""
        return self._probing

    def probe_sent(self, now: float) -> None:
        """Take note that a probe has been sent."""
        self._probing = True
        self._probed_at = now

    def probe_dropped(self) -> None:
        """Take note that the probe under way ended without an answer of its own, e.g. because Beacon stops."""
        self._probing = False

    def deadline_s(self, *, probe: bool) -> float:
        """Give the total deadline of the next request. An endpoint that never answered is probed at full length."""
        if not probe or self.slowest_s == 0.0:
            return self.rules.timeout_s
        return min(self.rules.timeout_s, max(_SHORTEST_PROBE_S, 2 * self.slowest_s))

    def plan(self, now: float) -> ClaimPlan:
        """Say what may be claimed now."""
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
        self._suspects = [suspect for suspect in self._suspects if suspect.delivery == request.delivery]
        return BreakerVerdict(counted=True, charged=charged, closed=closed)

    def _open(self, status: int, now: float) -> None:
        self.open = True
        self._suspects.clear()  # the run that opens the breaker is forgiven
        self._paused_until = 0.0
        self._probing = False
        self._probed_at = now
        self._complete = status != 0
