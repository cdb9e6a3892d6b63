"""Publishes the status of a stream: its state for /ready, its metrics, and one log line for each change of state.

It makes no decisions. Repeated failures are counted, not logged again.
"""

import time
from collections.abc import Callable, Mapping

from beacon.cluster import items
from beacon.configuration import configured_scopes
from beacon.domain import rules
from beacon.runtime import log, metrics
from beacon.watcher import object_filter, policy, unreadable

Report = Callable[[str, Mapping[str, object]], None]
_HEALTHY = frozenset({policy.StreamState.OPENING, policy.StreamState.LISTING, policy.StreamState.WATCHING})


class StreamStatus:
    """The published status of one scope's stream."""

    def __init__(self, scope: rules.Scope, report: Report) -> None:
        """Publish through `report`, which takes a component's name and its state."""
        self._scope = scope.id
        self._component = f"scope.{name_of(scope)}"
        self._report = report
        self._log = log.get()
        self._state: policy.StreamState | None = None
        self._reason = ""
        self._odd_entries = ""
        self._listed = False
        self._unreadable = unreadable.Objects()
        self._failed = 0
        # Cached: looking up a labeled child costs more than incrementing it, and one is incremented for every event.
        self._lines = {
            kind: metrics.WATCH_LINES.labels(kind=scope.id.kind, type=kind)
            for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
        }
        self.label = configured_scopes.spelled(scope.resource, scope.id)

    @property
    def state(self) -> policy.StreamState | None:
        """Return the state that was published last."""
        return self._state

    def found(self, plural: str, *, unreadable: str = "") -> None:
        """Use the plural in the scope's label; before discovery has answered, the label contains the kind.

        `unreadable` describes the entries of discovery that can't be read; it is logged if it has changed.
        """
        self.label = configured_scopes.label(plural, self._scope)
        self.disconnected()
        if unreadable and unreadable != self._odd_entries:
            self._log.warning("discovery entries unreadable", scope=self.label, reason=unreadable)
        self._odd_entries = unreadable

    def enter(self, state: policy.StreamState, reason: str = "") -> None:
        """Set and publish the state; log it if it differs from the previous one."""
        changed = state is not self._state
        if not changed and reason == self._reason:
            return
        if changed and (reason or state is not policy.StreamState.OPENING):
            emit = self._log.info if state in _HEALTHY else self._log.warning
            emit("watch state changed", scope=self.label, state=state, reason=reason, failures=self._failed)
            self._failed = 0
        self._state, self._reason = state, reason
        self._listed |= state is policy.StreamState.WATCHING
        self._publish()

    def failed(self, cause: policy.FailureCause) -> None:
        """Count a watch that must be restarted."""
        self._failed += cause is not policy.FailureCause.TIMEOUT
        metrics.WATCH_RESTARTS.labels(scope=self.label, reason=cause).inc()

    def connected(self) -> None:
        """Record that the watch is open."""
        metrics.WATCH_CONNECTED.labels(scope=self.label).set(1)

    def disconnected(self) -> None:
        """Record that the watch is closed."""
        metrics.WATCH_CONNECTED.labels(scope=self.label).set(0)

    def positioned(self) -> None:
        """Record that the store has confirmed the position."""
        metrics.WATCH_POSITION_TIMESTAMP.labels(scope=self.label).set(time.time())

    def listing(self) -> None:
        """Record that a list of the scope begins: the scope's objects are unknown until it has ended."""
        self._listed = False
        self._unreadable.begin_list()

    def unreadable(self, *objects: items.Unreadable) -> None:
        """Report objects that can't be read: once in the log, and in metric and report while they are unreadable."""
        for one in objects:
            if self._unreadable.add(one):
                uid = one.item.uid[:80]
                self._log.warning("object unreadable", scope=self.label, name=one.name, uid=uid, reason=one.why)
        if objects:
            self._publish()

    def seen(self, line: items.WatchEvent, why: str) -> None:
        """Report whether the object of a watch event is readable: `why` is the reason if not, else ""."""
        if why and line.type != "DELETED":
            self.unreadable(items.Unreadable(item=line.item, why=why))
        elif self._unreadable.discard(line.item):
            self._publish()

    def received(self, kind: str) -> None:
        """Count a watch event."""
        self._lines[kind].inc()

    def _publish(self) -> None:
        number = len(self._unreadable)
        metrics.OBJECTS_UNREADABLE.labels(scope=self.label).set(number)
        state = {"state": self._state, "reason": self._reason, "scope": self.label, "listed": self._listed}
        shown = {"unreadable": number, "unreadable_objects": self._unreadable.shown} if number else {}
        self._report(self._component, {**state, **shown})

    def mutated(self, mutation: object_filter.Mutation) -> None:
        """Count a change of the watched annotation."""
        metrics.ANNOTATION_MUTATIONS.labels(kind=self._scope.kind, mutation=mutation).inc()


def name_of(scope: rules.Scope) -> str:
    """Return the scope's name by its kind, because its plural is unknown before discovery has answered."""
    return configured_scopes.label(scope.id.kind, scope.id)
