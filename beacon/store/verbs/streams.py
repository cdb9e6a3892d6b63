"""The streams of the scopes: where they begin, what they report, and when they must begin again.

One method serves one verb. Runs within a transaction of the service.
"""

from beacon import errors, wire
from beacon.domain import model
from beacon.store.ledger import cursors, rendering, session_state
from beacon.store.verbs import identity as ledger_identity
from beacon.store.verbs import journal, watch_positions


class Streams:
    """Serves the verbs of a stream, and moves its cursor over the changes that it reports."""

    def __init__(
        self,
        state: session_state.SessionState,
        positions: watch_positions.WatchPositions,
        journal_: journal.Journal,
    ) -> None:
        """Write changes to the journal."""
        self._state = state
        self._positions = positions
        self._cursors = positions.cursors
        self._journal = journal_

    def open_stream(self, request: wire.OpenStream) -> wire.StreamOpened:
        """Start a session. Return the scope's position and the required UIDs."""
        scope = self._positions.scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.StreamOpened(place=wire.ApplyResult.RECONFIGURED)
        identity = self._positions.identity.bound_to(request.cluster)
        cursor = self._voided_if_foreign(request.scope, scope.fingerprint, identity.epoch)
        self._cursors.label(request.scope, request.label)
        return wire.StreamOpened(
            place=wire.ApplyResult.APPLIED,
            session=self._positions.opened_session(request),
            epoch=identity.epoch,
            cursor=cursor.version,
            highest=self._cursors.highest(request.scope, identity.epoch),
            reason=None if cursor.version else model.GapReason(cursor.reason),
            tracked=self._cursors.tracked(request.scope),
            tracked_version=self._positions.tracked_version(request.scope),
        )

    def observe(self, request: wire.Observe, now: rendering.Now) -> wire.PositionReply:
        """Apply the changes between the cursor and the request's position, and move the cursor there."""
        scope = self._positions.scopes.get(request.scope)
        if scope is None or scope.fingerprint != request.fingerprint:
            return wire.PositionReply(place=wire.ApplyResult.RECONFIGURED)
        identity = self._positions.identity.get()
        cursor = self._cursors.get(request.scope)
        if why := self._why_not(request, identity, cursor):
            return self._positions.out_of_position(request.scope, why)
        if request.position <= cursor.version:
            self._cursors.confirm(request.scope, cursor, now.us)
            return self._positions.positioned(request.scope, cursor.version, identity.epoch)
        context = self._positions.context(scope, request.api_version, identity, now)
        for seen in request.observations:
            self._journal.apply(context, seen)
        self._cursors.move(request.scope, request.position, now.us)
        self._state.put(cursors.confirmed_key(request.scope), now.us)
        return self._positions.positioned(request.scope, request.position, identity.epoch)

    def confirm(self, request: wire.Confirm, now: rendering.Now) -> wire.Confirmed:
        """Confirm or move the positions of quiet scopes."""
        if any(one.observations for one in request.positions):
            raise errors.PermanentError("a confirmation contains observations")
        return wire.Confirmed(replies=tuple(self.observe(one, now) for one in request.positions))

    def rewind(self, request: wire.Rewind) -> wire.PositionReply:
        """Start a new epoch, unless it has begun: all positions of the old one are invalid."""
        epoch = self._positions.identity.get().epoch
        if self._positions.is_current(request.scope, request.session, request.epoch, epoch):
            self._positions.begin_epoch(epoch + 1)
        return self._positions.out_of_position(request.scope, "the cluster was restored to an earlier state")

    def expire(self, request: wire.Expire) -> wire.PositionReply:
        """Invalidate a cursor whose history the API server no longer has."""
        epoch = self._positions.identity.get().epoch
        if not self._positions.is_current(request.scope, request.session, request.epoch, epoch):
            return self._positions.out_of_position(request.scope, "another session or epoch")
        cursor = self._cursors.get(request.scope)
        if cursor.version and cursor.version != request.prev:
            return self._positions.out_of_position(request.scope, f"the cursor is {cursor.version}, not {request.prev}")
        if cursor.version:
            self._cursors.void(request.scope, model.GapReason.EXPIRED)
        return self._positions.positioned(request.scope, 0, epoch)

    def adopt(self, request: wire.Adopt, now_us: int) -> wire.Adopted:
        """Bind the ledger to another cluster: a new epoch, without `deleted` events for objects of the old cluster."""
        identity = self._positions.identity.get()
        refused = self._positions.identity.refused
        cluster = request.cluster or refused
        if not cluster:
            raise errors.PermanentError("no other cluster was refused since the store started: name its UID")
        adopted = wire.Adopted(cluster=cluster, changed=cluster != identity.cluster, previous=identity.cluster)
        if adopted.changed and cluster != refused and not request.force:
            raise errors.PermanentError(
                f"{refused or 'no other cluster'} was refused since the store started, not {cluster}: --force"
                " adopts it nevertheless, and nothing is watched if it is not the API server's cluster"
            )
        if request.check or not adopted.changed:
            return adopted
        self._positions.identity.set_cluster(cluster)
        self._cursors.forget_objects(now_us)
        self._positions.begin_epoch(identity.epoch + 1, model.GapReason.ADOPTED)
        for scope in self._positions.scopes:
            self._positions.reopen_stream(scope)
        return adopted

    def _why_not(self, request: wire.Observe, identity: ledger_identity.LedgerIdentity, cursor: cursors.Cursor) -> str:
        """Return why an observation can't be applied at this position, "" if it can."""
        if not self._positions.is_current(request.scope, request.session, request.epoch, identity.epoch):
            return "another session of the stream or another epoch has begun"
        if not cursor.version:
            return "the scope has no position, it must be listed"
        if request.tracked_version < self._positions.tracked_version(request.scope):
            return "the tracked set has changed"
        if request.position > cursor.version and request.prev != cursor.version:
            return f"the cursor is {cursor.version}, not {request.prev}"
        return ""

    def _voided_if_foreign(self, scope: model.ScopeId, fingerprint: str, epoch: int) -> cursors.Cursor:
        """Return the cursor, invalidated if it belongs to another rule or epoch."""
        cursor = self._cursors.get(scope)
        if not cursor.version or (cursor.fingerprint, cursor.epoch) == (fingerprint, epoch):
            return cursor
        rewound = cursor.epoch != epoch
        self._cursors.void(scope, model.GapReason.REWOUND if rewound else model.GapReason.CONFIGURATION)
        return self._cursors.get(scope)
