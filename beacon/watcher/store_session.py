"""A stream's connection to the store: its session, its window of unanswered requests, and the handling of the replies.

The store holds the authoritative position. If a reply states that the stream's position is stale, the stream opens a
new session and continues from the store's cursor. So a request that is lost, rejected or repeated does no harm.
"""

import contextlib
import dataclasses
import threading
import time
import uuid
from collections.abc import Callable

from beacon import bus, errors, wire
from beacon.cluster import items, observing
from beacon.domain import model, rules
from beacon.watcher import object_filter, pending_batch, status

_BATCH_SIZE = 100  # observations in one request
_COLLECT_S = 0.02  # how long replies to an idle stream may wait to be read
_COLLECT_BUSY_S = 0.005  # and to a busy one: polling costs more than handling a reply
_COLLECT_PENDING = 16
_BATCHING_FROM = (
    2  # from so many requests in flight, observations wait for others: a request costs more than its content
)
_BATCH_WAIT_S = 0.004
_IDLE_S = 0.5
_LAST_S = 1.0


class StalePosition(errors.TransientError):
    """The stream's position or tracked set is not the store's: a new session must be opened."""


class StoreSession:
    """Sends the observations of one scope to the store."""

    def __init__(
        self,
        scope: rules.Scope,
        client: bus.Client,
        stream_status: status.StreamStatus,
        *,
        stop: threading.Event,
        flush_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send through `client`, which belongs to the stream's thread; positions are sent every `flush_s`."""
        self._scope = scope
        self._client = client
        self._status = stream_status
        self._stop = stop
        self._flush_s = flush_s
        self._clock = clock
        self._session = 0
        self._epoch = 0
        self._tracked_version = 0
        self._batch = pending_batch.PendingBatch(0)
        self._filter = object_filter.ObjectFilter(scope.rule)
        self._sent_at = 0.0
        self._settled_at = 0.0

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
        try:
            opened = self._client.call(request)
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
        self._client.call(
            wire.Rewind(
                scope=self._scope.id, session=self._session, epoch=self._epoch, current=current, highest=highest
            )
        )

    def expire(self) -> None:
        """Report that the API server can't continue from the position. Open a session next."""
        self._client.call(
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
            mutation = self._filter.follow(observation)
            if mutation is not None:
                self._status.mutated(mutation)
            if self._batch.count >= _BATCH_SIZE or self._batch.large:
                self._send()
        return True

    def _observe(self, line: items.WatchEvent, received_ns: int) -> tuple[model.Observation | None, str]:
        """Return the observation to be sent, if any, and the reason if the object is unreadable.

        Of an unreadable object only its deletion is sent, without labels and annotations.
        """
        observation = self._filter.seen(line, received_ns) if not line.why or line.type == "DELETED" else None
        why = line.why or (observing.too_large(observation) if observation is not None else "")
        if not why or observation is None:
            return observation, why
        return (dataclasses.replace(observation, labels={}, annotations={}) if line.type == "DELETED" else None), why

    def advance(self) -> None:
        """Send the batch if it is due, or the position if that is due, and handle the replies that have arrived.

        Raises:
            StalePosition: a reply states that the position or the tracked set is stale.
            errors.Stopping: the process was asked to stop while the window was full.
            bus.SettingsChanged, bus.LedgerChanged: see there.
        """
        quiet = not self._client.pending and self._clock() - self._sent_at >= self._flush_s
        if quiet or (self._batch.count and self._batch_due_s() <= 0):
            self._send()
        pending = self._client.pending
        if pending and (pending >= _COLLECT_PENDING or self._clock() - self._settled_at >= _COLLECT_BUSY_S):
            self._settle(0)

    def flush(self) -> None:
        """Send everything that was received, without waiting."""
        if self._batch.moved:
            self._send()

    def read_timeout_s(self) -> float:
        """Return how long a read of the watch may wait before `advance` must be called again."""
        if self._batch.count:
            return max(self._batch_due_s(), 0.0)
        if self._client.pending:
            return _COLLECT_S
        due_s = self._sent_at + self._flush_s - self._clock()
        return min(max(due_s, 0.0), _IDLE_S)

    def wait_for_batch(self) -> None:
        """Wait a few milliseconds, or until the store replies, so that events accumulate: a read costs more than one.

        Raises:
            StalePosition, bus.SettingsChanged, bus.LedgerChanged: as `advance`.
        """
        if self._client.pending and (left_s := self._sent_at + _BATCH_WAIT_S - self._clock()) > 0:
            self._settle(left_s)

    def _batch_due_s(self) -> float:
        """Return how long observations may still wait for others; they do not wait while the store is idle."""
        if self._client.pending < _BATCHING_FROM:
            return 0.0
        return self._sent_at + _BATCH_WAIT_S - self._clock()

    def finish(self) -> None:
        """Send the last position when the process stops, if the store still answers quickly."""
        deadline = self._clock() + _LAST_S
        # An error changes nothing now: the next process reads the position from the store.
        with contextlib.suppress(errors.BeaconError):
            if self._session and self._batch.moved and self._client.free_slots > 0:
                self._submit()
            while self._client.pending and (left_s := deadline - self._clock()) > 0:
                self._client.collect(wire.OBSERVE, left_s)

    def _send(self) -> None:
        # What is large goes alone, so that the store never holds more than one such request of a stream.
        while self._client.free_slots <= 0 or (self._batch.large and self._client.pending):
            if self._stop.is_set():
                raise errors.Stopping("stopped while the window of requests to the store was full")
            self._settle(_IDLE_S)
        self._submit()

    def _submit(self) -> None:
        segment = self._batch.take()
        self._client.submit(
            wire.Observe(
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
        )
        self._sent_at = self._clock()

    def _settle(self, timeout_s: float) -> None:
        self._settled_at = self._clock()
        for _, request, reply in self._client.collect(wire.OBSERVE, timeout_s):
            # A late reply to an earlier session does not apply to this one.
            if request.session == self._session:
                self._check(reply)
                if reply.tracked_version != self._tracked_version:
                    raise StalePosition("the tracked set has changed")
                self._status.positioned()

    def _applied(self, request: wire.Request[wire.PositionReply]) -> wire.PositionReply:
        reply = self._client.call(request)
        self._check(reply)
        return reply

    def _check(self, reply: wire.PositionReply) -> None:
        _refuse_reconfigured(reply.place)
        if reply.place is not wire.ApplyResult.APPLIED:
            raise StalePosition(f"the store has another position: {reply.why}")


def _refuse_reconfigured(place: wire.ApplyResult) -> None:
    if place is wire.ApplyResult.RECONFIGURED:
        raise bus.SettingsChanged("the store has started with another configuration")
