"""The life of one scope's stream: find the kind, open, look, list if need be, watch, begin again. Read top-down.

Nothing that the API server or the store does ends it: each failure has its reaction (`beacon.watcher.policy`), and one
scope's trouble is its own. It ends when the process is to stop, and when only a new process helps.
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

_HEALTHY_S = 5.0  # a watch that lasted this long did not fail for the reason for which the one before it did
_BEAT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchDependencies:
    """What a stream is given. `cluster` reads the cluster's identity; `beat` says that the thread lives."""

    api: connection.Connection
    client: bus.Client
    cluster: Callable[[], str]
    stop: threading.Event
    beat: Callable[[], None]
    timing: policy.Timing = field(default_factory=policy.Timing)


class ScopeWatch:
    """Follows one scope."""

    def __init__(self, scope: rules.Scope, surroundings: WatchDependencies, speaker: status.StreamStatus) -> None:
        """Follow `scope`, used by one thread."""
        self._scope = scope
        self._around = surroundings
        self._timing = surroundings.timing
        self._voice = speaker
        self._feed = store_session.StoreSession(
            scope, surroundings.client, speaker, stop=surroundings.stop, flush_s=surroundings.timing.flush_s
        )
        self._chance = random.Random()  # noqa: S311  spreads load, keeps no secret
        self._resource: discovery.ServedResource | None = None
        self._doing = policy.Doing.DISCOVER
        self._doubt = doubt.Doubt(self._timing.doubt_s)
        self._failed = 0  # failures in a row
        self._in_vain = 0  # watches in a row that what the server sent has ended before a line moved the position on
        self._ended_in_vain = False  # the last one was one of these

    def run(self) -> None:
        """Follow the scope until the process is to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; only a new process helps.
            errors.ConfigError: the ledger is of another cluster.
        """
        self._voice.enter(policy.StreamState.OPENING)
        self._around.api.beat_with(self._look_after_process)
        try:
            while True:
                self._live_once()
        except errors.Stopping:
            self._feed.finish()

    def _live_once(self) -> None:
        """Follow the scope until something ends that."""
        try:
            self._follow()
        except (store_session.StalePosition, bus.LedgerChanged) as elsewhere:
            self._failed += 1
            if self._failed > 1:
                self._voice.failed(policy.FailureCause.ERROR)
                self._voice.enter(policy.StreamState.OPENING, str(elsewhere))
                self._pause(policy.Pace.QUICK)
        except (bus.SettingsChanged, errors.ConfigError, errors.Stopping):
            raise
        except (errors.TransientError, errors.PermanentError) as failure:
            self._recover(failure)

    def _follow(self) -> None:
        resource = self._find()
        opened = self._feed.open(self._voice.label, self._around.cluster())
        # The store was asked first: what others read meanwhile may be newer than this look and prove nothing.
        self._doing = policy.Doing.LIST
        current = lists.current(self._around.api, resource, self._scope.id.namespace)
        self._doubt.worked(self._doing)
        if current < opened.highest:
            self._rewind(current, opened.highest)
            return
        if not opened.cursor:
            self._list(resource, opened)
        self._watch(resource)

    def _find(self) -> discovery.ServedResource:
        self._doing = policy.Doing.DISCOVER
        if self._resource is None:
            scope = self._scope
            resource = discovery.find(self._around.api, scope.api_version, scope.id.kind, scope.resource)
            if scope.id.namespace and not resource.namespaced:
                raise failures.Unsuitable(f"{scope.id.kind} does not live in namespaces: leave `namespaces` out")
            self._doubt.worked(self._doing)
            self._voice.found(resource.plural)
            self._resource = resource
        return self._resource

    def _list(self, resource: discovery.ServedResource, opened: wire.StreamOpened) -> None:
        """Send the whole scope to the store, page by page, at the resourceVersion of the first."""
        reason = opened.reason or model.GapReason.FIRST_LIST
        self._voice.enter(policy.StreamState.LISTING, reason)
        pages = self._pages(resource)
        page: items.ListPageItems | None = next(pages)
        at = page.version if page else 0
        if at < opened.highest:
            self._rewind(at, opened.highest)
            raise store_session.StalePosition("the cluster was restored")
        self._feed.begin_list(at, reason)
        number = count = 0
        identified, witness = True, lists.Witness(opened.tracked)
        while page is not None:
            self._feed.tell_page(at, number, page)
            witness.see(page)
            identified &= page.identified
            number, count = number + 1, count + len(page.uids)
            page = next(pages, None)
        witness.confirm(lambda: self._pages(resource))
        self._feed.end_list(at, pages=number, count=count, identified=identified)

    def _pages(self, resource: discovery.ServedResource) -> Iterator[items.ListPageItems]:
        for page in lists.pages(self._around.api, resource, self._scope.id.namespace, limit=self._timing.page):
            self._look_after_process()
            yield page

    def _watch(self, resource: discovery.ServedResource) -> None:
        """Follow the scope from the store's cursor on until the server ends the watch."""
        self._doing = policy.Doing.WATCH
        watch = watching.start(
            self._around.api,
            resource,
            self._scope.id.namespace,
            position=self._feed.position,
            timeout_s=self._chance.randint(*self._timing.watch_s),
            inactive_s=self._timing.inactive_s,
            grace_s=self._timing.grace_s,
        )
        began = time.monotonic()
        self._doubt.worked(self._doing)
        self._voice.enter(policy.StreamState.WATCHING)
        self._voice.connected()
        try:
            with watch:
                heard = self._tell(watch, resource)
        finally:
            self._voice.disconnected()
            if time.monotonic() - began >= _HEALTHY_S:
                self._be_well()
        if time.monotonic() - began >= _HEALTHY_S:
            self._in_vain = 0
        self._voice.failed(policy.FailureCause.TIMEOUT)
        if not heard and time.monotonic() - began < _BEAT_S:
            # A server that ends watches as soon as they begin must not be asked as fast as it answers.
            self._failed += 1
            self._pause(policy.Pace.BACKOFF)

    def _tell(self, watch: watching.OpenWatch, resource: discovery.ServedResource) -> bool:
        """Pass on what the watch shows; says whether it showed anything."""
        heard = False
        began_at = self._feed.position
        try:
            while not watch.ended:
                self._look_after_process()
                self._feed.rest()
                lines = self._read(watch, resource)
                received_ns = time.monotonic_ns()
                for data in lines:
                    line = items.line(data, kind=resource.kind, namespace=self._scope.id.namespace)
                    self._take(line, received_ns)
                if lines:
                    heard = True
                    self._be_well()
                self._feed.advance()
        except (failures.ApiRefused, failures.Broken, failures.Silent, failures.Malformed) as failure:
            if isinstance(failure, failures.ApiRefused):
                self._voice.received("ERROR")
            self._count_in_vain(failure, moved=self._feed.position != began_at)
            self._feed.flush()  # what came before the failure is good
            raise
        self._feed.flush()
        return heard

    def _read(self, watch: watching.OpenWatch, resource: discovery.ServedResource) -> list[bytes]:
        """Read lines. One that is silent goes on as long as the server still answers for this scope.

        A quiet watch is no fault: Kubernetes 1.24 sends no bookmark before etcd has reported progress, every 10 minutes
        by default.
        """
        try:
            return watch.read(self._feed.patience_s())
        except failures.Stuck:
            raise
        except failures.Silent as silence:
            self._probe(resource, silence)
            return []

    def _probe(self, resource: discovery.ServedResource, silence: failures.Silent) -> None:
        """Read the present resourceVersion on another connection.

        Raises:
            failures.Silent: that has not worked either, or the server is behind the watch: it was restored.
        """
        try:
            current = lists.current(self._around.api, resource, self._scope.id.namespace)
        except (failures.Unreachable, failures.ApiRefused, failures.Malformed, failures.Unsuitable) as failure:
            if isinstance(failure, failures.ApiRefused) and failure.status == 429:
                return  # it answers, and is busy enough
            raise failures.Silent(f"{silence}, and a read on another connection failed: {failure}") from failure
        if current < self._feed.position:
            raise failures.Silent(f"{silence}, and the API server is at resourceVersion {current}, behind what it sent")

    def _count_in_vain(self, failure: errors.BeaconError, *, moved: bool) -> None:
        if moved:
            self._in_vain = 0
        self._ended_in_vain = not doubt.is_loss(failure)
        self._in_vain += self._ended_in_vain

    def _be_well(self) -> None:
        self._failed = 0
        self._doubt.settle()

    def _take(self, line: items.WatchEvent, received_ns: int) -> None:
        self._voice.received(line.type)
        if not self._feed.see(line, received_ns):
            raise failures.Malformed(
                f"the API server sent resourceVersion {line.item.resource_version} after {self._feed.position}"
            )

    def _rewind(self, current: int, highest: int) -> None:
        self._voice.failed(policy.FailureCause.REWOUND)
        self._feed.rewind(current, highest)

    def _recover(self, failure: errors.BeaconError) -> None:
        """Say what is wrong, do what must be done about the position, and wait."""
        doubts = self._doubt.about(failure, self._doing)
        in_vain = self._in_vain if self._ended_in_vain else 0
        self._ended_in_vain = False
        reaction = policy.react(failure, self._doing, doubtful=doubts > 0, in_vain=in_vain)
        self._failed += 1
        self._voice.failed(reaction.cause)
        if self._failed > 1 or reaction.cause is policy.FailureCause.ABSENT:
            self._resource = None  # the kind may have gone, or have come back as another
        if not self._is_hiccup(failure, doubts):
            self._enter(reaction, failure)
        if reaction.relist:
            self._expire()
        asked_s = failure.delay_s if isinstance(failure, errors.TransientError) else None
        self._pause(reaction.pace, asked_s, failed=doubts)

    def _is_hiccup(self, failure: errors.BeaconError, doubts: int) -> bool:
        """Return True if nothing is reported yet, because what failed usually works again at once."""
        lost = isinstance(failure, failures.Broken) and doubt.is_loss(failure) and self._doing is policy.Doing.WATCH
        asked = isinstance(failure, errors.TransientError) and failure.delay_s
        return (doubts == 1 and not asked) or (lost and self._failed == 1)

    def _enter(self, reaction: policy.Reaction, failure: errors.BeaconError) -> None:
        """Report the state. A server that was away, and that refuses as it may after its start, is not back yet."""
        starting = reaction.state is policy.StreamState.OPENING and self._voice.state is policy.StreamState.UNREACHABLE
        state = policy.StreamState.UNREACHABLE if starting else reaction.state
        self._voice.enter(state, self._words(failure, reaction))

    def _expire(self) -> None:
        try:
            self._feed.expire()
        except bus.LedgerChanged:
            return  # the new ledger has a position of its own

    def _words(self, failure: errors.BeaconError, reaction: policy.Reaction) -> str:
        if reaction.state is policy.StreamState.OPENING:
            return f"retried for a minute, because an API server that has just started answers so: {failure}"
        if reaction.state is not policy.StreamState.FORBIDDEN:
            return str(failure)
        group = self._scope.id.group
        plural = self._resource.plural if self._resource else self._scope.resource or self._scope.id.kind
        rule = policy.missing_rule(self._doing, plural, group, self._scope.id.namespace)
        return f"{rule}; the API server says: {failure}"

    def _pause(self, pace: policy.Pace, asked_s: float | None = None, *, failed: int = 0) -> None:
        """Wait after the `failed`-th failure of a sort, else after the failures in a row."""
        failed = failed or self._failed
        pause_s = policy.pause_s(pace, self._timing, failed=failed, asked_s=asked_s, chance=self._chance.random())
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            self._look_after_process()
            self._around.stop.wait(min(left_s, _BEAT_S))
        self._look_after_process()

    def _look_after_process(self) -> None:
        self._around.beat()
        if self._around.stop.is_set():
            raise errors.Stopping("the process is to stop")
