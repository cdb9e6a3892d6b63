"""A stream's session with the store: its window of unanswered requests, and the handling of the replies.

The store holds the authoritative position. If a reply states that the stream's position is stale, the stream opens a
new session and continues from the store's cursor. So a request that is lost, rejected or repeated does no harm.

The methods that open a session or send a list wait for the store, the others do not.
"""

import dataclasses
import time
import uuid
from collections import deque
from collections.abc import Callable

from beacon import bus, errors, wire
from beacon.cluster import items, observing
from beacon.domain import model, rules
from beacon.watcher import object_filter, pending_batch, status

_BATCH_SIZE = 100  # observations in one request
_BATCHING_FROM = (
    2  # from so many requests in flight, observations wait for others: a request costs more than its content
)
BATCH_WAIT_S = 0.004
# More would be one long transaction of a store that is behind, and deliveries are only claimed between two of them.
_MOST_UNANSWERED = 100  # observations
_MOST_UNSENT = 64  # requests: then no more is read, so that TCP flow control stops the server


class StalePosition(errors.TransientError):
    """The stream's position or tracked set is not the store's: a new session must be opened."""


class StoreSession:
    """Sends the observations of one scope to the store."""

    def __init__(
        self,
        scope: rules.Scope,
        link: bus.Link,
        stream_status: status.StreamStatus,
        *,
        flush_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send through `link`; the position is confirmed every `flush_s`."""
        self._scope = scope
        self._link = link
        self._status = stream_status
        self._flush_s = flush_s
        self._clock = clock
        self._session = 0
        self._epoch = 0
        self._tracked_version = 0
        self._batch = pending_batch.PendingBatch(0)
        self._filter = object_filter.ObjectFilter(scope.rule)
        self._outbox: deque[pending_batch.Segment] = deque()
        self._unanswered = 0  # observations
        self._sent_at = 0.0
        self.observations_read = 0

    @property
    def position(self) -> int:
        """Return the position up to which everything has been received."""
        return self._batch.position

    def open(self, label: str, cluster: str) -> wire.StreamOpened:
        """Open a session; return the scope's cursor and tracked objects.

        Raises:
            errors.Stopping: the process was asked to stop.
            errors.ConfigError: the ledger belongs to another cluster.
            errors.PermanentError: the store rejects the request for another reason.
            bus.SettingsChanged, bus.LedgerChanged: see there.
        """
        request = wire.OpenStream(
            scope=self._scope.id,
            label=label,
            fingerprint=self._scope.fingerprint,
            nonce=uuid.uuid4().hex,
            cluster=cluster,
        )
        self._link.renew()
        self._outbox.clear()
        self._unanswered = 0
        try:
            opened = self._link.call(request)
        except errors.ForeignClusterError as error:
            raise errors.ConfigError([str(error)]) from error
        _refuse_reconfigured(opened.place)
        self._session, self._epoch = opened.session, opened.epoch
        self._tracked_version = opened.tracked_version
        self._batch = pending_batch.PendingBatch(opened.cursor)
        self._filter = object_filter.ObjectFilter(self._scope.rule, opened.tracked)
        self._sent_at = self._clock()
        return opened

    def rewind(self, current: int, highest: int) -> None:
        """Report that the API server is behind a position that it once had: it was restored. Open a session next."""
        self._link.call(
            wire.Rewind(
                scope=self._scope.id, session=self._session, epoch=self._epoch, current=current, highest=highest
            )
        )

    def expire(self) -> None:
        """Report that the API server can't continue from the position. Open a session next."""
        self._link.call(
            wire.Expire(scope=self._scope.id, session=self._session, epoch=self._epoch, prev=self._batch.sent)
        )

    def begin_list(self, list_version: int, reason: model.GapReason) -> None:
        """Begin to send a list that was read at resourceVersion `list_version`.

        Raises:
            StalePosition: also in `send_page` and `end_list`; open a session next.
        """
        self._status.listing()
        self._applied(
            wire.ListBegin(
                scope=self._scope.id,
                session=self._session,
                epoch=self._epoch,
                prev=self._batch.sent,
                at=list_version,
                fingerprint=self._scope.fingerprint,
                api_version=self._scope.api_version,
                reason=reason,
            )
        )

    def send_page(self, list_version: int, number: int, listed: items.ListPageItems) -> None:
        """Send a page: the UIDs of all objects, and the observations of those that are accepted or wanted."""
        observed = [observation for observation in map(self._filter.listed, listed.items) if observation is not None]
        large = {one.uid: why for one in observed if (why := observing.too_large(one))}
        self._status.unreadable(
            *listed.unreadable,
            *(items.Unreadable(item=item, why=large[item.uid]) for item in listed.items if item.uid in large),
        )
        self._applied(
            wire.ListPage(
                scope=self._scope.id,
                session=self._session,
                at=list_version,
                number=number,
                uids=listed.uids,
                versions=listed.versions,
                observations=tuple(observation for observation in observed if observation.uid not in large),
            )
        )

    def end_list(self, list_version: int, *, pages: int, count: int, identified: bool) -> None:
        """End the list; its resourceVersion becomes the position."""
        reply = self._applied(
            wire.ListEnd(
                scope=self._scope.id,
                session=self._session,
                at=list_version,
                pages=pages,
                count=count,
                identified=identified,
            ),
        )
        self._tracked_version = reply.tracked_version
        if reply.tracked is not None:
            self._filter.replace_wanted(reply.tracked)
        self._batch = pending_batch.PendingBatch(list_version)
        self._sent_at = self._clock()

    def see(self, line: items.WatchEvent, received_ns: int) -> bool:
        """Add a watch event to the batch; return False if it is not newer than the one before."""
        if line.type == "BOOKMARK":
            self._batch.advance_to(line.item.version)
            return True
        observation, why = self._observe(line, received_ns)
        self._status.seen(line, why)
        if not self._batch.see(line.item.version, observation):
            return False
        if observation is not None:
            self.observations_read += 1
            mutation = self._filter.follow(observation)
            if mutation is not None:
                self._status.mutated(mutation)
            if self._batch.count >= _BATCH_SIZE or self._batch.large:
                self._send()
        return True

    def _observe(self, line: items.WatchEvent, received_ns: int) -> tuple[model.Observation | None, str]:
        """Return the observation to be sent, if any, and the reason if the object is unreadable.

        Of an unreadable object only its deletion is sent, without labels and annotations, and only if it has a UID.
        """
        usable = not line.why or (line.type == "DELETED" and line.item.uid)
        observation = self._filter.seen(line, received_ns) if usable else None
        why = line.why or (observing.too_large(observation) if observation is not None else "")
        if not why or observation is None:
            return observation, why
        return (dataclasses.replace(observation, labels={}, annotations={}) if line.type == "DELETED" else None), why

    @property
    def congested(self) -> bool:
        """Return True if so much waits for replies of the store that nothing more may be read until these have come."""
        return bool(self._outbox) and (self._outbox[-1].large or len(self._outbox) >= _MOST_UNSENT)

    def advance(self) -> None:
        """Send the batch if it is due, and handle the replies that have arrived.

        Raises:
            StalePosition: a reply states that the position or the tracked set is stale.
            errors.PermanentError: the store rejected a request.
            bus.SettingsChanged, bus.LedgerChanged: see there.
        """
        self._settle()
        if self.batch_due_s() == 0.0:
            self._send()
        self._drain()

    def flush(self) -> None:
        """Send everything that was received, without waiting.

        Raises:
            bus.LedgerChanged: see there.
        """
        if self._batch.moved:
            self._outbox.append(self._batch.take())
        while self._outbox:
            self._submit(self._outbox.popleft())

    def batch_due_s(self) -> float | None:
        """Return how long the batch may wait for more; it does not wait while the store is idle.

        None: there is no batch, or it waits for replies.
        """
        if not self._batch.count or self._unanswered >= _MOST_UNANSWERED or self._outbox:
            return None
        if self._link.pending < _BATCHING_FROM:
            return 0.0
        return max(0.0, self._sent_at + BATCH_WAIT_S - self._clock())

    @property
    def pending(self) -> int:
        """Return the number of unanswered requests."""
        return self._link.pending

    def confirmation(self) -> wire.Observe | None:
        """Return the request that confirms the position, if the stream is quiet and that is due."""
        quiet = not self._link.pending and not self._outbox and not self._batch.count
        if not quiet or self._clock() - self._sent_at < self._flush_s:
            return None
        return self._request(self._batch.take())

    def confirmed(self, request: wire.Observe, reply: wire.PositionReply) -> None:
        """Handle the reply to a confirmation.

        Raises:
            StalePosition, bus.SettingsChanged: as `advance`.
        """
        if request.session == self._session:
            self._handle(reply)

    def _send(self) -> None:
        self._outbox.append(self._batch.take())
        self._drain()

    def _drain(self) -> None:
        while self._outbox and self._may_send(self._outbox[0]):
            self._submit(self._outbox.popleft())

    def _may_send(self, segment: pending_batch.Segment) -> bool:
        if not self._link.pending:
            return True
        # What is large goes alone, so that the store never holds more than one such request of a stream.
        return not segment.large and self._unanswered + len(segment.observations) <= _MOST_UNANSWERED

    def _submit(self, segment: pending_batch.Segment) -> None:
        self._link.submit(self._request(segment))

    def _request(self, segment: pending_batch.Segment) -> wire.Observe:
        self._sent_at = self._clock()
        self._unanswered += len(segment.observations)
        return wire.Observe(
            scope=self._scope.id,
            session=self._session,
            epoch=self._epoch,
            prev=segment.prev,
            position=segment.position,
            tracked_version=self._tracked_version,
            fingerprint=self._scope.fingerprint,
            api_version=self._scope.api_version,
            observations=segment.observations,
        )

    def _settle(self) -> None:
        for request, reply in self._link.take(wire.OBSERVE):
            self._unanswered -= len(request.observations)
            # A late reply to an earlier session does not apply to this one.
            if request.session == self._session:
                self._handle(reply)

    def _handle(self, reply: wire.PositionReply) -> None:
        self._check(reply)
        if reply.tracked_version != self._tracked_version:
            raise StalePosition("the tracked set has changed")
        self._status.positioned()

    def _applied(self, request: wire.Request[wire.PositionReply]) -> wire.PositionReply:
        reply = self._link.call(request)
        self._check(reply)
        return reply

    def _check(self, reply: wire.PositionReply) -> None:
        _refuse_reconfigured(reply.place)
        if reply.place is not wire.ApplyResult.APPLIED:
            raise StalePosition(f"the store has another position: {reply.why}")


def _refuse_reconfigured(place: wire.ApplyResult) -> None:
    if place is wire.ApplyResult.RECONFIGURED:
        raise bus.SettingsChanged("the store has started with another configuration")
