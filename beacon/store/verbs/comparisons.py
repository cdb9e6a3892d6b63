"""Comparisons of a scope with the cluster. One method serves one verb.

The rule: only a difference that the watcher can no longer deliver is drift. Therefore nothing is compared before the
scope's cursor has reached the list's resourceVersion X, every object is evaluated at its own resourceVersion, and rows
newer than X are not touched. Nothing here moves a cursor. A running comparison is kept in memory only; any event that
makes it doubtful discards it, and the reconciler starts again. Runs within a transaction of the service.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from beacon import errors, wire
from beacon.domain import model, rules
from beacon.store.ledger import cursors, database, rendering, session_state
from beacon.store.verbs import journal, watch_positions


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDone:
    """The result of one request of a comparison, for metrics: objects compared, and events by type."""

    kind: str
    compared: int
    created: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The events that a complete comparison found missing from the watch, for the log."""

    label: str
    created: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A running comparison. `list_version` is 0 until the cursor has reached the list.

    `highest` is the highest resourceVersion that was read from the resource before the comparison read anything.
    """

    scope: rules.Scope
    nonce: str
    epoch: int
    highest: int
    began_us: int
    list_version: int = 0
    api_version: str = ""
    pages: int = 0
    count: int = 0
    known: tuple[frozenset[str], ...] = ()
    created: int = 0
    updated: int = 0
    deleted: int = 0


class Comparisons:
    """Serves the verbs of the reconciler."""

    def __init__(
        self,
        ledger: database.Database,
        state: session_state.SessionState,
        positions: watch_positions.WatchPositions,
    ) -> None:
        """Work on the given ledger, beside the streams whose positions count."""
        self._state = state
        self._positions = positions
        self._cursors = cursors.Cursors(ledger, state)
        self._journal = journal.Journal(ledger, state)

    def open(self, request: wire.CompareOpen, now: rendering.Now) -> wire.Compared:
        """Start a comparison: record the highest resourceVersion that was read before it."""
        scope = self._positions.configured(request.scope, request.fingerprint)
        if scope is None:
            return wire.Compared(place=wire.ApplyResult.RECONFIGURED)
        identity = self._positions.identity.get()
        if request.cluster and identity.cluster and request.cluster != identity.cluster:
            message = f"the ledger belongs to cluster {identity.cluster}, the API server to cluster {request.cluster}"
            raise errors.ForeignClusterError(message)
        run = self._state.get(_run_key(request.scope))
        if run is None or run.nonce != request.nonce:
            if run is not None:
                self._note_drift(
                    request.scope, _so_far(run)
                )  # abandoned by its reconciler, but its events were emitted
            highest = self._cursors.highest(request.scope, identity.epoch)
            run = _Comparison(scope=scope, nonce=request.nonce, epoch=identity.epoch, highest=highest, began_us=now.us)
            self._state.put(_run_key(request.scope), run)
        return _so_far(run)

    def begin(self, request: wire.CompareBegin) -> wire.Compared:
        """Return whether the cursor has reached the list, and which UIDs are required."""
        run = self._run(request.scope, request.nonce)
        if run is None or request.at < 1 or run.list_version not in (0, request.at):
            return _void("no such comparison is running")
        if request.at < run.highest:
            self._positions.begin_epoch(run.epoch + 1)
            return _void("the cluster was restored to an earlier state")
        if not self._has_reached(run, request.at):
            return _so_far(run)
        if self._cursors.pruned(request.scope) > request.at:
            return _void("rows newer than the list have been removed")
        run = replace(run, list_version=request.at, api_version=request.api_version)
        self._state.put(_run_key(request.scope), run)
        return replace(_so_far(run), reached=True, tracked=self._cursors.tracked(request.scope))

    def page(self, request: wire.ComparePage, now: rendering.Now) -> wire.Compared:
        """Compare one page: apply the observations that the watcher should have reported and did not."""
        run = self._run(request.scope, request.nonce, list_version=request.at)
        if run is None or request.number > run.pages:
            return _void("no such comparison is running, or a page is missing")
        if why := self._why_void(run):
            return _void(why)
        if request.number < run.pages:
            return _so_far(run)
        listed = _listed(request)
        if culprit := self._journal.contradicting(run.epoch, run.list_version, listed):
            self._positions.begin_epoch(run.epoch + 1)
            return _void(f"object {culprit} shows that the cluster was restored")
        context = self._context(run, now)
        before = self._before()
        for seen in request.observations:
            self._journal.apply(context, seen)
        known = (*run.known, self._journal.known_among(request.uids))
        run = replace(run, pages=run.pages + 1, count=run.count + len(request.uids), known=known)
        return self._reply_since(run, before, compared=len(request.uids))

    def end(self, request: wire.CompareEnd, now: rendering.Now) -> wire.Compared:
        """Emit events for objects that are gone, and record that the scope was complete when the comparison started."""
        run = self._run(request.scope, request.nonce, list_version=request.at)
        if run is None:
            ended = self._state.get(_reply_key(request.scope, request.nonce))
            return ended or _void("no such comparison is running")
        if why := self._why_void(run):
            return _void(why)
        if (run.pages, run.count) != (request.pages, request.count):
            return _void("the list is not complete")
        before = self._before()
        if request.identified:
            self._journal.sweep(
                self._context(run, now), list_version=run.list_version, listed=frozenset().union(*run.known)
            )
            self._cursors.compared(request.scope, run.began_us)
        reply = self._reply_since(run, before, compared=0)
        self._note_drift(request.scope, reply)
        self._state.remove(_run_key(request.scope))
        self._remember_end(request, reply)
        return reply

    def _run(self, scope: model.ScopeId, nonce: str, *, list_version: int = 0) -> _Comparison | None:
        """Return the comparison that a request belongs to, if it is running."""
        run = self._state.get(_run_key(scope))
        return run if run and run.nonce == nonce and (not list_version or run.list_version == list_version) else None

    def _why_void(self, run: _Comparison) -> str:
        """Return why a comparison can't continue, "" if it can."""
        if not run.list_version or not self._has_reached(run, run.list_version):
            return "the scope has lost its position"
        if self._cursors.pruned(run.scope.id) > run.list_version:
            return "rows newer than the list have been removed"
        return ""

    def _has_reached(self, run: _Comparison, list_version: int) -> bool:
        cursor = self._cursors.get(run.scope.id)
        return (cursor.epoch, cursor.fingerprint) == (
            run.epoch,
            run.scope.fingerprint,
        ) and cursor.version >= list_version

    def _context(self, run: _Comparison, now: rendering.Now) -> rendering.RequestContext:
        context = self._positions.context(run.scope, run.api_version, self._positions.identity.get(), now)
        return replace(context, since_us=self._cursors.compared_us(run.scope.id) or None)

    def _before(self) -> tuple[Mapping[model.EventType, int], int]:
        return self._journal.events_written_by_type, self._journal.watched_changes

    def _reply_since(
        self, run: _Comparison, before: tuple[Mapping[model.EventType, int], int], *, compared: int
    ) -> wire.Compared:
        """Add up the events since `before`, note them, and reopen the stream if the set of watched UIDs has changed."""
        written, watched_changes = before
        created, updated, deleted = (
            self._journal.events_written_by_type.get(one, 0) - written.get(one, 0) for one in _TYPES
        )
        run = replace(run, created=run.created + created, updated=run.updated + updated, deleted=run.deleted + deleted)
        self._state.put(_run_key(run.scope.id), run)
        kind = run.scope.id.kind
        self._state.note(
            ComparisonDone(kind=kind, compared=compared, created=created, updated=updated, deleted=deleted)
        )
        if self._journal.watched_changes != watched_changes:
            self._positions.reopen_stream(run.scope.id)
        return _so_far(run)

    def _note_drift(self, scope: model.ScopeId, found: wire.Compared) -> None:
        if found.created or found.updated or found.deleted:
            label = self._cursors.get(scope).label
            drift = Drift(label=label, created=found.created, updated=found.updated, deleted=found.deleted)
            self._state.note(drift)

    def _remember_end(self, request: wire.CompareEnd, reply: wire.Compared) -> None:
        """Keep the reply to the last end, in case the request is repeated."""
        before = self._state.get(_last_key(request.scope))
        if before is not None:
            self._state.remove(_reply_key(request.scope, before))
        self._state.put(_last_key(request.scope), request.nonce)
        self._state.put(_reply_key(request.scope, request.nonce), reply)


def _run_key(scope: model.ScopeId) -> session_state.StateKey[_Comparison]:
    return session_state.StateKey(watch_positions.RUNNING_COMPARISON, scope)


def _last_key(scope: model.ScopeId) -> session_state.StateKey[str]:
    """Return the key of the nonce of the scope's last complete comparison."""
    return session_state.StateKey("compared", scope)


def _reply_key(scope: model.ScopeId, nonce: str) -> session_state.StateKey[wire.Compared]:
    """Return the key of the reply that ended a comparison."""
    return session_state.StateKey("compared-reply", (scope, nonce))


_TYPES = (model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED)


def _listed(request: wire.ComparePage) -> dict[str, int]:
    """Return the page as UID -> resourceVersion.

    Raises:
        errors.PermanentError: the page contradicts itself.
    """
    if len(request.uids) != len(request.versions):
        raise errors.PermanentError("a page must have as many versions as UIDs")
    listed = dict(zip(request.uids, request.versions, strict=True))
    for seen in request.observations:
        if listed.get(seen.uid) != seen.resource_version or seen.resource_version > request.at:
            raise errors.PermanentError("a page contains an observation that differs from its list")
        if seen.change is not model.ChangeKind.LISTED:
            raise errors.PermanentError("a page of a comparison may only contain listed objects")
    return listed


def _so_far(run: _Comparison) -> wire.Compared:
    return wire.Compared(place=wire.ApplyResult.APPLIED, created=run.created, updated=run.updated, deleted=run.deleted)


def _void(why: str) -> wire.Compared:
    return wire.Compared(place=wire.ApplyResult.OUT_OF_POSITION, why=why)
