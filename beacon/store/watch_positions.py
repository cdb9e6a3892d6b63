"""Positions: sessions of the watch streams, and lists. One method is one verb of the wire.

The rule that all of it serves: a cursor moves only over what has been applied, in the same transaction, without holes;
what can't be continued is listed, and that there was a gap is said. Called within a transaction of the service.
"""

import secrets
import uuid
from dataclasses import dataclass, replace

from beacon import errors, wire
from beacon.configuration import configured_scopes
from beacon.domain import model, rules
from beacon.store import cursors, database, journal, rendering, session_state

_FIRST_TRACKED_VERSION = 1
_JUMP = 1_000_000  # numbers that the ledger of which this is a copy may have given out since


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerIdentity:
    """The ledger's row of `meta`."""

    ledger: str
    epoch: int
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """What of the configuration positions and events depend on."""

    scopes: tuple[rules.Scope, ...]
    endpoint: str
    updates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    number: int
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A list under way: pages below `pages` are applied, `count` objects were in them, `known` of them have rows."""

    session: int
    at: int
    prev: int
    api_version: str
    pages: int = 0
    count: int = 0
    known: tuple[frozenset[str], ...] = ()
    began_us: int = 0


class WatchPositions:
    """Carries out the position-bearing verbs."""

    def __init__(self, ledger: database.Database, remembered: session_state.SessionState, terms: LedgerConfig) -> None:
        """Work on the given ledger under the given configuration."""
        self._ledger = ledger
        self._memory = remembered
        self._terms = terms
        self._cursors = cursors.Cursors(ledger, remembered)
        self._journal = journal.Journal(ledger, remembered)
        self._scopes = {scope.id: scope for scope in terms.scopes}
        self._refused = ""  # the cluster that was refused last
        self._first_session = secrets.randbelow(2**40)  # no session of an earlier store has the same number

    def prepare(self, now_us: int) -> bool:
        """Bring cursors and rows in line with the scopes configured now, once at start; says whether it was a copy."""
        self._ledger.run(
            "INSERT INTO meta (one, ledger, created_us) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
            (str(uuid.uuid4()), now_us),
        )
        is_copy = self._become_another()
        untouched = self._cursors.is_untouched()
        for scope, cursor in self._cursors.all().items():
            if scope not in self._scopes:
                self._cursors.abandon(scope, cursor, self.identity().epoch)
        for scope in self._scopes:
            self._cursors.ensure(scope, model.GapReason.FIRST_LIST if untouched else model.GapReason.CONFIGURATION)
        self._cursors.unmanage_uncovered(tuple(self._scopes), now_us)
        return is_copy

    def _become_another(self) -> bool:
        """Give a copy an id of its own: the ledger that it was made of has used the numbers that follow."""
        if not self._ledger.run("UPDATE meta SET ledger = ?, copied = 0 WHERE copied = 1", (str(uuid.uuid4()),)):
            return False
        self._ledger.run("UPDATE sqlite_sequence SET seq = seq + ? WHERE name IN ('events', 'deliveries')", (_JUMP,))
        return True

    def identity(self) -> LedgerIdentity:
        """Give the ledger's id, epoch and cluster."""
        identity: LedgerIdentity | None = self._memory.get("identity")
        if identity is None:
            identity = self._read_identity()
            self._memory.put("identity", identity)
        return identity

    def _read_identity(self) -> LedgerIdentity:
        row = self._ledger.row("SELECT ledger, epoch, cluster FROM meta")
        if row is None:
            raise database.DamagedError("the ledger has no identity")
        return LedgerIdentity(ledger=row[0], epoch=row[1], cluster=row[2])

    def open_stream(self, request: wire.OpenStream) -> wire.StreamOpened:
        """Begin a session: say where the scope stands and which UIDs are wanted."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.StreamOpened(place=wire.Place.RECONFIGURED)
        identity = self._meet(request.cluster)
        cursor = self._voided_if_foreign(request.scope, scope.fingerprint, identity.epoch)
        self._cursors.label(request.scope, request.label)
        return wire.StreamOpened(
            place=wire.Place.APPLIED,
            session=self._session(request).number,
            epoch=identity.epoch,
            cursor=cursor.version,
            highest=self._cursors.highest(request.scope, identity.epoch),
            reason=None if cursor.version else model.GapReason(cursor.reason),
            tracked=self._cursors.tracked(request.scope),
            tracked_version=self._tracked_version(request.scope),
        )

    def rewind(self, request: wire.Rewind) -> wire.Positioned:
        """Begin a new epoch, unless it has begun: no position of the old one means anything now."""
        epoch = self.identity().epoch
        if self._is_current(request.scope, request.session, request.epoch, epoch):
            self.begin_epoch(epoch + 1)
        return self._out_of_position(request.scope, "the cluster was restored to an earlier state")

    def expire(self, request: wire.Expire) -> wire.Positioned:
        """Void a cursor whose history the API server has forgotten."""
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
        """Follow another cluster from now on: a new epoch, in which nothing of the old cluster is told as deleted."""
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
            self.outdate(scope)
        return adopted

    def observe(self, request: wire.Observe, now: rendering.Now) -> wire.Positioned:
        """Apply what happened between the cursor and the request's position, and move the cursor there."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.Positioned(place=wire.Place.RECONFIGURED)
        identity = self.identity()
        cursor = self._cursors.get(request.scope)
        if why := self._why_not(request, identity, cursor):
            return self._out_of_position(request.scope, why)
        if request.position <= cursor.version:
            self._cursors.confirm(request.scope, cursor, now.us)
            return self._positioned(request.scope, cursor.version, identity.epoch)
        frame = self.frame(scope, request.api_version, identity, now)
        for seen in request.observations:
            self._journal.apply(frame, seen)
        self._cursors.move(request.scope, request.position, now.us)
        self._memory.put(("confirmed", request.scope), now.us)
        return self._positioned(request.scope, request.position, identity.epoch)

    def list_begin(self, request: wire.ListBegin, now: rendering.Now) -> wire.Positioned:
        """Void the cursor and remember the list's resourceVersion before anything of the list is used."""
        scope = self._scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.Positioned(place=wire.Place.RECONFIGURED)
        epoch = self.identity().epoch
        if not self._is_current(request.scope, request.session, request.epoch, epoch):
            return self._out_of_position(request.scope, "another session or epoch")
        run = self._memory.get(("list", request.scope))
        if run and (run.session, run.at, run.prev) == (request.session, request.at, request.prev):
            return self._positioned(request.scope, 0, epoch)
        cursor = self._cursors.get(request.scope)
        if why := self._why_no_list(request, cursor):
            return self._out_of_position(request.scope, why)
        self._cursors.open_gap(request.scope, cursor, reason=request.reason, epoch=epoch)
        self._cursors.begin_list(
            request.scope, reason=request.reason, epoch=epoch, fingerprint=request.fingerprint, at=request.at
        )
        run = _Run(
            session=request.session,
            at=request.at,
            prev=request.prev,
            api_version=request.api_version,
            began_us=now.us,
        )
        self._memory.put(("list", request.scope), run)
        self._memory.put(("comparison", request.scope), None)
        return self._positioned(request.scope, 0, epoch)

    def list_page(self, request: wire.ListPage, now: rendering.Now) -> wire.Positioned:
        """Apply one page: judge what is accepted or tracked, and remember which rows the page shows alive."""
        identity = self.identity()
        run = self._run(request)
        if run is None or request.number > run.pages:
            return self._out_of_position(request.scope, "no such list runs, or a page is missing")
        if request.number < run.pages:
            return self._positioned(request.scope, 0, identity.epoch)
        if len(request.uids) != len(request.versions):
            raise errors.PermanentError("a page has as many versions as UIDs")
        listed = dict(zip(request.uids, request.versions, strict=True))
        if any(seen.uid not in listed for seen in request.observations):
            raise errors.PermanentError("a page observes an object that it does not list")
        if culprit := self._journal.contradicting(identity.epoch, request.at, listed):
            self.begin_epoch(identity.epoch + 1)
            return self._out_of_position(request.scope, f"object {culprit} shows that the cluster was restored")
        frame = self._listing_frame(request.scope, run, identity, now)
        told = self._journal.told
        for seen in request.observations:
            self._journal.apply(frame, seen)
        self._cursors.count_differences(request.scope, self._journal.told - told)
        known = (*run.known, self._journal.known_among(request.uids))
        run = replace(run, pages=run.pages + 1, count=run.count + len(request.uids), known=known)
        self._memory.put(("list", request.scope), run)
        return self._positioned(request.scope, 0, identity.epoch)

    def list_end(self, request: wire.ListEnd, now: rendering.Now) -> wire.Positioned:
        """Tell what is gone, close the gap, and put the cursor at the list's resourceVersion."""
        identity = self.identity()
        run = self._run(request)
        if run is None:
            return self._repeated_end(request, identity.epoch)
        if (run.pages, run.count) != (request.pages, request.count):
            return self._out_of_position(request.scope, "the list is not complete")
        frame = self._listing_frame(request.scope, run, identity, now)
        told = self._journal.told
        if request.identified:
            self._journal.sweep(frame, at=request.at, listed=frozenset().union(*run.known))
            self._cursors.compared(request.scope, run.began_us)
        self._cursors.count_differences(request.scope, self._journal.told - told)
        self._cursors.close_gap(request.scope, at=request.at, now_us=now.us)
        self._cursors.move(request.scope, request.at, now.us)
        self._memory.put(("list", request.scope), None)
        self._memory.put(("ended", request.scope), (request.session, request.at))
        self._memory.put(("confirmed", request.scope), now.us)
        return self._with_tracked(request.scope, request.at, identity.epoch)

    def figures(self) -> tuple[wire.ScopeStatistics, ...]:
        """Give each scope's position, and when it was last confirmed."""
        return tuple(
            wire.ScopeStatistics(
                label=cursor.label or scope.kind,
                listed=cursor.version > 0,
                position=cursor.version,
                position_us=self._memory.get(("confirmed", scope)) or cursor.positioned_us,
                name=configured_scopes.label(scope.kind, scope),
            )
            for scope, cursor in self._cursors.all().items()
        )

    def configured(self, scope: model.ScopeId, fingerprint: str) -> rules.Scope | None:
        """Give a scope if it is configured with this fingerprint."""
        found = self._scopes.get(scope)
        return found if found and found.fingerprint == fingerprint else None

    def outdate(self, scope: model.ScopeId) -> None:
        """Make the scope's stream open anew: others than itself have changed the set of UIDs that it must look for."""
        self._memory.put(("tracked", scope), self._tracked_version(scope) + 1)

    def begin_epoch(self, epoch: int, reason: model.GapReason = model.GapReason.REWOUND) -> None:
        """Void every position: the cluster was restored to an earlier state, or is another one."""
        self._ledger.run("UPDATE meta SET epoch = ?", (epoch,))
        self._memory.put("identity", None)
        self._cursors.void_all(epoch, reason)
        for scope in self._scopes:
            session: _Session | None = self._memory.get(("session", scope))
            if session is not None:
                self._memory.put(("session", scope), _Session(number=session.number + 1, nonce=""))
            self._memory.put(("list", scope), None)
            self._memory.put(("comparison", scope), None)

    def frame(
        self, scope: rules.Scope, api_version: str, identity: LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        """Give what all that is judged by one request has in common."""
        return rendering.RequestContext(
            scope=scope,
            api_version=api_version,
            epoch=identity.epoch,
            cluster=identity.cluster,
            endpoint=self._terms.endpoint,
            updates=self._terms.updates,
            now=now,
        )

    def _run(self, request: wire.ListPage | wire.ListEnd) -> _Run | None:
        """Give the list that a request belongs to, if it runs."""
        run: _Run | None = self._memory.get(("list", request.scope))
        return run if run and (run.session, run.at) == (request.session, request.at) else None

    def _repeated_end(self, request: wire.ListEnd, epoch: int) -> wire.Positioned:
        if self._memory.get(("ended", request.scope)) != (request.session, request.at):
            return self._out_of_position(request.scope, "no such list runs")
        return self._with_tracked(request.scope, self._cursors.get(request.scope).version, epoch)

    def _with_tracked(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.Positioned:
        return replace(self._positioned(scope, cursor, epoch), tracked=self._cursors.tracked(scope))

    def _why_not(self, request: wire.Observe, identity: LedgerIdentity, cursor: cursors.Cursor) -> str:
        """Say why an observation can't be applied at this position, "" when it can."""
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
        """Say why a list can't begin here, "" when it can."""
        if request.at < 1:
            raise errors.PermanentError(f"no list is at resourceVersion {request.at}")
        if cursor.version != request.prev:
            return f"the cursor is {cursor.version}, not {request.prev}"
        if request.at < cursor.highest:
            return f"{cursor.highest} has been read before this list"
        if self._memory.get(("ended", request.scope)) == (request.session, request.at):
            return "this list has ended"
        return ""

    def _voided_if_foreign(self, scope: model.ScopeId, fingerprint: str, epoch: int) -> cursors.Cursor:
        """Give the cursor, voided when it belongs to another rule or epoch."""
        cursor = self._cursors.get(scope)
        if not cursor.version or (cursor.fingerprint, cursor.epoch) == (fingerprint, epoch):
            return cursor
        rewound = cursor.epoch != epoch
        self._cursors.void(scope, model.GapReason.REWOUND if rewound else model.GapReason.CONFIGURATION)
        return self._cursors.get(scope)

    def _meet(self, cluster: str) -> LedgerIdentity:
        """Remember the cluster at the first sight of its identity, and refuse another one."""
        identity = self.identity()
        if not cluster or cluster == identity.cluster:
            return identity
        if identity.cluster:
            self._refused = cluster
            message = (
                f"the ledger is of cluster {identity.cluster}, the API server belongs to cluster {cluster}:"
                " `beacon adopt` lets the ledger follow that one"
            )
            raise errors.ForeignClusterError(message)
        self._ledger.run("UPDATE meta SET cluster = ?", (cluster,))
        self._memory.put("identity", None)
        return self.identity()

    def _session(self, request: wire.OpenStream) -> _Session:
        session: _Session | None = self._memory.get(("session", request.scope))
        if session is None or session.nonce != request.nonce:
            session = _Session(number=(session.number if session else self._first_session) + 1, nonce=request.nonce)
            self._memory.put(("session", request.scope), session)
            self._memory.put(("list", request.scope), None)
        return session

    def _is_current(self, scope: model.ScopeId, number: int, epoch: int, current: int) -> bool:
        session: _Session | None = self._memory.get(("session", scope))
        return session is not None and session.number == number and epoch == current

    def _listing_frame(
        self, scope: model.ScopeId, run: _Run, identity: LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        frame = self.frame(self._scopes[scope], run.api_version, identity, now)
        gap = self._cursors.gap(scope)
        return replace(frame, reason=gap[0], since_us=gap[1]) if gap else frame

    def _tracked_version(self, scope: model.ScopeId) -> int:
        version: int = self._memory.get(("tracked", scope)) or _FIRST_TRACKED_VERSION
        return version

    def _positioned(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.Positioned:
        version = self._tracked_version(scope)
        return wire.Positioned(place=wire.Place.APPLIED, cursor=cursor, epoch=epoch, tracked_version=version)

    def _out_of_position(self, scope: model.ScopeId, why: str) -> wire.Positioned:
        version = self._tracked_version(scope)
        return wire.Positioned(place=wire.Place.OUT_OF_POSITION, tracked_version=version, why=why)
