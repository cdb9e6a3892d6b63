"""One scope: discover the kind, open a session, compare positions, list if necessary, watch, repeat.

Read top-down. `open` and `recover` block and run in a thread of their own; while the watch is open, `pump` handles what
has arrived and never waits. No failure of the API server or the store ends a stream: each has its reaction
(`beacon.watcher.policy`), and it affects one scope only.
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
_SHORT_S = 1.0  # a watch that ends sooner and without an event must not be asked for again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchDependencies:
    """The collaborators of a stream.

    `cluster` returns the cluster's UID; `beat` writes the heartbeat of the calling thread.
    """

    api: connection.Connection
    link: bus.Link
    cluster: Callable[[], str]
    stop: threading.Event
    beat: Callable[[], None]
    timing: policy.Timing = field(default_factory=policy.Timing)


@dataclass(slots=True, kw_only=True)
class _Opened:
    """An open watch, and what happened on it."""

    watch: watching.OpenWatch
    resource: discovery.ServedResource
    began: float  # monotonic
    began_at: int  # resourceVersion
    received_any: bool = False


class ScopeWatch:
    """Watches one scope; at any time one thread may use it.

    `open` returns None once a watch is open; then `pump` is called until it raises or returns False. `open` and
    `recover` return the seconds to wait before the next `open`.
    """

    def __init__(self, scope: rules.Scope, deps: WatchDependencies, stream_status: status.StreamStatus) -> None:
        """Watch `scope`."""
        self._scope = scope
        self._deps = deps
        self._timing = deps.timing
        self._status = stream_status
        self.session = store_session.StoreSession(scope, deps.link, stream_status, flush_s=deps.timing.flush_s)
        self._random = random.Random()  # noqa: S311  spreads load, keeps no secret
        self._resource: discovery.ServedResource | None = None
        self._operation = policy.Operation.DISCOVER
        self._doubt = doubt.Doubt(self._timing.doubt_s)
        self._failed = 0  # failures in a row
        self._without_progress = 0  # watches in a row that the server's data ended before the position advanced
        self._ended_without_progress = False  # whether the last watch was one of these
        self._last: _Opened | None = None

    @property
    def name(self) -> str:
        """Return the scope's name."""
        return status.name_of(self._scope)

    @property
    def watch(self) -> watching.OpenWatch:
        """Return the watch that was opened last."""
        return self._opened.watch

    @property
    def _opened(self) -> _Opened:
        if self._last is None:
            raise RuntimeError("no watch was opened")
        return self._last

    def open(self) -> float | None:
        """Open a watch: discovery, session, a list if necessary. Blocks.

        Raises:
            errors.Stopping: the process was asked to stop.
            bus.SettingsChanged: the store has another configuration; this process must restart.
            errors.ConfigError: the ledger belongs to another cluster.
        """
        if self._status.state is None:
            self._status.enter(policy.StreamState.OPENING)
        self._deps.api.set_heartbeat(self._check_stop)
        try:
            return None if self._follow() else 0.0
        except (bus.SettingsChanged, errors.ConfigError, errors.Stopping):
            raise
        except errors.BeaconError as failure:
            return self.recover(failure)

    def recover(self, failure: errors.BeaconError) -> float:
        """Handle a failure of `open`, `pump` or `probe`; return the seconds to wait before the next `open`. Blocks.

        Raises:
            errors.BeaconError: as `open`, or an error that no stream handles.
        """
        self._deps.api.set_heartbeat(self._check_stop)
        self._check_stop()
        if isinstance(failure, store_session.StalePosition | bus.LedgerChanged):
            self._failed += 1
            if self._failed == 1:
                return 0.0
            self._status.failed(policy.FailureCause.ERROR)
            self._status.enter(policy.StreamState.OPENING, str(failure))
            return self._pause_s(policy.Pace.QUICK)
        if isinstance(failure, bus.SettingsChanged | errors.ConfigError):
            raise failure
        if not isinstance(failure, errors.TransientError | errors.PermanentError):
            raise failure
        return self._react(failure)

    def _follow(self) -> bool:
        """Run one cycle up to the open watch; return False if it must begin again."""
        resource = self._find_resource()
        opened = self.session.open(self._status.label, self._deps.cluster())
        # The store is read first: a resourceVersion that another stream records later may be newer than this read.
        self._operation = policy.Operation.LIST
        current = lists.current(self._deps.api, resource, self._scope.id.namespace)
        self._doubt.worked(self._operation)
        if current < opened.highest:
            self._rewind(current, opened.highest)
            return False
        if not opened.cursor:
            self._list(resource, opened)
        self._start(resource)
        return True

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
            self._status.found(resource.plural, unreadable=resource.unreadable)
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
        self.session.begin_list(list_version, reason)
        number = count = 0
        identified, witness = True, lists.Witness(opened.tracked)
        while page is not None:
            self.session.send_page(list_version, number, page)
            witness.see(page)
            identified &= page.identified
            number, count = number + 1, count + len(page.uids)
            page = next(pages, None)
        witness.confirm(lambda: self._pages(resource))
        self.session.end_list(list_version, pages=number, count=count, identified=identified)

    def _pages(self, resource: discovery.ServedResource) -> Iterator[items.ListPageItems]:
        for page in lists.pages(self._deps.api, resource, self._scope.id.namespace, limit=self._timing.page):
            self._check_stop()
            yield page

    def _start(self, resource: discovery.ServedResource) -> None:
        """Watch the scope from the store's cursor until the server ends the watch."""
        self._operation = policy.Operation.WATCH
        watch = watching.start(
            self._deps.api,
            resource,
            self._scope.id.namespace,
            position=self.session.position,
            timeout_s=self._random.randint(*self._timing.watch_s),
            inactive_s=self._timing.inactive_s,
            grace_s=self._timing.grace_s,
        )
        self._last = _Opened(watch=watch, resource=resource, began=time.monotonic(), began_at=self.session.position)
        self._doubt.worked(self._operation)
        self._status.enter(policy.StreamState.WATCHING)
        self._status.connected()

    def pump(self) -> bool:
        """Handle what has arrived on the open watch, and send what is due; return False once the server has ended it.

        Raises:
            errors.BeaconError: the watch failed and must be closed with `close`, except for:
            failures.Silent: nothing was received for too long; `probe` decides.
        """
        opened = self._opened
        try:
            lines = opened.watch.read(0)
            received_ns = time.monotonic_ns()
            for data in lines:
                line = items.line(data, kind=opened.resource.kind, namespace=self._scope.id.namespace)
                self._process_event(line, received_ns)
        except (failures.ApiRefused, failures.Broken, failures.Malformed) as failure:
            if isinstance(failure, failures.ApiRefused):
                self._status.received("ERROR")
            self._count_without_progress(failure, moved=self.session.position != self._opened.began_at)
            self.session.flush()  # the events before the failure are valid
            raise
        if lines:
            opened.received_any = True
            self._reset_failures()
        self.session.advance()
        return not opened.watch.ended

    def waited(self, seconds: float) -> None:
        """Count time in which the watch was read and nothing arrived.

        Raises:
            failures.Silent: nothing was received for too long, or only parts of a line; `probe` decides.
        """
        self._opened.watch.waited(seconds)

    def close(self) -> None:
        """Close the watch, whatever ended it."""
        self._opened.watch.close()
        self._status.disconnected()
        if time.monotonic() - self._opened.began >= _HEALTHY_S:
            self._reset_failures()

    def abandon(self) -> None:
        """Close the watch, if there is one, because the process ends."""
        if self._last is not None:
            self._last.watch.close()

    def ended(self) -> float:
        """Close a watch that the server has ended; return the seconds to wait before the next `open`."""
        self.session.flush()
        self.close()
        lasted_s = time.monotonic() - self._opened.began
        if lasted_s >= _HEALTHY_S:
            self._without_progress = 0
        self._status.failed(policy.FailureCause.TIMEOUT)
        if self._opened.received_any or lasted_s >= _SHORT_S:
            return 0.0
        self._failed += 1
        return self._pause_s(policy.Pace.BACKOFF)

    def probe(self, silence: failures.Silent) -> None:
        """Read the current resourceVersion on another connection: does the server still answer for this scope? Blocks.

        A silent watch is no error: Kubernetes 1.24 sends no bookmark before etcd has reported progress, every 10
        minutes by default.

        Raises:
            failures.Silent: the read failed too, the server is behind the watch since it was restored, or only parts of
                a line were received.
        """
        self._deps.api.set_heartbeat(self._check_stop)
        try:
            if isinstance(silence, failures.Stuck):
                raise silence
            self._probe(silence)
        except failures.Silent as failure:
            self._count_without_progress(failure, moved=self.session.position != self._opened.began_at)
            raise

    def _probe(self, silence: failures.Silent) -> None:
        try:
            current = lists.current(self._deps.api, self._opened.resource, self._scope.id.namespace)
        except (failures.Unreachable, failures.ApiRefused, failures.Malformed, failures.Unsuitable) as failure:
            if isinstance(failure, failures.ApiRefused) and failure.status == 429:
                return  # the server answers, but is busy
            raise failures.Silent(f"{silence}, and a read on another connection failed: {failure}") from failure
        if current < self.session.position:
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
        if not self.session.see(line, received_ns):
            raise failures.Malformed(
                f"the API server sent resourceVersion {line.item.resource_version} after {self.session.position}"
            )

    def _rewind(self, current: int, highest: int) -> None:
        self._status.failed(policy.FailureCause.REWOUND)
        self.session.rewind(current, highest)

    def _react(self, failure: errors.BeaconError) -> float:
        """Report the failure, and expire the position if necessary; return the pause that is due."""
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
        return self._pause_s(reaction.pace, asked_s, failed=doubts)

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
            self.session.expire()
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

    def _pause_s(self, pace: policy.Pace, asked_s: float | None = None, *, failed: int = 0) -> float:
        """Return the wait that is due after the `failed`-th failure, by default after all failures in a row."""
        failed = failed or self._failed
        return policy.pause_s(pace, self._timing, failed=failed, asked_s=asked_s, chance=self._random.random())

    def _check_stop(self) -> None:
        self._deps.beat()
        if self._deps.stop.is_set():
            raise errors.Stopping("the process was asked to stop")
