"""The loop of one scope: discover the kind, open a session, compare positions, list if necessary, watch, repeat.

Read top-down. No failure of the API server or the store ends the loop: each has its reaction (`beacon.watcher.policy`),
and it affects one scope only. The loop ends when the process is asked to stop, or when only a new process helps.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from beacon import bus, errors, wire
from beacon.cluster import connection, discovery, doubt, failures, items, lists, watching
from beacon.domain import model, rules
from beacon.watcher import policy, status, store_session

_HEALTHY_S = 5.0  # a watch that lasted this long did not fail for the same reason as the one before it
_BEAT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchDependencies:
    """The collaborators of a stream. `cluster` returns the cluster's UID; `beat` writes the thread's heartbeat."""

    api: connection.Connection
    client: bus.Client
    cluster: Callable[[], str]
    stop: threading.Event
    beat: Callable[[], None]
    timing: policy.Timing = field(default_factory=policy.Timing)


class ScopeWatch:
    """Watches one scope."""

    def __init__(self, scope: rules.Scope, deps: WatchDependencies, stream_status: status.StreamStatus) -> None:
        """Watch `scope`; for use by one thread."""
        self._scope = scope
        self._deps = deps
        self._timing = deps.timing
        self._status = stream_status
        self._session = store_session.StoreSession(
            scope, deps.client, stream_status, stop=deps.stop, flush_s=deps.timing.flush_s
        )
        self._random = random.Random()  # noqa: S311  spreads load, keeps no secret
        self._resource: discovery.ServedResource | None = None
        self._operation = policy.Operation.DISCOVER
        self._doubt = doubt.Doubt(self._timing.doubt_s)
        self._failed = 0  # failures in a row
        self._without_progress = 0  # watches in a row that the server's data ended before the position advanced
        self._ended_without_progress = False  # whether the last watch was one of these

    def run(self) -> None:
        """Watch the scope until the process is asked to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must restart.
            errors.ConfigError: the ledger belongs to another cluster.
        """
        self._status.enter(policy.StreamState.OPENING)
        self._deps.api.set_heartbeat(self._check_stop)
        try:
            while True:
                self._follow_until_failure()
        except errors.Stopping:
            self._session.finish()

    def _follow_until_failure(self) -> None:
        """Run one cycle: session, list if necessary, and watch; handle its failure."""
        try:
            self._follow()
        except (store_session.StalePosition, bus.LedgerChanged) as stale:
            self._failed += 1
            if self._failed > 1:
                self._status.failed(policy.FailureCause.ERROR)
                self._status.enter(policy.StreamState.OPENING, str(stale))
                self._pause(policy.Pace.QUICK)
        except (bus.SettingsChanged, errors.ConfigError, errors.Stopping):
            raise
        except (errors.TransientError, errors.PermanentError) as failure:
            self._recover(failure)

    def _follow(self) -> None:
        resource = self._find_resource()
        opened = self._session.open(self._status.label, self._deps.cluster())
        # The store is read first: a resourceVersion that another stream records later may be newer than this read.
        self._operation = policy.Operation.LIST
        current = lists.current(self._deps.api, resource, self._scope.id.namespace)
        self._doubt.worked(self._operation)
        if current < opened.highest:
            self._rewind(current, opened.highest)
            return
        if not opened.cursor:
            self._list(resource, opened)
        self._watch(resource)

    def _find_resource(self) -> discovery.ServedResource:
        self._operation = policy.Operation.DISCOVER
        if self._resource is None:
            scope = self._scope
            resource = discovery.find(self._deps.api, scope.api_version, scope.id.kind, scope.resource)
            if scope.id.namespace and not resource.namespaced:
                raise failures.Unsuitable(
                    f"{scope.id.kind} is not namespaced: remove `namespaces` from its configuration"
                )
            self._doubt.worked(self._operation)
            self._status.found(resource.plural)
            self._resource = resource
        return self._resource

    def _list(self, resource: discovery.ServedResource, opened: wire.StreamOpened) -> None:
        """Send the whole scope to the store, page by page, at the resourceVersion of the first."""
        reason = opened.reason or model.GapReason.FIRST_LIST
        self._status.enter(policy.StreamState.LISTING, reason)
        pages = self._pages(resource)
        page: items.ListPageItems | None = next(pages)
        list_version = page.version if page else 0
        if list_version < opened.highest:
            self._rewind(list_version, opened.highest)
            raise store_session.StalePosition("the cluster was restored")
        self._session.begin_list(list_version, reason)
        number = count = 0
        identified, witness = True, lists.Witness(opened.tracked)
        while page is not None:
            self._session.send_page(list_version, number, page)
            witness.see(page)
            identified &= page.identified
            number, count = number + 1, count + len(page.uids)
            page = next(pages, None)
        witness.confirm(lambda: self._pages(resource))
        self._session.end_list(list_version, pages=number, count=count, identified=identified)

    def _pages(self, resource: discovery.ServedResource) -> Iterator[items.ListPageItems]:
        for page in lists.pages(self._deps.api, resource, self._scope.id.namespace, limit=self._timing.page):
            self._check_stop()
            yield page

    def _watch(self, resource: discovery.ServedResource) -> None:
        """Watch the scope from the store's cursor until the server ends the watch."""
        self._operation = policy.Operation.WATCH
        watch = watching.start(
            self._deps.api,
            resource,
            self._scope.id.namespace,
            position=self._session.position,
            timeout_s=self._random.randint(*self._timing.watch_s),
            inactive_s=self._timing.inactive_s,
            grace_s=self._timing.grace_s,
        )
        began = time.monotonic()
        self._doubt.worked(self._operation)
        self._status.enter(policy.StreamState.WATCHING)
        self._status.connected()
        try:
            with watch:
                received_any = self._forward_events(watch, resource)
        finally:
            self._status.disconnected()
            if time.monotonic() - began >= _HEALTHY_S:
                self._reset_failures()
        if time.monotonic() - began >= _HEALTHY_S:
            self._without_progress = 0
        self._status.failed(policy.FailureCause.TIMEOUT)
        if not received_any and time.monotonic() - began < _BEAT_S:
            # A server that ends watches as soon as they begin must not be asked again at once.
            self._failed += 1
            self._pause(policy.Pace.BACKOFF)

    def _forward_events(self, watch: watching.OpenWatch, resource: discovery.ServedResource) -> bool:
        """Send the events of the watch to the store until it ends; return True if any were received."""
        received_any = False
        began_at = self._session.position
        try:
            while not watch.ended:
                self._check_stop()
                self._session.wait_for_batch()
                lines = self._read(watch, resource)
                received_ns = time.monotonic_ns()
                for data in lines:
                    line = items.line(data, kind=resource.kind, namespace=self._scope.id.namespace)
                    self._process_event(line, received_ns)
                if lines:
                    received_any = True
                    self._reset_failures()
                self._session.advance()
        except (failures.ApiRefused, failures.Broken, failures.Silent, failures.Malformed) as failure:
            if isinstance(failure, failures.ApiRefused):
                self._status.received("ERROR")
            self._count_without_progress(failure, moved=self._session.position != began_at)
            self._session.flush()  # the events before the failure are valid
            raise
        self._session.flush()
        return received_any

    def _read(self, watch: watching.OpenWatch, resource: discovery.ServedResource) -> list[bytes]:
        """Read lines. If nothing arrives for too long, continue as long as the server still answers for this scope.

        A silent watch is no error: Kubernetes 1.24 sends no bookmark before etcd has reported progress, every 10
        minutes by default.
        """
        try:
            return watch.read(self._session.read_timeout_s())
        except failures.Stuck:
            raise
        except failures.Silent as silence:
            self._probe(resource, silence)
            return []

    def _probe(self, resource: discovery.ServedResource, silence: failures.Silent) -> None:
        """Read the current resourceVersion on another connection.

        Raises:
            failures.Silent: the read failed too, or the server is behind the watch: it was restored.
        """
        try:
            current = lists.current(self._deps.api, resource, self._scope.id.namespace)
        except (failures.Unreachable, failures.ApiRefused, failures.Malformed, failures.Unsuitable) as failure:
            if isinstance(failure, failures.ApiRefused) and failure.status == 429:
                return  # the server answers, but is busy
            raise failures.Silent(f"{silence}, and a read on another connection failed: {failure}") from failure
        if current < self._session.position:
            raise failures.Silent(f"{silence}, and the API server is at resourceVersion {current}, behind what it sent")

    def _count_without_progress(self, failure: errors.BeaconError, *, moved: bool) -> None:
        if moved:
            self._without_progress = 0
        self._ended_without_progress = not doubt.is_loss(failure)
        self._without_progress += self._ended_without_progress

    def _reset_failures(self) -> None:
        self._failed = 0
        self._doubt.settle()

    def _process_event(self, line: items.WatchEvent, received_ns: int) -> None:
        self._status.received(line.type)
        if not self._session.see(line, received_ns):
            raise failures.Malformed(
                f"the API server sent resourceVersion {line.item.resource_version} after {self._session.position}"
            )

    def _rewind(self, current: int, highest: int) -> None:
        self._status.failed(policy.FailureCause.REWOUND)
        self._session.rewind(current, highest)

    def _recover(self, failure: errors.BeaconError) -> None:
        """Report the failure, expire the position if necessary, and wait."""
        doubts = self._doubt.about(failure, self._operation)
        without_progress = self._without_progress if self._ended_without_progress else 0
        self._ended_without_progress = False
        reaction = policy.react(failure, self._operation, doubtful=doubts > 0, without_progress=without_progress)
        self._failed += 1
        self._status.failed(reaction.cause)
        if self._failed > 1 or reaction.cause is policy.FailureCause.ABSENT:
            self._resource = None  # the kind may be gone, or be served under another plural
        if not self._is_transient(failure, doubts):
            self._enter(reaction, failure)
        if reaction.relist:
            self._expire()
        asked_s = failure.delay_s if isinstance(failure, errors.TransientError) else None
        self._pause(reaction.pace, asked_s, failed=doubts)

    def _is_transient(self, failure: errors.BeaconError, doubts: int) -> bool:
        """Return True if the failure is not reported yet, because a retry usually succeeds at once."""
        lost = (
            isinstance(failure, failures.Broken)
            and doubt.is_loss(failure)
            and self._operation is policy.Operation.WATCH
        )
        asked = isinstance(failure, errors.TransientError) and failure.delay_s
        return (doubts == 1 and not asked) or (lost and self._failed == 1)

    def _enter(self, reaction: policy.Reaction, failure: errors.BeaconError) -> None:
        """Report the state; an unreachable server stays unreachable while its refusals may be those of its start."""
        starting = reaction.state is policy.StreamState.OPENING and self._status.state is policy.StreamState.UNREACHABLE
        state = policy.StreamState.UNREACHABLE if starting else reaction.state
        self._status.enter(state, self._reason_of(failure, reaction))

    def _expire(self) -> None:
        try:
            self._session.expire()
        except bus.LedgerChanged:
            return  # the new ledger has a position of its own

    def _reason_of(self, failure: errors.BeaconError, reaction: policy.Reaction) -> str:
        if reaction.state is policy.StreamState.OPENING:
            return f"retried for a minute, because an API server that has just started may respond like this: {failure}"
        if reaction.state is not policy.StreamState.FORBIDDEN:
            return str(failure)
        group = self._scope.id.group
        plural = self._resource.plural if self._resource else self._scope.resource or self._scope.id.kind
        namespace = self._scope.id.namespace
        rule = policy.missing_rule(self._operation, plural, group, namespace, account=self._deps.api.account)
        return f"{rule}; the API server responded: {failure}"

    def _pause(self, pace: policy.Pace, asked_s: float | None = None, *, failed: int = 0) -> None:
        """Wait as is due after the `failed`-th failure, by default after the number of failures in a row."""
        failed = failed or self._failed
        pause_s = policy.pause_s(pace, self._timing, failed=failed, asked_s=asked_s, chance=self._random.random())
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            self._check_stop()
            self._deps.stop.wait(min(left_s, _BEAT_S))
        self._check_stop()

    def _check_stop(self) -> None:
        self._deps.beat()
        if self._deps.stop.is_set():
            raise errors.Stopping("the process was asked to stop")
