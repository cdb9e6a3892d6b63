"""Compares every scope with the cluster, at start and then at every interval, each scope in a thread of its own.

It reports a state per scope, and metrics. The store finds the differences, applies them and logs warnings. A comparison
that fails does no harm: the next one covers the same objects.
"""

import functools
import os
import threading
import time
from enum import StrEnum

from beacon import bus, errors
from beacon.cluster import connection, credentials, doubt
from beacon.configuration import configured_scopes, settings
from beacon.domain import rules
from beacon.reconciler import comparison
from beacon.runtime import log, metrics, process

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
    """Start a thread for each scope, or none if reconciliation is disabled."""
    if not tree.reconciliation.enabled:
        context.report("reconcile", {"state": "disabled"})
        return []
    scopes = configured_scopes.of(tree)
    api = connection.Connection(credentials.source(os.environ, connections=len(scopes) + 1))
    threads = []
    for scope in scopes:
        target = functools.partial(_follow, context, scope, api, tree.reconciliation)
        threads.append(context.spawn(_name(scope), target))
    return threads


def _follow(
    context: process.Context, scope: rules.Scope, api: connection.Connection, config: settings.Reconciliation
) -> None:
    heartbeat = context.heartbeat(_name(scope))
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:

        def wait(seconds: float) -> None:
            """Wait, and write a heartbeat at least once a second."""
            until = time.monotonic() + seconds
            while not context.sleep(max(0.0, min(until - time.monotonic(), _BEAT_S))):
                heartbeat.beat()
                if time.monotonic() >= until:
                    return
            raise errors.Stopping("the process was asked to stop")

        api.set_heartbeat(lambda: wait(0))
        deps = comparison.ComparisonDependencies(api=api, client=client, wait=wait)
        Reconciler(context, scope, deps, config).run()


class Reconciler:
    """Compares one scope at every interval."""

    def __init__(
        self,
        context: process.Context,
        scope: rules.Scope,
        deps: comparison.ComparisonDependencies,
        config: settings.Reconciliation,
    ) -> None:
        """Compare `scope` as configured; for use by one thread."""
        self._context = context
        self._scope = scope
        self._deps = deps
        self._config = config
        self._label = configured_scopes.spelled(scope.resource, scope.id)
        self._doubt = doubt.Doubt()
        self._result: RoundResult | None = None
        self._done_us = 0
        self._log = log.get().bind()

    def run(self) -> None:
        """Compare at every interval, measured from start to start, until the process is asked to stop.

        Raises:
            errors.Stopping: the process was asked to stop.
            bus.SettingsChanged: the store has another configuration; this process must restart.
        """
        due = time.monotonic() + (0.0 if self._config.on_startup else self._config.interval_s)
        while True:
            self._deps.wait(max(0.0, due - time.monotonic()))
            due = time.monotonic() + self._config.interval_s
            self.compare()

    def compare(self) -> RoundResult:
        """Compare once, with retries within the timeout; publish and return the result."""
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
