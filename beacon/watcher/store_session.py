"""A stream's side of the store: its session, its window of unanswered requests, and what the replies mean for it.

The store alone knows the position. Whenever it says that the stream is not where it believes, the stream opens anew
and goes on from the store's cursor, so nothing that is lost, refused or repeated on the way can do harm.
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

_AT_ONCE = 100  # observations in one request
_COLLECT_S = 0.02  # how long the replies of a silent stream may wait to be looked at
_COLLECT_BUSY_S = 0.005  # and those of a busy one: looking costs more than a reply
_COLLECT_PENDING = 16
_UNHURRIED = 2  # requests under way beside which observations wait for company: each request costs more than it holds
_COMPANY_S = 0.004
_IDLE_S = 0.5
_LAST_S = 1.0


class StalePosition(errors.TransientError):
    """What the stream believes of its position or of the tracked set does not hold: open it anew."""


class StoreSession:
    """Tells the store of one scope what its stream sees."""

    def __init__(
        self,
        scope: rules.Scope,
        client: bus.Client,
        speaker: status.StreamStatus,
        *,
        stop: threading.Event,
        flush_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Speak through `client`, which belongs to the stream's thread; positions are sent every `flush_s`."""
        self._scope = scope
        self._client = client
        self._voice = speaker
        self._stop = stop
        self._flush_s = flush_s
        self._clock = clock
        self._session = 0
        self._epoch = 0
        self._tracked_version = 0
        self._fold = pending_batch.PendingBatch(0)
        self._sight = object_filter.ObjectFilter(scope.rule)
        self._sent_at = 0.0
        self._settled_at = 0.0

    @property
    def position(self) -> int:
        """The position up to which everything has been seen."""
        return self._fold.position

    def open(self, label: str, cluster: str) -> wire.StreamOpened:
        """Begin a session and learn where the scope stands.

        Raises:
            errors.Stopping: the process is to stop.
            errors.ConfigError: the ledger is of another cluster.
            errors.PermanentError: the store refuses for another reason.
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
        self._fold = pending_batch.PendingBatch(opened.cursor)
        self._sight = object_filter.ObjectFilter(self._scope.rule, opened.tracked)
        self._sent_at = self._clock()
        return opened

    def rewind(self, current: int, highest: int) -> None:
        """Report that the API server is behind what was read of it: it was restored. Open anew afterwards."""
        self._client.call(
            wire.Rewind(
                scope=self._scope.id, session=self._session, epoch=self._epoch, current=current, highest=highest
            )
        )

    def expire(self) -> None:
        """Report that the API server can't go on from the position. Open anew afterwards."""
        self._client.call(
            wire.Expire(scope=self._scope.id, session=self._session, epoch=self._epoch, prev=self._fold.sent)
        )

    def begin_list(self, at: int, reason: model.GapReason) -> None:
        """Begin to tell a list at resourceVersion `at`.

        Raises:
            Outdated: as in everything that follows; open the stream anew.
        """
        self._voice.listing()
        self._applied(
            wire.ListBegin(
                scope=self._scope.id,
                session=self._session,
                epoch=self._epoch,
                prev=self._fold.sent,
                at=at,
                fingerprint=self._scope.fingerprint,
                api_version=self._scope.api_version,
                reason=reason,
            )
        )

    def tell_page(self, at: int, number: int, listed: items.ListPageItems) -> None:
        """Send a page: every UID, and whole what is accepted or tracked."""
        looked = [observation for observation in map(self._sight.listed, listed.items) if observation is not None]
        large = {one.uid: why for one in looked if (why := observing.too_large(one))}
        self._voice.unreadable(
            *listed.unreadable,
            *(items.Unreadable(item=item, why=large[item.uid]) for item in listed.items if item.uid in large),
        )
        self._applied(
            wire.ListPage(
                scope=self._scope.id,
                session=self._session,
                at=at,
                number=number,
                uids=listed.uids,
                versions=listed.versions,
                observations=tuple(observation for observation in looked if observation.uid not in large),
            )
        )

    def end_list(self, at: int, *, pages: int, count: int, identified: bool) -> None:
        """End the list: the position is now its resourceVersion."""
        reply = self._applied(
            wire.ListEnd(
                scope=self._scope.id, session=self._session, at=at, pages=pages, count=count, identified=identified
            ),
        )
        self._tracked_version = reply.tracked_version
        if reply.tracked is not None:
            self._sight.renew(reply.tracked)
        self._fold = pending_batch.PendingBatch(at)
        self._sent_at = self._clock()

    def see(self, line: items.WatchEvent, received_ns: int) -> bool:
        """Take a line of the watch; False: it does not come after the one before."""
        if line.type == "BOOKMARK":
            self._fold.pass_by(line.item.version)
            return True
        observation, why = self._looked(line, received_ns)
        self._voice.seen(line, why)
        if not self._fold.see(line.item.version, observation):
            return False
        if observation is not None:
            mutation = self._sight.follow(observation)
            if mutation is not None:
                self._voice.mutated(mutation)
            if self._fold.waiting >= _AT_ONCE or self._fold.large:
                self._send()
        return True

    def _looked(self, line: items.WatchEvent, received_ns: int) -> tuple[model.Observation | None, str]:
        """Return what concerns the store, and why an object is unreadable: then only its end is known for certain."""
        observation = self._sight.seen(line, received_ns) if not line.why or line.type == "DELETED" else None
        why = line.why or (observing.too_large(observation) if observation is not None else "")
        if not why or observation is None:
            return observation, why
        return (dataclasses.replace(observation, labels={}, annotations={}) if line.type == "DELETED" else None), why

    def advance(self) -> None:
        """Send what waits, or the position when it is time, and look at the replies that have come.

        Raises:
            Outdated: the store's replies say so.
            errors.Stopping: the process is to stop while the window is full.
            bus.SettingsChanged, bus.LedgerChanged: see there.
        """
        quiet = not self._client.pending and self._clock() - self._sent_at >= self._flush_s
        if quiet or (self._fold.waiting and self._company_due_s() <= 0):
            self._send()
        pending = self._client.pending
        if pending and (pending >= _COLLECT_PENDING or self._clock() - self._settled_at >= _COLLECT_BUSY_S):
            self._settle(0)

    def flush(self) -> None:
        """Send all that was seen, whatever the time."""
        if self._fold.moved:
            self._send()

    def patience_s(self) -> float:
        """Say how long the watch may be waited for before `advance` must be called again."""
        if self._fold.waiting:
            return max(self._company_due_s(), 0.0)
        if self._client.pending:
            return _COLLECT_S
        due_s = self._sent_at + self._flush_s - self._clock()
        return min(max(due_s, 0.0), _IDLE_S)

    def rest(self) -> None:
        """Let lines gather until the store has answered, or for a little: each look costs more than a line.

        Raises:
            Outdated, bus.SettingsChanged, bus.LedgerChanged: as `advance`.
        """
        if self._client.pending and (left_s := self._sent_at + _COMPANY_S - self._clock()) > 0:
            self._settle(left_s)

    def _company_due_s(self) -> float:
        """Say how long observations may still wait for others; none does while the store is idle."""
        if self._client.pending < _UNHURRIED:
            return 0.0
        return self._sent_at + _COMPANY_S - self._clock()

    def finish(self) -> None:
        """At the end of the process: store how far the stream has come, if the store still answers quickly."""
        deadline = self._clock() + _LAST_S
        # Whatever the store says now, the next process asks it anew.
        with contextlib.suppress(errors.BeaconError):
            if self._session and self._fold.moved and self._client.room > 0:
                self._submit()
            while self._client.pending and (left_s := deadline - self._clock()) > 0:
                self._client.collect(wire.OBSERVE, left_s)

    def _send(self) -> None:
        # What is large goes alone, so that the store never holds more than one such request of a stream.
        while self._client.room <= 0 or (self._fold.large and self._client.pending):
            if self._stop.is_set():
                raise errors.Stopping("stopped while the store had no room")
            self._settle(_IDLE_S)
        self._submit()

    def _submit(self) -> None:
        segment = self._fold.take()
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
            # A late reply to an earlier session says nothing about this one.
            if request.session == self._session:
                self._check(reply)
                if reply.tracked_version != self._tracked_version:
                    raise StalePosition("the tracked set has changed")
                self._voice.positioned()

    def _applied(self, request: wire.Request[wire.PositionReply]) -> wire.PositionReply:
        reply = self._client.call(request)
        self._check(reply)
        return reply

    def _check(self, reply: wire.PositionReply) -> None:
        _refuse_reconfigured(reply.place)
        if reply.place is not wire.ApplyResult.APPLIED:
            raise StalePosition(f"the store is elsewhere: {reply.why}")


def _refuse_reconfigured(place: wire.ApplyResult) -> None:
    if place is wire.ApplyResult.RECONFIGURED:
        raise bus.SettingsChanged("the store has started with another configuration")
