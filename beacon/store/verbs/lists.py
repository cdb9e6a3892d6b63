"""Lists: the complete sets of a scope's objects, applied page by page. One method serves one verb.

A list begins before its first page is applied, and its end closes the gap and sets the cursor. Runs within a
transaction of the service.
"""

from dataclasses import dataclass, replace
from functools import cache

from beacon import errors, wire
from beacon.domain import model
from beacon.store.ledger import cursors, rendering, session_state
from beacon.store.verbs import identity as ledger_identity
from beacon.store.verbs import journal, watch_positions


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """A running list: pages below `pages` are applied, with `count` objects; `known` are their UIDs that have rows."""

    session: int
    list_version: int
    prev: int
    api_version: str
    pages: int = 0
    count: int = 0
    known: tuple[frozenset[str], ...] = ()
    began_us: int = 0


class Lists:
    """Serves the verbs of a list."""

    def __init__(
        self,
        state: session_state.SessionState,
        positions: watch_positions.WatchPositions,
        journal_: journal.Journal,
    ) -> None:
        """Write the differences to the journal."""
        self._state = state
        self._positions = positions
        self._cursors = positions.cursors
        self._journal = journal_

    def begin(self, request: wire.ListBegin, now: rendering.Now) -> wire.PositionReply:
        """Invalidate the cursor and store the list's resourceVersion before any page of the list is applied."""
        scope = self._positions.scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.PositionReply(place=wire.ApplyResult.RECONFIGURED)
        epoch = self._positions.identity.get().epoch
        if not self._positions.is_current(request.scope, request.session, request.epoch, epoch):
            return self._positions.out_of_position(request.scope, "another session or epoch")
        run = self._state.get(_running(request.scope))
        if run and (run.session, run.list_version, run.prev) == (request.session, request.at, request.prev):
            return self._positions.positioned(request.scope, 0, epoch)
        cursor = self._cursors.get(request.scope)
        if why := self._why_no_list(request, cursor):
            return self._positions.out_of_position(request.scope, why)
        self._cursors.open_gap(request.scope, cursor, reason=request.reason, epoch=epoch)
        self._cursors.begin_list(
            request.scope, reason=request.reason, epoch=epoch, fingerprint=request.fingerprint, list_version=request.at
        )
        run = _List(
            session=request.session,
            list_version=request.at,
            prev=request.prev,
            api_version=request.api_version,
            began_us=now.us,
        )
        self._state.put(_running(request.scope), run)
        self._state.remove(session_state.StateKey(watch_positions.RUNNING_COMPARISON, request.scope))
        return self._positions.positioned(request.scope, 0, epoch)

    def page(self, request: wire.ListPage, now: rendering.Now) -> wire.PositionReply:
        """Apply one page: evaluate the accepted or tracked objects, and record which rows the page shows to exist."""
        identity = self._positions.identity.get()
        run = self._run(request)
        if run is None or request.number > run.pages:
            return self._positions.out_of_position(request.scope, "no such list is running, or a page is missing")
        if request.number < run.pages:
            return self._positions.positioned(request.scope, 0, identity.epoch)
        if len(request.uids) != len(request.versions):
            raise errors.PermanentError("a page must have as many versions as UIDs")
        listed = dict(zip(request.uids, request.versions, strict=True))
        if any(seen.uid not in listed for seen in request.observations):
            raise errors.PermanentError("a page contains an observation of an object that it does not list")
        if culprit := self._journal.contradicting(identity.epoch, request.at, listed):
            self._positions.begin_epoch(identity.epoch + 1)
            why = f"object {culprit} shows that the cluster was restored"
            return self._positions.out_of_position(request.scope, why)
        context = self._list_context(request.scope, run, identity, now)
        written = self._journal.events_written
        for seen in request.observations:
            self._journal.apply(context, seen)
        self._cursors.count_differences(request.scope, self._journal.events_written - written)
        known = (*run.known, self._journal.known_among(request.uids))
        run = replace(run, pages=run.pages + 1, count=run.count + len(request.uids), known=known)
        self._state.put(_running(request.scope), run)
        return self._positions.positioned(request.scope, 0, identity.epoch)

    def end(self, request: wire.ListEnd, now: rendering.Now) -> wire.PositionReply:
        """Emit events for objects that are gone, close the gap, and set the cursor to the list's resourceVersion."""
        identity = self._positions.identity.get()
        run = self._run(request)
        if run is None:
            return self._repeated_end(request, identity.epoch)
        if (run.pages, run.count) != (request.pages, request.count):
            return self._positions.out_of_position(request.scope, "the list is not complete")
        context = self._list_context(request.scope, run, identity, now)
        written = self._journal.events_written
        if request.identified:
            self._journal.sweep(context, list_version=request.at, listed=frozenset().union(*run.known))
            self._cursors.compared(request.scope, run.began_us)
        self._cursors.count_differences(request.scope, self._journal.events_written - written)
        self._cursors.close_gap(request.scope, list_version=request.at, now_us=now.us)
        self._cursors.move(request.scope, request.at, now.us)
        self._state.remove(_running(request.scope))
        self._state.put(_ended_key(request.scope), (request.session, request.at))
        self._state.put(cursors.confirmed_key(request.scope), now.us)
        return self._with_tracked(request.scope, request.at, identity.epoch)

    def _run(self, request: wire.ListPage | wire.ListEnd) -> _List | None:
        """Return the list that a request belongs to, if it is running."""
        run = self._state.get(_running(request.scope))
        return run if run and (run.session, run.list_version) == (request.session, request.at) else None

    def _repeated_end(self, request: wire.ListEnd, epoch: int) -> wire.PositionReply:
        if self._state.get(_ended_key(request.scope)) != (request.session, request.at):
            return self._positions.out_of_position(request.scope, "no such list is running")
        return self._with_tracked(request.scope, self._cursors.get(request.scope).version, epoch)

    def _with_tracked(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.PositionReply:
        return replace(self._positions.positioned(scope, cursor, epoch), tracked=self._cursors.tracked(scope))

    def _why_no_list(self, request: wire.ListBegin, cursor: cursors.Cursor) -> str:
        """Return why a list can't start here, "" if it can."""
        if request.at < 1:
            raise errors.PermanentError(f"invalid resourceVersion of a list: {request.at}")
        if cursor.version != request.prev:
            return f"the cursor is {cursor.version}, not {request.prev}"
        if request.at < cursor.highest:
            return f"{cursor.highest} has been read before this list"
        if self._state.get(_ended_key(request.scope)) == (request.session, request.at):
            return "this list has ended"
        return ""

    def _list_context(
        self, scope: model.ScopeId, run: _List, identity: ledger_identity.LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        context = self._positions.context(self._positions.scopes[scope], run.api_version, identity, now)
        gap = self._cursors.gap(scope)
        return replace(context, reason=gap[0], since_us=gap[1]) if gap else context


@cache
def _running(scope: model.ScopeId) -> session_state.StateKey[_List]:
    """Return the key of the scope's list that is running."""
    return session_state.StateKey(watch_positions.RUNNING_LIST, scope)


@cache
def _ended_key(scope: model.ScopeId) -> session_state.StateKey[tuple[int, int]]:
    """Return the key of the session and resourceVersion of the list that ended last."""
    return session_state.StateKey("ended", scope)
