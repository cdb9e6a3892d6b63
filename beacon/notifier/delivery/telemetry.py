"""Publishes the notifier's work: metrics, log lines and the state that `/ready` shows.

It decides nothing. It logs one line per change of state; lines per event are at debug level, because the ledger holds
each event's history. The text of an endpoint's answer is never logged.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from beacon.domain import model
from beacon.notifier.delivery import retry
from beacon.runtime import log, metrics

_Label = TypeVar("_Label")

_CLAIMING = "claiming"
_WAITING = "waiting for the store"
_LOG_INTERVAL_S = 60.0  # minimum time between two `events given up` lines; events in between are counted
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
        self._exhausted = metrics.RETRIES_EXHAUSTED.labels(endpoint=endpoint)
        self._up = metrics.ENDPOINT_UP.labels(endpoint=endpoint)  # absent from a scrape until it is first set
        self._failures = metrics.ENDPOINT_CONSECUTIVE_FAILURES.labels(endpoint=endpoint)
        self._success = metrics.ENDPOINT_LAST_SUCCESS_TIMESTAMP.labels(endpoint=endpoint)
        self._open = metrics.BREAKER_OPEN.labels(endpoint=endpoint)
        self._openings = metrics.BREAKER_OPENINGS.labels(endpoint=endpoint)
        self._endpoint = endpoint
        self._claim = ""
        self._reported = "", ""
        self._busy = -1
        self._given_up, self._given_up_logged_at = 0, -_LOG_INTERVAL_S  # events since the last line, and its time
        self._health: tuple[int, bool] | None = None
        self._failed_since: float | None = None
        self._open.set(0)
        self.working(0)
        self._report_claim(_WAITING)
        self._report_endpoint("unknown")

    def claimed(self, count: int) -> None:
        """Record that the store answered a claim with `count` deliveries."""
        if count:
            metrics.WORKER_BATCH_SIZE.observe(count)
        if self._claim != _CLAIMING:
            self._report_claim(_CLAIMING)
            self._log.info("claiming started", endpoint=self._endpoint)

    def held_back(self, why: str) -> None:
        """Record that nothing is sent until an operator fixes the reason."""
        self._report_claim(f"held back: {why}")
        self._log.warning("delivery held back", reason=why, endpoint=self._endpoint)

    def silent(self) -> None:
        """Record that the store has not answered in time."""
        if self._claim != _WAITING:
            self._report_claim(_WAITING)
            self._log.warning("store stopped answering", endpoint=self._endpoint)

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int) -> None:
        """Record a settled request; `failures` is the number of consecutive outage-like answers."""
        self._attempts.of(outcome.code).inc()
        self._duration.observe(outcome.duration_s)
        self._set_failures(failures, up=not retry.outage_like(outcome.status))
        self._report_endpoint("down" if self._failed_since is not None or failures >= _DOWN else "up")
        if outcome.result is model.DeliveryResult.RETRY:
            self._retries.of(outcome.code).inc()
            metrics.DELIVERY_BACKOFF.observe(outcome.delay_s)
        else:
            self._ends.of((delivery.type.value, outcome.result.value)).inc()
        if outcome.result is model.DeliveryResult.DELIVERED:
            now = time.time()
            self._success.set(now)
            self._latency.observe(max(0.0, now - delivery.committed_us / 1_000_000))
        if outcome.result is model.DeliveryResult.FAILED:
            self._log_given_up(delivery, outcome)
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
        """Set the number of requests under way."""
        if busy != self._busy:
            self._busy = busy
            metrics.WORKER_BUSY.set(busy)

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

    def tls_failed(self, text: str) -> None:
        """Log that the TLS files can't be used."""
        self._log.warning("TLS files rejected", endpoint=self._endpoint, problem=text)

    def faulted(self, error: Exception) -> None:
        """Log an unexpected error while the endpoint was served; its request is settled as `internal`."""
        text = "".join(traceback.format_exception(error))
        self._log.error("endpoint served with an error", endpoint=self._endpoint, traceback=text)

    def _set_failures(self, failures: int, *, up: bool) -> None:
        if (failures, up) != self._health:
            self._health = failures, up
            self._failures.set(failures)
            self._up.set(int(up))

    def _log_given_up(self, delivery: model.Delivery, outcome: model.Outcome) -> None:
        """Log how many events were given up since the last line, with one event as an example."""
        self._given_up += 1
        now = time.monotonic()
        if now - self._given_up_logged_at < _LOG_INTERVAL_S:
            return
        fields = {"code": outcome.code, "event_id": delivery.event_id, "kind": delivery.kind}
        fields |= {"namespace": delivery.namespace, "name": delivery.name}
        self._log.warning("events given up", endpoint=self._endpoint, events=self._given_up, **fields)
        self._given_up, self._given_up_logged_at = 0, now

    def _report_claim(self, state: str) -> None:
        self._claim = state
        self._report("claim", {"state": state, "endpoint": self._endpoint})

    def _report_endpoint(self, state: str) -> None:
        breaker = "open" if self._failed_since is not None else "closed"
        if (state, breaker) != self._reported:
            self._reported = state, breaker
            self._report("endpoint", {"state": state, "breaker": breaker, "endpoint": self._endpoint})


class _Counter(Protocol):
    def inc(self) -> None: ...


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
