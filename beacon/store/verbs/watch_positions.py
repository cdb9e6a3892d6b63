"""Positions: what streams, lists and comparisons share, which are sessions, epochs, and the form of a reply.

The rule: a cursor moves only over changes that have been applied, in the same transaction and without holes. A scope
that can't be continued is listed, and a gap is recorded. Runs within a transaction of the service.
"""

import secrets
from dataclasses import dataclass
from functools import cache

from beacon import wire
from beacon.configuration import configured_scopes
from beacon.domain import model, rules
from beacon.store.ledger import cursors, database, endpoints, rendering, session_state
from beacon.store.verbs import alignment, catch_up
from beacon.store.verbs import identity as ledger_identity

# Names of states: a new session or epoch ends a list, a new list or epoch ends a comparison.
RUNNING_LIST = "list"
RUNNING_COMPARISON = "comparison"
_FIRST_TRACKED_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamSession:
    number: int
    nonce: str


class WatchPositions:
    """The scopes with their sessions and cursors."""

    def __init__(
        self, ledger: database.Database, state: session_state.SessionState, config: alignment.LedgerConfig
    ) -> None:
        """Work on the given ledger under the given configuration."""
        self._state = state
        self._updates = config.updates
        self.cursors = cursors.Cursors(ledger, state)
        self.identity = ledger_identity.Identity(ledger, state)
        self._catch_ups = catch_up.CatchUps(ledger, state)
        self._alignment = alignment.LedgerAlignment(ledger, config, self.cursors, self._catch_ups, self.identity)
        self.scopes = {scope.id: scope for scope in config.scopes}
        self.endpoints: tuple[endpoints.ConfiguredEndpoint, ...] = ()
        self._first_session = secrets.randbelow(2**40)  # differs from the sessions of an earlier store

    def prepare(self, now_us: int) -> alignment.Aligned:
        """Align the ledger with the configuration, once at startup."""
        aligned = self._alignment.align(now_us)
        self.endpoints = aligned.endpoints
        return aligned

    def write_moved(self) -> None:
        """Write the rows of cursors that have moved, before a commit or the end of a savepoint."""
        self.cursors.write_moved()

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
            for scope, cursor in self.cursors.all().items()
        )

    def configured(self, scope: model.ScopeId, fingerprint: str) -> rules.Scope | None:
        """Return a scope if it is configured with this fingerprint."""
        found = self.scopes.get(scope)
        return found if found and found.fingerprint == fingerprint else None

    def reopen_stream(self, scope: model.ScopeId) -> None:
        """Force the scope's stream to reopen, because another client changed the set of UIDs that it must report."""
        self._state.put(_tracked_key(scope), self.tracked_version(scope) + 1)

    def begin_epoch(self, epoch: int, reason: model.GapReason = model.GapReason.REWOUND) -> None:
        """Invalidate every position: the cluster was restored to an earlier state, or is another one."""
        self.identity.set_epoch(epoch)
        self.cursors.void_all(epoch, reason)
        for scope in self.scopes:
            session = self._state.get(_session_key(scope))
            if session is not None:
                self._state.put(_session_key(scope), _StreamSession(number=session.number + 1, nonce=""))
            self._state.remove(session_state.StateKey(RUNNING_LIST, scope))
            self._state.remove(session_state.StateKey(RUNNING_COMPARISON, scope))

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
        configured = self.scopes[scope]
        context = self.context(configured, configured.api_version, self.identity.get(), now)
        self._catch_ups.page(context, endpoint, beside_live=beside_live)

    def context(
        self, scope: rules.Scope, api_version: str, identity: ledger_identity.LedgerIdentity, now: rendering.Now
    ) -> rendering.RequestContext:
        """Return the values that all observations of one request share."""
        return rendering.RequestContext(
            scope=scope,
            api_version=api_version,
            epoch=identity.epoch,
            cluster=identity.cluster,
            ledger=identity.ledger,
            endpoints=self.endpoints,
            updates=self._updates,
            now=now,
        )

    def opened_session(self, request: wire.OpenStream) -> int:
        """Return the number of the request's session; another nonce begins a new one, which ends a running list."""
        session = self._state.get(_session_key(request.scope))
        if session is None or session.nonce != request.nonce:
            session = _StreamSession(
                number=(session.number if session else self._first_session) + 1, nonce=request.nonce
            )
            self._state.put(_session_key(request.scope), session)
            self._state.remove(session_state.StateKey(RUNNING_LIST, request.scope))
        return session.number

    def is_current(self, scope: model.ScopeId, number: int, epoch: int, current: int) -> bool:
        """Return True if a session is the scope's, and `epoch` is the current one."""
        session = self._state.get(_session_key(scope))
        return session is not None and session.number == number and epoch == current

    def tracked_version(self, scope: model.ScopeId) -> int:
        """Return the version of the set of UIDs that the scope's stream must report."""
        return self._state.get(_tracked_key(scope)) or _FIRST_TRACKED_VERSION

    def positioned(self, scope: model.ScopeId, cursor: int, epoch: int) -> wire.PositionReply:
        """Return the reply to a request that was applied."""
        version = self.tracked_version(scope)
        return wire.PositionReply(place=wire.ApplyResult.APPLIED, cursor=cursor, epoch=epoch, tracked_version=version)

    def out_of_position(self, scope: model.ScopeId, why: str) -> wire.PositionReply:
        """Return the reply to a request that does not continue where the scope is."""
        version = self.tracked_version(scope)
        return wire.PositionReply(place=wire.ApplyResult.OUT_OF_POSITION, tracked_version=version, why=why)


@cache
def _session_key(scope: model.ScopeId) -> session_state.StateKey[_StreamSession]:
    return session_state.StateKey("session", scope)


@cache
def _tracked_key(scope: model.ScopeId) -> session_state.StateKey[int]:
    return session_state.StateKey("tracked", scope)
