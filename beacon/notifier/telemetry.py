"""What the outside gets to see of the notifier's work: metrics, log lines and the state that `/ready` asks for.

It decides nothing. One line per change of state; what happens once per event is at debug, because the ledger tells an
event's story. Nothing of what an endpoint answers is logged.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from beacon.domain import model
from beacon.notifier import retry
from beacon.runtime import log, metrics

_CLAIMING = "claiming"
_WAITING = "waiting for the store"
_SAY_AGAIN_S = 60.0  # events that are given up are counted for so long before another line says how many
_DOWN = 5  # outage-like answers in a row that make an endpoint down for people, with the breaker disabled too


class Telemetry:
    """Tells about one endpoint. Its caller sees to it that one thread at a time does."""

    def __init__(self, endpoint: str, *, report: Callable[[str, Mapping[str, Any]], None], logger: log.Logger) -> None:
        """Publish the states of the components `claim` and `endpoint` through `report`.

        Until the first attempt nothing is said of the endpoint being up.
        """
        self._report = report
        self._log = logger
        self._attempts = Children(lambda code: metrics.DELIVERY_ATTEMPTS.labels(endpoint=endpoint, code=code))
        self._retries = Children(lambda why: metrics.DELIVERY_RETRIES.labels(endpoint=endpoint, reason=why))
        self._ends = Children(lambda what: metrics.DELIVERIES.labels(endpoint=endpoint, type=what[0], outcome=what[1]))
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
        self._said = "", ""
        self._busy = -1
        self._lost, self._lost_said_at = 0, -_SAY_AGAIN_S  # events given up since that was said last, and when it was
        self._health: tuple[int, bool] | None = None
        self._failed_since: float | None = None
        self._open.set(0)
        self.working(0)
        self._say_claim(_WAITING)
        self._say_endpoint("unknown")

    def claimed(self, count: int) -> None:
        """The store has answered a claim with so many deliveries."""
        if count:
            metrics.WORKER_BATCH_SIZE.observe(count)
        if self._claim != _CLAIMING:
            self._say_claim(_CLAIMING)
            self._log.info("claiming began", endpoint=self._endpoint)

    def held_back(self, why: str) -> None:
        """Nothing is sent yet, for a reason that a person can change."""
        self._say_claim(f"held back: {why}")
        self._log.warning("delivery held back", reason=why, endpoint=self._endpoint)

    def silent(self) -> None:
        """The store has not answered in time."""
        if self._claim != _WAITING:
            self._say_claim(_WAITING)
            self._log.warning("store fell silent", endpoint=self._endpoint)

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int) -> None:
        """A request was made and settled; `failures` is the number of outage-like answers in a row."""
        self._attempts.of(outcome.code).inc()
        self._duration.observe(outcome.duration_s)
        self._say_failures(failures, up=not retry.outage_like(outcome.status))
        self._say_endpoint("down" if self._failed_since is not None or failures >= _DOWN else "up")
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
            self._say_given_up(delivery, outcome)
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
        """No attempt is left for an event; `late`: its last one was found to count after it had been settled."""
        self._exhausted.inc()
        if late:
            self._ends.of((kind.value, model.DeliveryResult.FAILED.value)).inc()

    def working(self, busy: int) -> None:
        """So many requests are under way."""
        if busy != self._busy:
            self._busy = busy
            metrics.WORKER_BUSY.set(busy)

    def opened(self, failures: int, code: str) -> None:
        """The breaker opened after so many failures in a row, the last of this kind."""
        self._failed_since = time.monotonic()
        self._open.set(1)
        self._openings.inc()
        self._say_endpoint("down")
        self._log.warning("breaker opened", endpoint=self._endpoint, failures=failures, last=code)

    def closed(self) -> None:
        """The breaker closed."""
        since, self._failed_since = self._failed_since, None
        outage_s = round(time.monotonic() - since, 3) if since is not None else 0.0
        self._open.set(0)
        self._say_endpoint("up")
        self._log.info("breaker closed", endpoint=self._endpoint, outage_s=outage_s)

    def trouble(self, text: str) -> None:
        """The TLS files can't be used."""
        self._log.warning("TLS files not usable", endpoint=self._endpoint, problem=text)

    def _say_failures(self, failures: int, *, up: bool) -> None:
        if (failures, up) != self._health:
            self._health = failures, up
            self._failures.set(failures)
            self._up.set(int(up))

    def _say_given_up(self, delivery: model.Delivery, outcome: model.Outcome) -> None:
        """Say that events are given up, with one of them as an example, and how many there were since the last line."""
        self._lost += 1
        now = time.monotonic()
        if now - self._lost_said_at < _SAY_AGAIN_S:
            return
        fields = {"code": outcome.code, "event_id": delivery.event_id, "kind": delivery.kind}
        fields |= {"namespace": delivery.namespace, "name": delivery.name}
        self._log.warning("events given up", endpoint=self._endpoint, events=self._lost, **fields)
        self._lost, self._lost_said_at = 0, now

    def _say_claim(self, state: str) -> None:
        self._claim = state
        self._report("claim", {"state": state, "endpoint": self._endpoint})

    def _say_endpoint(self, state: str) -> None:
        breaker = "open" if self._failed_since is not None else "closed"
        if (state, breaker) != self._said:
            self._said = state, breaker
            self._report("endpoint", {"state": state, "breaker": breaker, "endpoint": self._endpoint})


class Children:
    """A metric's children by label value, kept because finding one costs as much as moving it."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        """Make a child when it is first asked for."""
        self._make = make
        self._made: dict[Any, Any] = {}

    def of(self, key: object) -> Any:
        """Give the child of a label value."""
        child = self._made.get(key)
        if child is None:
            child = self._made[key] = self._make(key)
        return child
