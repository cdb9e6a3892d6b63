"""Positions: sessions of the watch streams, and lists. One method serves one verb.

The rule: a cursor moves only over changes that have been applied, in the same transaction and without holes. A scope
that can't be continued is listed, and a gap is recorded. Runs within a transaction of the service.
"""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from beacon import errors, wire
from beacon.configuration import configured_scopes
from beacon.domain import model, rules
from beacon.store.ledger import cursors, database, endpoints, packing, rendering, session_state
from beacon.store.verbs import catch_up, journal

_FIRST_TRACKED_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerIdentity:
    """The ledger's row of `meta`."""

    ledger: str
    epoch: int
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """The part of the configuration that positions and events depend on."""

    scopes: tuple[rules.Scope, ...]
    endpoints: tuple[endpoints.LedgerEndpoint, ...]
    updates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamSession:
    number: int
    nonce: str


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


_IDENTITY: session_state.StateKey[LedgerIdentity] = session_state.StateKey("identity")


class WatchPositions:
    """Serves the verbs with a position."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState, config: LedgerConfig) -> None:
        """Work on the given ledger under the given configuration."""
        self._ledger = ledger
        self._state = state
        self._config = config
        self._cursors = cursors.Cursors(ledger, state)
        self._journal = journal.Journal(ledger, state)
        self._catch_ups = catch_up.CatchUps(ledger, state)
        self._scopes = {scope.id: scope for scope in config.scopes}
        self.endpoints: tuple[endpoints.ConfiguredEndpoint, ...] = ()
        self.renamed: endpoints.Renamed | None = None
        self._refused = ""  # the cluster that was refused last
        self._first_session = secrets.randbelow(2**40)  # differs from the sessions of an earlier store

    def prepare(self, now_us: int) -> bool:
        """Align cursors and rows with the configured scopes, once at startup. Return True if the ledger was a copy."""
        self._ledger.run(
            "INSERT INTO meta (one, ledger, created_us) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
            (str(uuid.uuid4()), now_us),
        )
        is_copy = self._become_another(now_us)
        untouched = self._cursors.is_untouched()
        new_scopes: list[model.ScopeId] = []
        for scope, cursor in self._cursors.all().items():
            if scope not in self._scopes:
                self._cursors.abandon(scope, cursor, self.identity().epoch)
        for scope in self._scopes:
            reason = model.GapReason.FIRST_LIST if untouched else model.GapReason.CONFIGURATION
            if self._cursors.ensure(scope, reason) and not untouched:
                new_scopes.append(scope)
        self._cursors.unmanage_uncovered(tuple(self._scopes), now_us)
        self._align_endpoints(new_scopes, now_us)
        return is_copy

    def _align_endpoints(self, new_scopes: Sequence[model.ScopeId], now_us: int) -> None:
        """Align the rows of endpoints with the configured names, and record what must be compared."""
        aligned = endpoints.Endpoints(self._ledger).align(
            self._config.endpoints, updates=self._config.updates, now_us=now_us
        )
        self.endpoints, self.renamed = aligned.endpoints, aligned.renamed
        configured = [one.id for one in self.endpoints]
        for one in aligned.from_now:
            self._catch_ups.withhold(one)
        self._catch_ups.owe(configured, new_scopes)
        self._catch_ups.owe(aligned.owed, self._scopes)
        self._catch_ups.load(tuple(self._scopes), configured)

    def _become_another(self, now_us: int) -> bool:
        """Assign a new id to a copy, and record a gap: the original ledger has used the numbers that follow."""
        if not self._ledger.run("UPDATE meta SET ledger = ?, copied = 0 WHERE copied = 1", (str(uuid.uuid4()),)):
            return False
        self._ledger.run(
            "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events'",
            (packing.SKIPPED_NUMBERS,),
        )
        self._cursors.note_restore(now_us)
        return True

    def identity(self) -> LedgerIdentity:
        """Return the ledger's id, epoch and cluster."""
        identity = self._state.get(_IDENTITY)
        if identity is None:
            identity = self._read_identity()
            self._state.put(_IDENTITY, identity)
        return identity

    def _read_identity(self) -> LedgerIdentity:
        row = self._ledger.row("SELECT ledger, epoch, cluster FROM meta")
        if row is None:
            raise database.DamagedError("the ledger has no identity")
        return LedgerIdentity(ledger=row[0], epoch=row[1], cluster=row[2])

    def open_stream(self, request: wire.OpenStream) -> wire.StreamOpened:
        """Start a session. Return the scope's position and the required UIDs."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.StreamOpened(place=wire.ApplyResult.RECONFIGURED)
        identity = self._bind_cluster(request.cluster)
        cursor = self._voided_if_foreign(request.scope, scope.fingerprint, identity.epoch)
        self._cursors.label(request.scope, request.label)
        return wire.StreamOpened(
            place=wire.ApplyResult.APPLIED,
            session=self._session(request).number,
            epoch=identity.epoch,
            cursor=cursor.version,
            highest=self._cursors.highest(request.scope, identity.epoch),
            reason=None if cursor.version else model.GapReason(cursor.reason),
            tracked=self._cursors.tracked(request.scope),
            tracked_version=self._tracked_version(request.scope),
        )

    def rewind(self, request: wire.Rewind) -> wire.PositionReply:
        """Start a new epoch, unless it has begun: all positions of the old one are invalid."""
        epoch = self.identity().epoch
        if self._is_current(request.scope, request.session, request.epoch, epoch):
            self.begin_epoch(epoch + 1)
        return self._out_of_position(request.scope, "the cluster was restored to an earlier state")

    def expire(self, request: wire.Expire) -> wire.PositionReply:
        """Invalidate a cursor whose history the API server no longer has."""
        epoch = self.identity().epoch
        if not self._is_current(request.scope, request.session, request.epoch, epoch):
            return self._out_of_position(request.scope, "another session or epoch")
        cursor = self._cursors.get(request.scope)
        if cursor.version and cursor.version != request.prev:
            return self._out_of_position(request.scope, f"the cursor is {cursor.version}, not {request.prev}")
        if cursor.version:
            self._cursors.void(request.scope, model.GapReason.EXPIRED)
        return self._positioned(request.scope, 0, epoch)

    def adopt(self, request: wire.Adopt, now_us: int) -> wire.Adopted:
        """Bind the ledger to another cluster: a new epoch, without `deleted` events for objects of the old cluster."""
        identity = self.identity()
        cluster = request.cluster or self._refused
        if not cluster:
            raise errors.PermanentError("no other cluster was refused since the store started: name its UID")
        adopted = wire.Adopted(cluster=cluster, changed=cluster != identity.cluster, previous=identity.cluster)
        if adopted.changed and cluster != self._refused and not request.force:
            raise errors.PermanentError(
                f"{self._refused or 'no other cluster'} was refused since the store started, not {cluster}: --force"
                " adopts it nevertheless, and nothing is watched if it is not the API server's cluster"
            )
        if request.check or not adopted.changed:
            return adopted
        self._ledger.run("UPDATE meta SET cluster = ?", (cluster,))
        self._cursors.forget_objects(now_us)
        self.begin_epoch(identity.epoch + 1, model.GapReason.ADOPTED)
        for scope in self._scopes:
            self.reopen_stream(scope)
        return adopted

    def confirm(self, request: wire.Confirm, now: rendering.Now) -> wire.Confirmed:
        """Confirm or move the positions of quiet scopes."""
        if any(one.observations for one in request.positions):
            raise errors.PermanentError("a confirmation contains observations")
        return wire.Confirmed(replies=tuple(self.observe(one, now) for one in request.positions))

    def observe(self, request: wire.Observe, now: rendering.Now) -> wire.PositionReply:
        """Apply the changes between the cursor and the request's position, and move the cursor there."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.PositionReply(place=wire.ApplyResult.RECONFIGURED)
        identity = self.identity()
        cursor = self._cursors.get(request.scope)
        if why := self._why_not(request, identity, cursor):
            return self._out_of_position(request.scope, why)
        if request.position <= cursor.version:
            self._cursors.confirm(request.scope, cursor, now.us)
            return self._positioned(request.scope, cursor.version, identity.epoch)
        context = self.context(scope, request.api_version, identity, now)
        for seen in request.observations:
            self._journal.apply(context, seen)
        self._cursors.move(request.scope, request.position, now.us)
        self._state.put(cursors.confirmed_key(request.scope), now.us)
        return self._positioned(request.scope, request.position, identity.epoch)

    def list_begin(self, request: wire.ListBegin, now: rendering.Now) -> wire.PositionReply:
        """Invalidate the cursor and store the list's resourceVersion before any page of the list is applied."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.PositionReply(place=wire.ApplyResult.RECONFIGURED)
        epoch = self.identity().epoch
        if not self._is_current(request.scope, request.session, request.epoch, epoch):
            return self._out_of_position(request.scope, "another session or epoch")
        run = self._state.get(_list_key(request.scope))
        if run and (run.session, run.list_version, run.prev) == (request.session, request.at, request.prev):
            return self._positioned(request.scope, 0, epoch)
        cursor = self._cursors.get(request.scope)
        if why := self._why_no_list(request, cursor):
            return self._out_of_position(request.scope, why)
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
        self._state.put(_list_key(request.scope), run)
        self._state.remove(session_state.StateKey("comparison", request.scope))
        return self._positioned(request.scope, 0, epoch)

    def list_page(self, request: wire.ListPage, now: rendering.Now) -> wire.PositionReply:
        """Apply one page: evaluate the accepted or tracked objects, and record which rows the page shows to exist."""
        identity = self.identity()
        run = self._run(request)
        if run is None or request.number > run.pages:
            return self._out_of_position(request.scope, "no such list is running, or a page is missing")
        if request.number < run.pages:
            return self._positioned(request.scope, 0, identity.epoch)
        if len(request.uids) != len(request.versions):
            raise errors.PermanentError("a page must have as many versions as UIDs")
        listed = dict(zip(request.uids, request.versions, strict=True))
        if any(seen.uid not in listed for seen in request.observations):
            raise errors.PermanentError("a page contains an observation of an object that it does not list")
        if culprit := self._journal.contradicting(identity.epoch, request.at, listed):
            self.begin_epoch(identity.epoch + 1)
            return self._out_of_position(request.scope, f"object {culprit} shows that the cluster was restored")
        context = self._list_context(request.scope, run, identity, now)
        written = self._journal.events_written
        for seen in request.observations:
            self._journal.apply(context, seen)
        self._cursors.count_differences(request.scope, self._journal.events_written - written)
        known = (*run.known, self._journal.known_among(request.uids))
        run = replace(run, pages=run.pages + 1, count=run.count + len(request.uids), known=known)
        self._state.put(_list_key(request.scope), run)
        return self._positioned(request.scope, 0, identity.epoch)

    def list_end(self, request: wire.ListEnd, now: rendering.Now) -> wire.PositionReply:
        """Emit events for objects that are gone, close the gap, and set the cursor to the list's resourceVersion."""
        identity = self.identity()
        run = self._run(request)
        if run is None:
            return self._repeated_end(request, identity.epoch)
        if (run.pages, run.count) != (request.pages, request.count):
            return self._out_of_position(request.scope, "the list is not complete")
        context = self._list_context(request.scope, run, identity, now)
        written = self._journal.events_written
        if request.identified:
            self._journal.sweep(context, list_version=request.at, listed=frozenset().union(*run.known))
            self._cursors.compared(request.scope, run.began_us)
        self._cursors.count_differences(request.scope, self._journal.events_written - written)
        self._cursors.close_gap(request.scope, list_version=request.at, now_us=now.us)
        self._cursors.move(request.scope, request.at, now.us)
        self._state.remove(_list_key(request.scope))
        self._state.put(_ended_key(request.scope), (request.session, request.at))
        self._state.put(cursors.confirmed_key(request.scope), now.us)
        return self._with_tracked(request.scope, request.at, identity.epoch)

    def write_moved(self) -> None:
        """Write the rows of cursors that have moved, before a commit or the end of a savepoint."""
        self._cursors.write_moved()

    def statistics(self) -> tuple[wire.ScopeStatistics, ...]:
        """Return each scope's position, and when it was last confirmed."""
        return tuple(
            wire.ScopeStatistics(
                label=cursor.label or configured_scopes.spelled("", scope),
                listed=cursor.version > 0,
                position=cursor.version,
                position_us=self._state.get(cursors.confirmed_key(scope)) or cursor.positioned_us,
                name=configured_scopes.label(scope.kind, scope),
            )
            for scope, cursor in self._cursors.all().items()
        )

    def configured(self, scope: model.ScopeId, fingerprint: str) -> rules.Scope | None:
        """Return a scope if it is configured with this fingerprint."""
        found = self._scopes.get(scope)
        return found if found and found.fingerprint == fingerprint else None

    def reopen_stream(self, scope: model.ScopeId) -> None:
        """Force the scope's stream to reopen, because another client changed the set of UIDs that it must report."""
        self._state.put(_tracked_key(scope), self._tracked_version(scope) + 1)

    def begin_epoch(self, epoch: int, reason: model.GapReason = model.GapReason.REWOUND) -> None:
        """Invalidate every position: the cluster was restored to an earlier state, or is another one."""
        self._ledger.run("UPDATE meta SET epoch = ?", (epoch,))
        self._state.remove(_IDENTITY)
        self._cursors.void_all(epoch, reason)
        for scope in self._scopes:
            session = self._state.get(_session_key(scope))
            if session is not None:
                self._state.put(_session_key(scope), _StreamSession(number=session.number + 1, nonce=""))
            self._state.remove(_list_key(scope))
            self._state.remove(session_state.StateKey("comparison", scope))

    @property
    def owes_catch_up(self) -> bool:
        """Return True if any endpoint must still be compared."""
        return self._catch_ups.owes

    def is_catching_up(self, endpoint: int) -> bool:
        """Return True if an endpoint must still be compared."""
        return self._catch_ups.is_owed(endpoint)

    def next_catch_up(self, *, beside_live: bool) -> catch_up.Place | None:
        """Return the endpoint and the scope that can be compared now."""
        return self._catch_ups.next_place(beside_live=beside_live)

    def catch_up(self, place: catch_up.Place, now: rendering.Now, *, beside_live: bool) -> None:
        """Compare the next objects of a scope for one endpoint."""
        number, scope = place
        endpoint = next(one for one in self.endpoints if one.id == number)
        configured = self._scopes[scope]
        context = self.context(configured, configured.api_version, self.identity(), now)
        self._catch_ups.page(context, endpoint, beside_live=beside_live)

    def context(
        self, scope: rules.Scope, api_version: str, identity: LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        """Return the values that all observations of one request share."""
        return rendering.RequestContext(
            scope=scope,
            api_version=api_version,
            epoch=identity.epoch,
            cluster=identity.cluster,
            ledger=identity.ledger,
            endpoints=self.endpoints,
            updates=self._config.updates,
            now=now,
        )

    def _run(self, request: wire.ListPage | wire.ListEnd) -> _List | None:
        """Return the list that a request belongs to, if it is running."""
        run = self._state.get(_list_key(request.scope))
        return run if run and (run.session, run.list_version) == (request.session, request.at) else None

    def _repeated_end(self, request: wire.ListEnd, epoch: int) -> wire.PositionReply:
        if self._state.get(_ended_key(request.scope)) != (request.session, request.at):
            return self._out_of_position(request.scope, "no such list is running")
        return self._with_tracked(request.scope, self._cursors.get(request.scope).version, epoch)

    def _with_tracked(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.PositionReply:
        return replace(self._positioned(scope, cursor, epoch), tracked=self._cursors.tracked(scope))

    def _why_not(self, request: wire.Observe, identity: LedgerIdentity, cursor: cursors.Cursor) -> str:
        """Return why an observation can't be applied at this position, "" if it can."""
        if not self._is_current(request.scope, request.session, request.epoch, identity.epoch):
            return "another session of the stream or another epoch has begun"
        if not cursor.version:
            return "the scope has no position, it must be listed"
        if request.tracked_version < self._tracked_version(request.scope):
            return "the tracked set has changed"
        if request.position > cursor.version and request.prev != cursor.version:
            return f"the cursor is {cursor.version}, not {request.prev}"
        return ""

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

    def _voided_if_foreign(self, scope: model.ScopeId, fingerprint: str, epoch: int) -> cursors.Cursor:
        """Return the cursor, invalidated if it belongs to another rule or epoch."""
        cursor = self._cursors.get(scope)
        if not cursor.version or (cursor.fingerprint, cursor.epoch) == (fingerprint, epoch):
            return cursor
        rewound = cursor.epoch != epoch
        self._cursors.void(scope, model.GapReason.REWOUND if rewound else model.GapReason.CONFIGURATION)
        return self._cursors.get(scope)

    def _bind_cluster(self, cluster: str) -> LedgerIdentity:
        """Store the cluster's UID when it is first known; raise if the ledger is bound to another one."""
        identity = self.identity()
        if not cluster or cluster == identity.cluster:
            return identity
        if identity.cluster:
            self._refused = cluster
            message = (
                f"the ledger belongs to cluster {identity.cluster}, the API server to cluster {cluster}:"
                " `beacon adopt` binds the ledger to that one"
            )
            raise errors.ForeignClusterError(message)
        self._ledger.run("UPDATE meta SET cluster = ?", (cluster,))
        self._state.remove(_IDENTITY)
        return self.identity()

    def _session(self, request: wire.OpenStream) -> _StreamSession:
        session = self._state.get(_session_key(request.scope))
        if session is None or session.nonce != request.nonce:
            session = _StreamSession(
                number=(session.number if session else self._first_session) + 1, nonce=request.nonce
            )
            self._state.put(_session_key(request.scope), session)
            self._state.remove(_list_key(request.scope))
        return session

    def _is_current(self, scope: model.ScopeId, number: int, epoch: int, current: int) -> bool:
        session = self._state.get(_session_key(scope))
        return session is not None and session.number == number and epoch == current

    def _list_context(
        self, scope: model.ScopeId, run: _List, identity: LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        context = self.context(self._scopes[scope], run.api_version, identity, now)
        gap = self._cursors.gap(scope)
        return replace(context, reason=gap[0], since_us=gap[1]) if gap else context

    def _tracked_version(self, scope: model.ScopeId) -> int:
        return self._state.get(_tracked_key(scope)) or _FIRST_TRACKED_VERSION

    def _positioned(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.PositionReply:
        version = self._tracked_version(scope)
        return wire.PositionReply(place=wire.ApplyResult.APPLIED, cursor=cursor, epoch=epoch, tracked_version=version)

    def _out_of_position(self, scope: model.ScopeId, why: str) -> wire.PositionReply:
        version = self._tracked_version(scope)
        return wire.PositionReply(place=wire.ApplyResult.OUT_OF_POSITION, tracked_version=version, why=why)


@cache
def _session_key(scope: model.ScopeId) -> session_state.StateKey[_StreamSession]:
    return session_state.StateKey("session", scope)


@cache
def _list_key(scope: model.ScopeId) -> session_state.StateKey[_List]:
    return session_state.StateKey("list", scope)


@cache
def _ended_key(scope: model.ScopeId) -> session_state.StateKey[tuple[int, int]]:
    """Return the key of the session and resourceVersion of the list that ended last."""
    return session_state.StateKey("ended", scope)


@cache
def _tracked_key(scope: model.ScopeId) -> session_state.StateKey[int]:
    return session_state.StateKey("tracked", scope)
