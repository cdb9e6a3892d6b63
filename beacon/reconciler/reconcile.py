"""Compares every scope with the cluster, at start and then at every interval, a few scopes at a time.

It reports a state per scope, and metrics. The store finds the differences, applies them and logs warnings. A comparison
that fails does no harm: the next one covers the same objects.
"""

import heapq
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from enum import StrEnum

from beacon import bus, errors
from beacon.cluster import connection, credentials, doubt
from beacon.configuration import configured_scopes, settings
from beacon.domain import rules
from beacon.reconciler import comparison
from beacon.runtime import heartbeat as beats
from beacon.runtime import log, metrics, process, workers

QUICK_THREADS = 4  # so many scopes are compared at a time, not counting slow ones
MOST_THREADS = 64
_WAIT_S = 0.5  # how often threads for waiting comparisons are started
_BEAT_S = 1.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_DOUBT_PAUSE_S = 1.0
_COMPARE = "compare"


class RoundResult(StrEnum):
    """The result of a scope's comparison: the label `result` of `beacon_reconcile_runs_total`."""

    COMPLETE = "complete"  # everything was compared
    INCONCLUSIVE = (
        "inconclusive"  # until the timeout the watcher's cursor was behind, or the comparison was invalidated
    )
    ABSENT = "absent"  # the API server does not serve this kind (yet)
    FAILED = "failed"  # the API server or the store rejected a request


def spawn(context: process.Context, tree: settings.Settings) -> list[threading.Thread]:
    """Start the thread of the comparisons, or none if reconciliation is disabled."""
    if not tree.reconciliation.enabled:
        context.report("reconcile", {"state": "disabled"})
        return []
    return [context.spawn("reconcile", lambda: follow(context, tree))]


def follow(context: process.Context, tree: settings.Settings) -> None:
    """Compare every scope at every interval until the process is asked to stop.

    Raises:
        bus.SettingsChanged: the store has another configuration; this process must restart.
    """
    heartbeat = context.heartbeat("reconcile")
    pool = workers.Workers(context, "compare", quick=QUICK_THREADS, most=MOST_THREADS)
    scopes = configured_scopes.of(tree)
    api = connection.Connection(credentials.source(os.environ, connections=QUICK_THREADS))
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
        shared = bus.SharedClient(client, stop=context.stop)
        context.stop.wakes(shared.wake)
        schedule = Schedule(tree.reconciliation, pool, shared, api)
        config = tree.reconciliation
        schedule.run(context, [_reconciler(context, scope, pool, shared, api=api, config=config) for scope in scopes])
    heartbeat.close()


def _reconciler(
    context: process.Context,
    scope: rules.Scope,
    pool: workers.Workers,
    shared: bus.SharedClient,
    *,
    api: connection.Connection,
    config: settings.Reconciliation,
) -> "Reconciler":
    def wait(seconds: float) -> None:
        """Wait, and write a heartbeat at least once a second."""
        until = time.monotonic() + seconds
        while not context.sleep(max(0.0, min(until - time.monotonic(), _BEAT_S))):
            pool.beat()
            if time.monotonic() >= until:
                return
        raise errors.Stopping("the process was asked to stop")

    deps = comparison.ComparisonDependencies(api=api, link=bus.Link(shared, beat=pool.beat), wait=wait)
    return Reconciler(context, scope, deps, config)


class Schedule:
    """Starts each scope's comparison when it is due; between the rounds no connection to the API server stays open."""

    def __init__(
        self,
        config: settings.Reconciliation,
        pool: workers.Workers,
        shared: bus.SharedClient,
        api: connection.Connection,
    ) -> None:
        """Compare in `pool`; drive `shared`, through which the comparisons call."""
        self._config = config
        self._pool = pool
        self._shared = shared
        self._api = api
        self._due: list[tuple[float, int, Reconciler]] = []
        self._order = itertools.count()
        self._running = 0
        self._finished: deque[tuple[Reconciler, float]] = deque()

    def run(self, context: process.Context, reconcilers: Sequence["Reconciler"]) -> None:
        """Run until the process is asked to stop. An interval counts from start to start."""
        first = time.monotonic() + (0.0 if self._config.on_startup else self._config.interval_s)
        for reconciler in reconcilers:
            heapq.heappush(self._due, (first, next(self._order), reconciler))
        while not context.stop.is_set():
            while self._due and self._due[0][0] <= time.monotonic():
                self._start(heapq.heappop(self._due)[2])
            self._pool.grow()
            longest_s = _WAIT_S if self._running else beats.IDLE_S
            left_s = self._due[0][0] - time.monotonic() if self._due else longest_s
            self._shared.exchange(max(0.0, min(left_s, longest_s)))
            self._collect()

    def _start(self, reconciler: "Reconciler") -> None:
        next_due = time.monotonic() + self._config.interval_s

        def compare() -> None:
            self._api.set_heartbeat(self._pool.beat)
            reconciler.compare()
            self._finished.append((reconciler, next_due))
            self._shared.wake()

        self._running += 1
        self._pool.run(reconciler.name, compare)

    def _collect(self) -> None:
        while self._finished:
            reconciler, next_due = self._finished.popleft()
            heapq.heappush(self._due, (next_due, next(self._order), reconciler))
            self._running -= 1
            if not self._running:
                self._api.close_idle()


class Reconciler:
    """Compares one scope at every interval."""

    def __init__(
        self,
        context: process.Context,
        scope: rules.Scope,
        deps: comparison.ComparisonDependencies,
        config: settings.Reconciliation,
    ) -> None:
        """Compare `scope` as configured; for use by one thread at a time."""
        self._context = context
        self._scope = scope
        self._deps = deps
        self._config = config
        self._label = configured_scopes.spelled(scope.resource, scope.id)
        self._doubt = doubt.Doubt()
        self._result: RoundResult | None = None
        self._done_us = 0
        self._log = log.get().bind()

    @property
    def name(self) -> str:
        """Return the name of the scope's component."""
        return _name(self._scope)

    def compare(self) -> RoundResult:
        """Compare once, with retries within the timeout; publish and return the result.

        Raises:
            errors.Stopping: the process was asked to stop.
            bus.SettingsChanged: the store has another configuration; this process must restart.
        """
        began = time.monotonic()
        result, reason = self._try_until(began + self._config.timeout_s)
        metrics.RECONCILE_RUNS.labels(result=result).inc()
        metrics.RECONCILE_DURATION.observe(time.monotonic() - began)
        self._publish(result, reason)
        return result

    def _try_until(self, deadline: float) -> tuple[RoundResult, str]:
        failed = 0
        while True:
            attempt = comparison.Comparison(self._scope, self._deps, until=deadline)
            try:
                attempt.run()
            except (errors.Stopping, bus.SettingsChanged):
                raise
            except errors.BeaconError as failure:
                failed += 1
                # A refusal by a server that has just started does not mean that a right is missing.
                doubtful = self._doubt.about(failure, _COMPARE) > 0
                pause_s = _DOUBT_PAUSE_S if doubtful else _pause_s(failure, failed)
                if comparison.is_hopeless(failure) and not doubtful:
                    return _result_of(failure), str(failure)
                if time.monotonic() + pause_s >= deadline:
                    return RoundResult.INCONCLUSIVE if doubtful else _result_of(failure), str(failure)
                self._deps.wait(pause_s)
            else:
                self._doubt.worked(_COMPARE)
                self._doubt.settle()
                return RoundResult.COMPLETE, ""
            finally:
                self._learn_label(attempt)

    def _learn_label(self, attempt: comparison.Comparison) -> None:
        if attempt.plural:
            self._label = configured_scopes.label(attempt.plural, self._scope.id)

    def _publish(self, result: RoundResult, reason: str) -> None:
        if result is not self._result:
            emit = self._log.warning if result is RoundResult.FAILED else self._log.info
            emit("reconcile state changed", scope=self._label, state=result, reason=reason)
        self._result = result
        if result is RoundResult.COMPLETE:
            self._done_us = time.time_ns() // 1000
        state = {"state": result, "reason": reason, "scope": self._label, "done_us": self._done_us}
        self._context.report(_name(self._scope), state)


def _result_of(failure: errors.BeaconError) -> RoundResult:
    if isinstance(failure, comparison.ComparisonInvalid | comparison.CursorTimeout | bus.LedgerChanged):
        return RoundResult.INCONCLUSIVE
    return RoundResult.ABSENT if comparison.is_absent(failure) else RoundResult.FAILED


def _pause_s(failure: errors.BeaconError, failed: int) -> float:
    asked_s = failure.delay_s if isinstance(failure, errors.TransientError) else None
    return max(min(_FIRST_PAUSE_S * 2.0 ** min(failed - 1, 10), _LONGEST_PAUSE_S), asked_s or 0.0)


def _name(scope: rules.Scope) -> str:
    return f"reconcile.{configured_scopes.label(scope.id.kind, scope.id)}"
