"""What a stream says of itself: its state for /ready, its metrics, one log line for each change of state.

It decides nothing. What is repeated is counted, not said again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from beacon.cluster import items
from beacon.configuration import configured_scopes
from beacon.domain import rules
from beacon.runtime import log, metrics
from beacon.watcher import object_filter, policy, unreadable

Report = Callable[[str, Mapping[str, Any]], None]
_FINE = frozenset({policy.StreamState.OPENING, policy.StreamState.LISTING, policy.StreamState.WATCHING})


class StreamStatus:
    """Speaks for the stream of one scope."""

    def __init__(self, scope: rules.Scope, report: Report) -> None:
        """Publish through `report`, which takes a component's name and its state."""
        self._scope = scope.id
        self._component = f"scope.{name_of(scope)}"
        self._report = report
        self._log = log.get()
        self._state: policy.StreamState | None = None
        self._reason = ""
        self._listed = False
        self._unreadable = unreadable.Objects()
        self._failed = 0
        # Kept, because looking a child up costs more than moving it, and one moves for every line.
        self._lines = {
            kind: metrics.WATCH_LINES.labels(kind=scope.id.kind, type=kind)
            for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
        }
        self.label = configured_scopes.label(scope.resource or scope.id.kind.lower(), scope.id)

    @property
    def state(self) -> policy.StreamState | None:
        """The state that was published last."""
        return self._state

    def found(self, plural: str) -> None:
        """Take the plural into the scope's label; until discovery has answered the kind stands for it."""
        self.label = configured_scopes.label(plural, self._scope)
        self.disconnected()

    def enter(self, state: policy.StreamState, reason: str = "") -> None:
        """Be in a state from now on; a person is told when it is another than before."""
        changed = state is not self._state
        if not changed and reason == self._reason:
            return
        if changed and (reason or state is not policy.StreamState.OPENING):
            say = self._log.info if state in _FINE else self._log.warning
            say("watch state changed", scope=self.label, state=state, reason=reason, failures=self._failed)
            self._failed = 0
        self._state, self._reason = state, reason
        self._listed |= state is policy.StreamState.WATCHING
        self._publish()

    def failed(self, cause: policy.FailureCause) -> None:
        """Count a watch that must be begun anew."""
        self._failed += cause is not policy.FailureCause.TIMEOUT
        metrics.WATCH_RESTARTS.labels(scope=self.label, reason=cause).inc()

    def connected(self) -> None:
        """The watch is open."""
        metrics.WATCH_CONNECTED.labels(scope=self.label).set(1)

    def disconnected(self) -> None:
        """The watch is closed."""
        metrics.WATCH_CONNECTED.labels(scope=self.label).set(0)

    def positioned(self) -> None:
        """The store has confirmed the position."""
        metrics.WATCH_POSITION_TIMESTAMP.labels(scope=self.label).set(time.time())

    def listing(self) -> None:
        """A list of the whole scope begins: until it has ended the scope is not known."""
        self._listed = False
        self._unreadable.begin_list()

    def unreadable(self, *objects: items.Unreadable) -> None:
        """Report objects that can't be read: once in the log, in metric and report for as long as they are so."""
        for one in objects:
            if self._unreadable.add(one):
                uid = one.item.uid[:80]
                self._log.warning("object unreadable", scope=self.label, name=one.name, uid=uid, reason=one.why)
        if objects:
            self._publish()

    def seen(self, line: items.WatchEvent, why: str) -> None:
        """Report what a line shows of its object: `why` it is unreadable, or "" that it is not."""
        if why and line.type != "DELETED":
            self.unreadable(items.Unreadable(item=line.item, why=why))
        elif self._unreadable.discard(line.item):
            self._publish()

    def received(self, kind: str) -> None:
        """Count a line."""
        self._lines[kind].inc()

    def _publish(self) -> None:
        number = len(self._unreadable)
        metrics.OBJECTS_UNREADABLE.labels(scope=self.label).set(number)
        said = {"state": self._state, "reason": self._reason, "scope": self.label, "listed": self._listed}
        shown = {"unreadable": number, "unreadable_objects": self._unreadable.shown} if number else {}
        self._report(self._component, {**said, **shown})

    def mutated(self, mutation: object_filter.Mutation) -> None:
        """Count a change of the watched annotation."""
        metrics.ANNOTATION_MUTATIONS.labels(kind=self._scope.kind, mutation=mutation).inc()


def name_of(scope: rules.Scope) -> str:
    """Name a scope as configured: by its kind, because its plural is known only when discovery has answered."""
    return configured_scopes.label(scope.id.kind, scope.id)
