"""Reconcile: compares every scope with the cluster, at start and then at every interval, each in a thread of its own.

It says what came of it: a state per scope, and metrics. What differs the store finds, applies and warns of. When a
comparison comes to nothing that does no harm, the next one is as good.
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
    """What came of a scope's comparison: the label of `beacon_reconcile_runs_total`."""

    COMPLETE = "complete"  # everything was compared
    INCONCLUSIVE = "inconclusive"  # the watcher was not as far, or something else came between, until the timeout
    ABSENT = "absent"  # the API server does not serve this kind (yet)
    FAILED = "failed"  # the API server or the store did not let us


def spawn(context: process.Context, tree: settings.Settings) -> list[threading.Thread]:
    """Start a thread for each scope; none when reconciliation is disabled."""
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
    context: process.Context, scope: rules.Scope, api: connection.Connection, terms: settings.Reconciliation
) -> None:
    heart = context.heart(_name(scope))
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:

        def wait(seconds: float) -> None:
            """Wait, but for no longer than the heart may be silent at a time."""
            until = time.monotonic() + seconds
            while not context.sleep(max(0.0, min(until - time.monotonic(), _BEAT_S))):
                heart.beat()
                if time.monotonic() >= until:
                    return
            raise errors.Stopping("the process is to stop")

        api.beat_with(lambda: wait(0))
        around = comparison.ComparisonDependencies(api=api, client=client, wait=wait)
        Reconciler(context, scope, around, terms).run()


class Reconciler:
    """Compares one scope again and again."""

    def __init__(
        self,
        context: process.Context,
        scope: rules.Scope,
        around: comparison.ComparisonDependencies,
        terms: settings.Reconciliation,
    ) -> None:
        """Compare `scope` as `terms` say, used by one thread."""
        self._context = context
        self._scope = scope
        self._around = around
        self._terms = terms
        self._label = configured_scopes.label(scope.resource or scope.id.kind.lower(), scope.id)
        self._doubt = doubt.Doubt()
        self._result: RoundResult | None = None
        self._done_us = 0
        self._log = log.get().bind()

    def run(self) -> None:
        """Compare at every interval, reckoned from start to start, until the process is to stop.

        Raises:
            errors.Stopping: it is to stop.
            bus.SettingsChanged: the store has another configuration; only a new process helps.
        """
        due = time.monotonic() + (0.0 if self._terms.on_startup else self._terms.interval_s)
        while True:
            self._around.wait(max(0.0, due - time.monotonic()))
            due = time.monotonic() + self._terms.interval_s
            self.compare()

    def compare(self) -> RoundResult:
        """Compare once, beginning anew as often as it must within the timeout; says what came of it."""
        began = time.monotonic()
        result, reason = self._try_until(began + self._terms.timeout_s)
        metrics.RECONCILE_RUNS.labels(result=result).inc()
        metrics.RECONCILE_DURATION.observe(time.monotonic() - began)
        self._say(result, reason)
        return result

    def _try_until(self, deadline: float) -> tuple[RoundResult, str]:
        failed = 0
        while True:
            attempt = comparison.Comparison(self._scope, self._around, until=deadline)
            try:
                attempt.run()
            except (errors.Stopping, bus.SettingsChanged):
                raise
            except errors.BeaconError as failure:
                failed += 1
                # What a server refuses that has just started is no missing right.
                doubtful = self._doubt.about(failure, _COMPARE) > 0
                pause_s = _DOUBT_PAUSE_S if doubtful else _pause_s(failure, failed)
                if comparison.is_hopeless(failure) and not doubtful:
                    return _result_of(failure), str(failure)
                if time.monotonic() + pause_s >= deadline:
                    return RoundResult.INCONCLUSIVE if doubtful else _result_of(failure), str(failure)
                self._around.wait(pause_s)
            else:
                self._doubt.worked(_COMPARE)
                self._doubt.settle()
                return RoundResult.COMPLETE, ""
            finally:
                self._learn_label(attempt)

    def _learn_label(self, attempt: comparison.Comparison) -> None:
        if attempt.plural:
            self._label = configured_scopes.label(attempt.plural, self._scope.id)

    def _say(self, result: RoundResult, reason: str) -> None:
        if result is not self._result:
            say = self._log.warning if result is RoundResult.FAILED else self._log.info
            say("reconcile state changed", scope=self._label, state=result, reason=reason)
        self._result = result
        if result is RoundResult.COMPLETE:
            self._done_us = time.time_ns() // 1000
        said = {"state": result, "reason": reason, "scope": self._label, "done_us": self._done_us}
        self._context.report(_name(self._scope), said)


def _result_of(failure: errors.BeaconError) -> RoundResult:
    if isinstance(failure, comparison.ComparisonInvalid | comparison.CursorTimeout | bus.LedgerChanged):
        return RoundResult.INCONCLUSIVE
    return RoundResult.ABSENT if comparison.is_absent(failure) else RoundResult.FAILED


def _pause_s(failure: errors.BeaconError, failed: int) -> float:
    asked_s = failure.delay_s if isinstance(failure, errors.TransientError) else None
    return max(min(_FIRST_PAUSE_S * 2.0 ** min(failed - 1, 10), _LONGEST_PAUSE_S), asked_s or 0.0)


def _name(scope: rules.Scope) -> str:
    return f"reconcile.{configured_scopes.label(scope.id.kind, scope.id)}"
