"""Publishes the notifier's work: metrics, log lines and the state that `/ready` shows.

It decides nothing. It logs one line per change of state, with numbers; lines per event are at debug level, because the
ledger holds each event's history. The text of an endpoint's answer is never logged.
"""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from beacon.domain import instants, model
from beacon.notifier.delivery import retry
from beacon.notifier.transport import answer
from beacon.runtime import log, metrics

_Label = TypeVar("_Label")

_CLAIMING = "claiming"
_WAITING = "waiting for the store"
_BROKEN = "paused after an unexpected error, see the log"
_LONGEST_LIFE_S = 10 * 365 * 86_400.0  # of a token
_LOG_INTERVAL_S = 60.0  # minimum time between two lines about events that were given up; those in between are counted
_PUBLISH_S = 0.05  # between two updates of the metrics while requests are under way: each costs as much as a request
_DOWN = 5  # consecutive outage-like answers after which an endpoint is reported as down, even without a breaker


class Telemetry:
    """The telemetry of one endpoint. For one thread."""

    def __init__(
        self, endpoint: str, *, report: Callable[[str, Mapping[str, object]], None], logger: log.Logger
    ) -> None:
        """Publish the states of the components `claim` and `endpoint` through `report`.

        Until the first attempt, whether the endpoint is up is unknown.
        """
        self._report = report
        self._log = logger
        self._attempts: Children[str] = Children(
            lambda code: metrics.DELIVERY_ATTEMPTS.labels(endpoint=endpoint, code=code)
        )
        self._retries: Children[str] = Children(
            lambda why: metrics.DELIVERY_RETRIES.labels(endpoint=endpoint, reason=why)
        )
        self._ends: Children[tuple[str, str]] = Children(
            lambda what: metrics.DELIVERIES.labels(endpoint=endpoint, type=what[0], outcome=what[1])
        )
        self._duration = metrics.DELIVERY_DURATION.labels(endpoint=endpoint)
        self._latency = metrics.DELIVERY_LATENCY.labels(endpoint=endpoint)
        self._batch = metrics.WORKER_BATCH_SIZE.labels(endpoint=endpoint)
        self._backoff = metrics.DELIVERY_BACKOFF.labels(endpoint=endpoint)
        self._exhausted = metrics.RETRIES_EXHAUSTED.labels(endpoint=endpoint)
        self._up = metrics.ENDPOINT_UP.labels(endpoint=endpoint)  # absent from a scrape until it is first set
        self._failures = metrics.ENDPOINT_CONSECUTIVE_FAILURES.labels(endpoint=endpoint)
        self._success = metrics.ENDPOINT_LAST_SUCCESS_TIMESTAMP.labels(endpoint=endpoint)
        self._open = metrics.BREAKER_OPEN.labels(endpoint=endpoint)
        self._openings = metrics.BREAKER_OPENINGS.labels(endpoint=endpoint)
        self._working = metrics.WORKER_BUSY.labels(endpoint=endpoint)
        self._endpoint = endpoint
        self._claim, self._cause, self._token_expires = "", "", ""
        self._reported = ("", "", "", "")
        self._busy, self._unpublished, self._publish_at = -1, _Unpublished(), 0.0
        self._losses = _Losses(endpoint, logger)
        self._health: tuple[int, bool] | None = None
        self._failed_since: float | None = None
        self._start()

    def claimed(self, count: int) -> None:
        """Record that the store answered a claim with `count` deliveries."""
        if count:
            self._batch.observe(count)
        if self._claim != _CLAIMING:
            if self._claim == _BROKEN:
                self._report_endpoint("unknown")
            self._report_claim(_CLAIMING)
            self._log.info("claiming started", endpoint=self._endpoint)

    def held_back(self, why: str) -> None:
        """Record that nothing is sent until an operator fixes the reason."""
        self._report_claim(f"held back: {why}")
        self._log.warning("delivery held back", reason=why, endpoint=self._endpoint)

    def silent(self) -> None:
        """Record that the store has not answered in time."""
        if self._claim not in (_WAITING, _BROKEN):
            self._report_claim(_WAITING)
            self._log.warning("store stopped answering", endpoint=self._endpoint)

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int, alive: bool) -> None:
        """Record a settled request; the next `working` adds it to the metrics.

        `failures` is the number of consecutive outage-like answers; `alive`: another answer was proper a moment ago.
        """
        new = self._unpublished
        new.sent.append((outcome.code, delivery.type, outcome.result))
        new.durations.append(outcome.duration_s)
        self._set_failures(failures, up=alive or not retry.outage_like(outcome.status))
        is_down = self._failed_since is not None or (failures >= _DOWN and not alive)
        self._report_endpoint("down" if is_down else "up")
        if outcome.result is model.DeliveryResult.RETRY:
            self._retries.of(outcome.code).inc()
            self._backoff.observe(outcome.delay_s)
        if outcome.result is model.DeliveryResult.DELIVERED:
            now = new.succeeded_at = time.time()
            new.latencies.append(max(0.0, now - delivery.committed_us / 1_000_000))
            self._losses.delivered()
        if outcome.result is model.DeliveryResult.FAILED:
            self._losses.failed(delivery, outcome)
        self._log.debug(
            "event sent",
            event_id=delivery.event_id,
            kind=delivery.kind,
            namespace=delivery.namespace,
            name=delivery.name,
            result=outcome.result,
            code=outcome.code,
            attempt=outcome.attempt,
        )

    def gave_up(self, kind: model.EventType, *, late: bool) -> None:
        """Record that an event has no attempt left; `late`: its last attempt was counted after it had been settled."""
        self._exhausted.inc()
        if late:
            self._ends.of((kind.value, model.DeliveryResult.FAILED.value)).inc()

    def working(self, busy: int) -> None:
        """Set the number of requests under way; called after every round of the loop, and at least every two seconds.

        While requests are under way, another round follows soon, so the metrics may wait for it.
        """
        now = time.monotonic()
        if busy and now < self._publish_at:
            return
        self._publish_at = now + _PUBLISH_S
        self._publish()
        self._losses.tick()
        if busy != self._busy:
            self._busy = busy
            self._working.set(busy)

    def opened(self, failures: int, code: str) -> None:
        """Record that the breaker opened after `failures` consecutive failures; `code` is the last one."""
        self._failed_since = time.monotonic()
        self._open.set(1)
        self._openings.inc()
        self._report_endpoint("down")
        self._log.warning("breaker opened", endpoint=self._endpoint, failures=failures, last=code)

    def closed(self) -> None:
        """Record that the breaker closed."""
        since, self._failed_since = self._failed_since, None
        outage_s = round(time.monotonic() - since, 3) if since is not None else 0.0
        self._open.set(0)
        self._report_endpoint("up")
        self._log.info("breaker closed", endpoint=self._endpoint, outage_s=outage_s)

    def parked(self, cause: str, statuses: Collection[int]) -> None:
        """Record that the endpoint is parked, and why; "": it is no longer. The store logs both.

        It has restored what was refused with one of the statuses.
        """
        self._cause = cause
        if cause:
            self._losses.set_aside({str(status) for status in statuses})
        self._report_endpoint("parked" if cause else "up")

    def finish(self) -> None:
        """Publish and log what is not published yet, before the process ends."""
        self._publish()
        self._losses.flush()

    def tls_failed(self, text: str) -> None:
        """Log that the TLS files can't be used."""
        self._log.warning("TLS files rejected", endpoint=self._endpoint, problem=text)

    def proxy_failed(self, text: str) -> None:
        """Log that the password file of the proxy can't be used."""
        self._log.warning("proxy password rejected", endpoint=self._endpoint, problem=text)

    def auth_failed(self, text: str) -> None:
        """Log that a file of the credentials can't be used."""
        self._log.warning("credentials rejected", endpoint=self._endpoint, problem=text)

    def token_fetched(self, life_s: float) -> None:
        """Record when the token expires that is used from now on; a life without a known end is not shown."""
        is_known = life_s < _LONGEST_LIFE_S
        self._token_expires = instants.rfc3339(int((time.time() + life_s) * 1e6)) if is_known else ""
        self._report_endpoint(self._reported[0])

    def faulted(self, error: Exception) -> None:
        """Log an unexpected error that only one request has; it is settled, and so counted, as `internal`."""
        self._log.error("request failed with an error", endpoint=self._endpoint, traceback=_traceback(error))

    def broken(self, error: Exception, *, pause_s: float) -> None:
        """Log and count an unexpected error after which the endpoint starts over, after a pause."""
        self._attempts.of(answer.INTERNAL).inc()  # of the requests in flight none is counted otherwise
        self._log.error(
            "endpoint paused after an error", endpoint=self._endpoint, pause_s=pause_s, traceback=_traceback(error)
        )
        self._publish()  # the endpoint may stay without rounds for long
        self._failed_since = None
        self._open.set(0)
        self._report_claim(_BROKEN)
        self._report_endpoint("faulty")

    def _publish(self) -> None:
        """Add the requests since the last time to the metrics: together, because each update locks and packs."""
        new = self._unpublished
        if not new.durations:
            return
        self._unpublished = _Unpublished()
        for (code, kind, result), count in Counter(new.sent).items():
            self._attempts.of(code).inc(count)
            if result is not model.DeliveryResult.RETRY:
                self._ends.of((kind.value, result.value)).inc(count)
        self._duration.observe_all(new.durations)
        if new.latencies:
            self._success.set(new.succeeded_at)
            self._latency.observe_all(new.latencies)

    def _start(self) -> None:
        self._open.set(0)
        self.working(0)
        self._report_claim(_WAITING)
        self._report_endpoint("unknown")

    def _set_failures(self, failures: int, *, up: bool) -> None:
        if (failures, up) != self._health:
            self._health = failures, up
            self._failures.set(failures)
            self._up.set(int(up))

    def _report_claim(self, state: str) -> None:
        self._claim = state
        self._report("claim", {"state": state, "endpoint": self._endpoint})

    def _report_endpoint(self, state: str) -> None:
        breaker = "open" if self._failed_since is not None else "closed"
        state = "parked" if self._cause and state != "faulty" else state
        if (state, breaker, self._cause, self._token_expires) != self._reported:
            self._reported = state, breaker, self._cause, self._token_expires
            more = {"cause": self._cause, "token_expires": self._token_expires}
            shown = {name: value for name, value in more.items() if value}
            self._report("endpoint", {"state": state, "breaker": breaker, "endpoint": self._endpoint, **shown})


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


class _Losses:
    """Logs the events that were given up: a line when the endpoint begins to refuse events, and one when it ends.

    In between, and for events that have no attempt left, their number is logged once a minute at most. An endpoint that
    refuses some events and accepts others changes its state all the time, so the first line has the same limit.
    """

    def __init__(self, endpoint: str, logger: log.Logger) -> None:
        self._log = logger
        self._endpoint = endpoint
        self._unlogged: Counter[str] = Counter()  # events that no line has counted yet, by code
        self._example: Mapping[str, str] = {}
        self._logged_at = self._announced_at = -_LOG_INTERVAL_S
        self._refusing_since: float | None = None
        self._announced = False
        self._refused = 0

    def failed(self, delivery: model.Delivery, outcome: model.Outcome) -> None:
        """Count an event that was given up."""
        now = time.monotonic()
        self._unlogged[outcome.code] += 1
        self._example = {"event_id": delivery.event_id, "kind": delivery.kind}
        self._example |= {"namespace": delivery.namespace, "name": delivery.name}
        if retry.meaning(outcome.status) is not retry.Meaning.REFUSED:
            self.tick()
            return
        if self._refusing_since is None:
            self._refusing_since, self._refused = now, 0
            self._announced = now - self._announced_at >= _LOG_INTERVAL_S
            if self._announced:
                self._announced_at = now
                self._write("endpoint refuses events", now, code=outcome.code)
        self._refused += 1
        self.tick()

    def delivered(self) -> None:
        """Note that the endpoint accepted an event."""
        if self._refusing_since is None:
            return
        seconds = round(time.monotonic() - self._refusing_since, 3)
        self._refusing_since = None
        if self._announced:
            self._log.info(
                "endpoint accepts events again", endpoint=self._endpoint, events=self._refused, seconds=seconds
            )
            self._unlogged.clear()

    def set_aside(self, codes: Collection[str]) -> None:
        """Log that events refused with these codes are not given up: the endpoint is parked, and gets them later."""
        others = Counter({code: number for code, number in self._unlogged.items() if code not in codes})
        self._unlogged -= others
        if self._unlogged:
            self._write("events set aside", time.monotonic(), codes=dict(self._unlogged))
        self._unlogged = others

    def tick(self) -> None:
        """Log the events that no line has counted, if the last line is a minute old."""
        now = time.monotonic()
        if self._unlogged and now - self._logged_at >= _LOG_INTERVAL_S:
            self._write("events given up", now, codes=dict(self._unlogged))

    def flush(self) -> None:
        """Log the events that no line has counted."""
        if self._unlogged:
            self._write("events given up", time.monotonic(), codes=dict(self._unlogged))

    def _write(self, event: str, now: float, **fields: object) -> None:
        """Write a line with the number of events since the last one, and the latest as an example."""
        events = self._unlogged.total()
        self._log.warning(event, endpoint=self._endpoint, events=events, **fields, **self._example)
        self._unlogged.clear()
        self._logged_at = now


class _Counter(Protocol):
    def inc(self, amount: float = 1) -> None: ...


@dataclass(slots=True)
class _Unpublished:
    """What the metrics do not contain yet."""

    sent: list[tuple[str, model.EventType, model.DeliveryResult]] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    succeeded_at: float = 0.0


class Children(Generic[_Label]):
    """A counter's children by label value, cached because a lookup costs as much as an update."""

    def __init__(self, make: Callable[[_Label], _Counter]) -> None:
        """Create each child with `make` at its first use."""
        self._make = make
        self._made: dict[_Label, _Counter] = {}

    def of(self, key: _Label) -> _Counter:
        """Return the child of a label value."""
        child = self._made.get(key)
        if child is None:
            child = self._made[key] = self._make(key)
        return child
