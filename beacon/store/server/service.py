"""Applies requests to the ledger: group commit, refusals, parking of claims. It has no sockets.

All requests that have arrived are applied in one transaction, each in its savepoint, committed once, and answered
after the commit. A savepoint protects the others from an invalid request, but not from the volume: when SQLite has
rolled the transaction back itself, the whole batch is refused.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from beacon import errors, wire
from beacon.domain import records
from beacon.store.ledger import clock, database, endpoints, rendering, session_state
from beacon.store.server import disk_guard
from beacon.store.verbs import (
    alignment,
    backups,
    comparisons,
    deliveries,
    delivery_search,
    endpoint_control,
    journal,
    lists,
    object_history,
    object_pages,
    pruning,
    recent_events,
    redelivery,
    statistics,
    streams,
    test_events,
    watch_positions,
)

_Found = TypeVar("_Found", wire.Claimed, wire.Claimed | None)
Answer = tuple[Any, wire.Reply | wire.Refused]  # the sender of a request, and its reply
_BELOW_RESERVE = database.FullError("the free space on the volume is below the reserve")
_PAGES_A_STEP = 500
_LIVE_S = 2.0  # after the last live change, others are expected
_PAUSE_S = 0.02  # after a page of a catch-up, beside live changes
_LEAST_LOOK_S = 0.05  # between two tries to park an endpoint, on a volume that fails


@records.record
class QueuedRequest:
    """A request, the key of its sender, and the ledger that it is addressed to ("": not known to the sender yet)."""

    sender: Any
    request: wire.AnyRequest
    ledger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parked:
    queued: QueuedRequest
    claim: wire.Claim
    until: float  # monotonic


@dataclass(slots=True, kw_only=True)
class _CatchUpTurn:
    """When the next page of a catch-up is written, and when the latest live changes were (monotonic)."""

    is_possible: bool = False
    at: float = 0.0
    live_at: float = -math.inf


class ServiceListener:
    """Receives notifications about committed work; this base class ignores them."""

    def committed(self, *, requests: int, seconds: float, notes: Sequence[object]) -> None:
        """Handle one committed transaction; `notes` are its events, closed gaps and other notifications."""

    def applied(self, verb: str, seconds: float) -> None:
        """Handle a request that was applied within a transaction."""

    def renamed(self, change: endpoints.Renamed) -> None:
        """Handle that the only endpoint has another name."""

    def restored(self, *, ledger: str) -> None:
        """Handle a restored backup, which has this ledger id from now on."""

    def reloaded(self, *, problems: int) -> None:
        """Handle that the configuration file was read again, and left the configuration as it is."""

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        """Handle a request that could not be applied."""

    def answered(self, verb: str, result: str, seconds: float) -> None:
        """Handle a reply that was sent; `seconds` since the request arrived, including parking."""

    def free_space_changed(self, *, short: bool, free_bytes: int) -> None:
        """Handle that the volume has become too full for new events, or has free space for them again."""

    def clock_set(self, seconds: float) -> None:
        """Handle that the wall clock was set and due times were shifted."""


class StoreService:
    """Applies requests to the ledger."""

    _looked_in_vain = False  # the last look at the endpoints that refuse failed: the volume does

    def __init__(
        self,
        ledger: database.Database,
        config: alignment.LedgerConfig,
        *,
        settings: Mapping[str, object],
        digest: str,
        time_: clock.Clock | None = None,
        disk: disk_guard.DiskGuard | None = None,
        listener: ServiceListener | None = None,
    ) -> None:
        """Serve the given ledger under the given configuration; without `disk` the volume is never too full.

        Raises:
            errors.BeaconError: the ledger can't be aligned with the configuration.
        """
        self._ledger = ledger
        self._settings = settings
        self._clock = time_ or clock.Clock()
        self._disk = disk
        self._was_short = False
        self._listener = listener or ServiceListener()
        self._state = session_state.SessionState()
        self._positions = watch_positions.WatchPositions(ledger, self._state, config)
        self._comparisons = comparisons.Comparisons(ledger, self._state, self._positions)
        self._deliveries = deliveries.Deliveries(
            ledger, self._state, self._clock.now_us, park={one.name: one.park for one in config.endpoints}
        )
        self._redelivery = redelivery.Redelivery(ledger, self._state)
        self._recent = recent_events.RecentEvents(ledger)
        self._pruning = pruning.Pruning(ledger, self._state, self._clock, configured=lambda: self._positions.endpoints)
        self._statistics = statistics.StatisticsReader(ledger, self._positions, self._deliveries)
        self._backups = backups.Backups(ledger)
        self._object_pages = object_pages.ObjectPages(ledger)
        self._history = object_history.ObjectHistory(ledger, config.scopes)
        self._parked: dict[tuple[str, str], _Parked] = {}  # by endpoint and session
        self._turn = _CatchUpTurn()
        self._readers, self._writers = self._readers_by_request(), self._writers_by_request()
        self.digest = digest
        self._prepare_with_ballast()
        self._started_us = self._clock.now_us()
        self.ledger_id = self._positions.identity.get().ledger

    def _prepare_with_ballast(self) -> None:
        """Align the ledger; if the volume is full, release the ballast and try again."""
        try:
            self._prepare()
        except database.FullError:
            if self._disk is None or not self._disk.release_ballast():
                raise
            self._ledger.rollback()
            self._state.drop_all()
            self._prepare()

    def _prepare(self) -> None:
        """Align the ledger with the clock and the configuration."""
        self._ledger.begin()
        self._clock.load(self._ledger)
        aligned = self._positions.prepare(self._clock.now_us())
        self._turn.is_possible = self._positions.owes_catch_up
        self._deliveries.prepare(one.settings.name for one in self._positions.endpoints)
        self._write_rest()
        self._ledger.commit()
        notes = self._state.keep_all()
        if aligned.is_copy:
            self._listener.restored(ledger=self._positions.identity.get().ledger)
            self._listener.committed(requests=0, seconds=0.0, notes=notes)
        if aligned.renamed:
            self._listener.renamed(aligned.renamed)

    def handle(self, request: wire.AnyRequest, *, ledger: str = "") -> wire.Reply | wire.Refused:
        """Serve one request alone; a claim is never parked."""
        if isinstance(request, wire.Claim):
            request = replace(request, wait_s=0.0)
        answers = dict(self.process([QueuedRequest(sender=None, request=request, ledger=ledger)]))
        return answers[None]

    def process(self, batch: Sequence[QueuedRequest]) -> list[Answer]:
        """Apply a batch of requests. Return the available replies, including those of claims parked earlier."""
        misdirected = {id(queued): refused for queued in batch if (refused := self._misdirected(queued)) is not None}
        mine = [queued for queued in batch if id(queued) not in misdirected]
        answers: list[Answer] = [
            (queued.sender, misdirected[id(queued)]) for queued in batch if id(queued) in misdirected
        ]
        self._follow_clock()
        has_writes = [queued for queued in mine if self._is_write(queued.request)]
        written = self._admit(has_writes)
        answers.extend(
            (queued.sender, reply) for queued, reply in zip(has_writes, written, strict=True) if reply is not None
        )
        failed = {
            id(queued) for queued, reply in zip(has_writes, written, strict=True) if isinstance(reply, wire.Refused)
        }
        for queued in mine:
            if isinstance(queued.request, wire.Claim) and id(queued) not in failed:
                answers.extend(self._park(queued, queued.request))
            elif not self._is_write(queued.request):
                answers.append((queued.sender, self._read(queued.request)))
        self._park_refusing()
        answers.extend(self.due())
        if any(isinstance(queued.request, wire.Observe) and queued.request.observations for queued in has_writes):
            self._turn.live_at = time.monotonic()
        self._turn.is_possible = self._positions.owes_catch_up
        return answers

    def _misdirected(self, queued: QueuedRequest) -> wire.Refused | None:
        """Return the refusal of a request that is addressed to another ledger, or must name its ledger and does not."""
        if queued.ledger == self.ledger_id:
            return None
        if queued.ledger:
            return wire.Refused(code=wire.Refusal.REPLACED, message="the store has another ledger")
        if wire.is_bound(queued.request):
            return wire.Refused(code=wire.Refusal.MALFORMED, message="the request must name its ledger")
        return None

    def catch_up(self) -> None:
        """Compare the next objects of an endpoint that is owed a comparison, in turns with requests."""
        self._backups.give_up_abandoned()
        started = time.monotonic()
        if not self._turn.is_possible or started < self._turn.at:
            return
        beside_live = started - self._turn.live_at < _LIVE_S
        place = None if self._check_disk() else self._positions.next_catch_up(beside_live=beside_live)
        self._turn.is_possible = place is not None
        if place is None:
            return
        now = rendering.Now(us=self._clock.now_us(), ns=time.monotonic_ns())
        try:
            self._ledger.begin()
            self._positions.catch_up(place, now, beside_live=beside_live)
            self._write_rest()
            self._ledger.commit()
        except errors.BeaconError as error:
            self._state.drop_all()
            self._ledger.rollback()
            if not isinstance(error, database.StorageError):
                raise
            self._turn.is_possible = False  # until the next request
            return
        notes = self._state.keep_all()
        self._recent.committed(notes)
        seconds = time.monotonic() - started
        self._turn.at = time.monotonic() + (_PAUSE_S if beside_live else 0.0)
        self._listener.committed(requests=0, seconds=seconds, notes=notes)

    def _park_refusing(self) -> None:
        """Park the endpoints whose refusals have lasted for long enough; a volume that fails lets them wait."""
        at_us = self._deliveries.park_at_us()
        if at_us is None or self._clock.now_us() < at_us:
            return
        started = time.monotonic()
        try:
            self._ledger.begin()
            self._deliveries.park_refusing(self._clock.now_us())
            self._write_rest()
            self._ledger.commit()
        except database.DamagedError:
            raise
        except errors.BeaconError:
            self._state.drop_all()
            self._ledger.rollback()
            self._looked_in_vain = True
            return
        self._looked_in_vain = False
        self._deliveries.tests_applied()
        self._listener.committed(requests=0, seconds=time.monotonic() - started, notes=self._state.keep_all())

    def _report_test_event(self, tests: test_events.TestEvents, report: wire.ReportTestEvent) -> wire.Reply:
        """Keep the result of a test event; a proper answer also ends the parking of its endpoint."""
        self._deliveries.note_test(report.result)
        return tests.report(report)

    def _report_reload(self, report: wire.ReportReload) -> wire.ReloadReported:
        """Notify the listener of the result of a reload that leaves the configuration as it is."""
        self._listener.reloaded(problems=report.problems)
        return wire.ReloadReported()

    def due(self) -> list[Answer]:
        """Return the replies of parked claims for which a delivery is due, or whose time is over."""
        answers: list[Answer] = []
        for key, parked in list(self._parked.items()):
            reply = self._lease(parked.claim, last=time.monotonic() >= parked.until)
            if reply is not None:
                del self._parked[key]
                answers.append((parked.queued.sender, reply))
        return answers

    def longest_wait_s(self, longest_s: float) -> float:
        """Return how long to wait for requests before `due` must be called again."""
        if self._deliveries.is_restoring():
            longest_s = _LEAST_LOOK_S if self._looked_in_vain else 0.0
        if self._turn.is_possible:
            longest_s = max(0.0, min(longest_s, self._turn.at - time.monotonic()))
        if not self._parked:
            return longest_s
        if (park_at_us := self._deliveries.park_at_us()) is not None:
            longest_s = max(_LEAST_LOOK_S, min(longest_s, (park_at_us - self._clock.now_us()) / 1_000_000))
        left_s = min(parked.until for parked in self._parked.values()) - time.monotonic()
        for parked in self._parked.values():
            due_us = self._deliveries.next_due_us(parked.claim)
            if due_us is None:
                continue
            left_s = min(left_s, max(0.0, (due_us - self._clock.now_us()) / 1_000_000))
        return max(0.0, min(longest_s, left_s))

    def _readers_by_request(self) -> dict[type, Callable[[Any], wire.Reply]]:
        """Return the handlers of verbs of `wire.VerbKind.READ`, by the type of the request."""
        tests = test_events.TestEvents()
        return {
            wire.Ping: lambda _: wire.Pong(state="ready", since_us=self._started_us),
            wire.Hello: lambda _: wire.HelloReply(settings=self._settings),
            wire.Backup: self._backups.step,
            wire.ReportReload: self._report_reload,
            wire.ReadObjects: self._object_pages.page,
            wire.ReadViews: self._object_pages.views,
            wire.FindDeliveries: lambda r: delivery_search.page(self._ledger, r),
            wire.CountFailed: lambda r: delivery_search.count_failed(self._ledger, r),
            wire.FindIds: lambda r: delivery_search.ids(self._ledger, r),
            wire.Explain: self._history.explain,
            wire.Follow: self._recent.page,
            wire.Vacuum: lambda _: self._vacuum(),
            wire.RequestTestEvent: tests.request,
            wire.TakeTestEvent: tests.take,
            wire.ReportTestEvent: lambda r: self._report_test_event(tests, r),
            wire.Inspect: lambda _: self._statistics.inspect(),
        }

    def _writers_by_request(self) -> dict[type, Callable[[Any, rendering.Now], wire.Reply | None]]:
        """Return the handlers of the other verbs; a claim has no reply before the commit."""
        control = endpoint_control.EndpointControl(self._ledger, self._state, unpark=self._deliveries.resume)
        changes = journal.Journal(self._ledger, self._state)
        streams_ = streams.Streams(self._state, self._positions, changes)
        lists_ = lists.Lists(self._state, self._positions, changes)
        return {
            wire.Claim: lambda r, now: self._deliveries.settle(r, now.us),
            wire.Observe: streams_.observe,
            wire.Confirm: streams_.confirm,
            wire.OpenStream: lambda r, _: streams_.open_stream(r),
            wire.Rewind: lambda r, _: streams_.rewind(r),
            wire.Expire: lambda r, _: streams_.expire(r),
            wire.ListBegin: lists_.begin,
            wire.ListPage: lists_.page,
            wire.ListEnd: lists_.end,
            wire.CompareOpen: self._comparisons.open,
            wire.CompareBegin: lambda r, _: self._comparisons.begin(r),
            wire.ComparePage: self._comparisons.page,
            wire.CompareEnd: self._comparisons.end,
            wire.Prune: lambda r, _: self._pruning.prune(r),
            wire.Adopt: lambda r, now: streams_.adopt(r, now.us),
            wire.Redeliver: lambda r, now: self._redelivery.redeliver(r, now.us),
            wire.Discard: lambda r, now: self._redelivery.discard(r, now.us),
            wire.PauseEndpoint: lambda r, now: control.pause(r, now.us),
            wire.ResumeEndpoint: lambda r, now: control.resume(r, now.us),
            wire.DiscardEndpoint: lambda r, now: control.discard(r, now.us),
            wire.DiscardOld: lambda r, now: self._redelivery.discard_old(
                r, now.us, self._clock.ages(self._ledger, r.older_than_s)
            ),
        }

    def _is_write(self, request: wire.AnyRequest) -> bool:
        if isinstance(request, wire.Claim):
            return self._deliveries.has_writes(request)
        return wire.kind_of(request) is not wire.VerbKind.READ

    def _read(self, request: wire.AnyRequest) -> wire.Reply | wire.Refused:
        try:
            return self._readers[type(request)](request)
        except errors.BeaconError as error:
            return self._refusal(request, error)

    def _admit(self, requests: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Apply requests, but refuse the intake while the volume is too full for it."""
        replies: dict[int, wire.Reply | wire.Refused | None] = {}
        going = list(requests)
        if self._check_disk():
            going = [queued for queued in requests if wire.kind_of(queued.request) is not wire.VerbKind.INTAKE]
        if going:
            replies.update(zip(map(id, going), self._write_all(going), strict=True))
            if self._was_short:
                self._write_back()
        return [
            replies[id(queued)] if id(queued) in replies else self._refusal(queued.request, _BELOW_RESERVE)
            for queued in requests
        ]

    def _check_disk(self) -> bool:
        """Return True if the volume is too full for new events; notify the listener of a change."""
        if self._disk is None:
            return False
        short = self._disk.is_short
        if short is not self._was_short:
            self._was_short = short
            self._listener.free_space_changed(short=short, free_bytes=self._disk.free_bytes)
        return short

    def _write_back(self) -> None:
        """Checkpoint the log, so that it does not need to grow; a failure is ignored."""
        with suppress(database.StorageError):
            self._ledger.write_back(shrink=False)

    def _follow_clock(self) -> None:
        """Follow the wall clock if it was set; if that can't be written now, the next round retries."""
        jump_us = self._clock.jump_us
        if not jump_us:
            return
        try:
            self._ledger.begin()
            self._clock.follow(self._ledger, jump_us)
            self._ledger.commit()
        except database.StorageError:
            self._ledger.rollback()
            return
        self._clock.followed(jump_us)
        self._listener.clock_set(jump_us / 1_000_000)

    def _vacuum(self) -> wire.Vacuumed:
        """Release free pages; not batched with other writes: a checkpoint is impossible within a transaction."""
        try:
            self._ledger.begin()
            pages, left = self._ledger.vacuum(_PAGES_A_STEP)
            self._ledger.commit()
        except errors.BeaconError:
            self._ledger.rollback()
            raise
        if not left:
            self._ledger.write_back(shrink=True)
        return wire.Vacuumed(pages=pages, more=left > 0)

    def _write_all(self, requests: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Apply requests in one transaction; None stands for a claim, which is answered later."""
        try:
            return self._commit(requests)
        except database.DamagedError:
            raise
        except database.FullError as error:
            return self._commit_without_intake(requests, error)
        except errors.BeaconError as error:
            if isinstance(error, database.StorageError) or len(requests) == 1:
                return [self._refusal(queued.request, error) for queued in requests]
        # One request made the commit fail: apply them one by one to find it.
        return [reply for queued in requests for reply in self._write_all([queued])]

    def _commit(self, requests: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Apply requests in one transaction, or roll all of it back and raise.

        Savepoints cost as much as a request's own work, and are needed only if one of several requests is refused:
        then everything is rolled back and applied again with them. Likewise, whether an event exists already is looked
        up only if a transaction has failed.
        """
        try:
            return self._commit_all(requests, with_savepoints=False)
        except (database.StorageError, database.DamagedError):
            raise
        except errors.BeaconError as error:
            if len(requests) == 1 and not isinstance(error, database.RequestError):
                raise
        self._state.is_careful = True
        try:
            return self._commit_all(requests, with_savepoints=len(requests) > 1)
        finally:
            self._state.is_careful = False

    def _commit_all(
        self, requests: Sequence[QueuedRequest], *, with_savepoints: bool
    ) -> list[wire.Reply | wire.Refused | None]:
        started = time.monotonic()
        now = rendering.Now(us=self._clock.now_us(), ns=time.monotonic_ns())
        applied: list[tuple[str, float]] = []
        write = self._write_in_savepoint if with_savepoints else self._write_one
        try:
            self._ledger.begin()
            replies = [write(queued.request, now, applied) for queued in requests]
            self._write_rest()
            self._ledger.commit()
        except errors.BeaconError:
            self._state.drop_all()
            self._ledger.rollback()
            raise
        for verb, seconds in applied:
            self._listener.applied(verb, seconds)
        notes = self._state.keep_all()
        self._recent.committed(notes)
        self._listener.committed(requests=len(requests), seconds=time.monotonic() - started, notes=notes)
        return replies

    def _write_rest(self) -> None:
        """Write what was gathered in memory during the transaction: cursors, counts and digests."""
        self._positions.write_moved()
        self._state.keep_request()
        self._state.write_sums(self._ledger)

    def _commit_without_intake(
        self, requests: Sequence[QueuedRequest], error: database.FullError
    ) -> list[wire.Reply | wire.Refused | None]:
        """Refuse the intake after a full volume; retry the other requests, then once more without the ballast."""
        replies: dict[int, wire.Reply | wire.Refused | None] = {}
        if self._disk is not None:
            self._disk.note_full()
            self._check_disk()
            vital = [queued for queued in requests if wire.kind_of(queued.request) is not wire.VerbKind.INTAKE]
            if len(vital) < len(requests):
                replies = self._retry(vital)
            if not replies and vital and self._disk.release_ballast():
                replies = self._retry(vital)
        return [
            replies[id(queued)] if id(queued) in replies else self._refusal(queued.request, error)
            for queued in requests
        ]

    def _retry(self, requests: Sequence[QueuedRequest]) -> dict[int, wire.Reply | wire.Refused | None]:
        """Apply requests once more; on failure return nothing, and the next round applies them one by one."""
        if not requests:
            return {}
        try:
            return dict(zip(map(id, requests), self._commit(requests), strict=True))
        except database.DamagedError:
            raise
        except errors.BeaconError:
            return {}

    def _write_one(
        self, request: wire.AnyRequest, now: rendering.Now, applied: list[tuple[str, float]]
    ) -> wire.Reply | wire.Refused | None:
        """Apply one request; `applied` gets its verb and how long it took."""
        started = time.monotonic()
        reply = self._writers[type(request)](request, now)
        applied.append((wire.verb_of(request), time.monotonic() - started))
        return reply

    def _write_in_savepoint(
        self, request: wire.AnyRequest, now: rendering.Now, applied: list[tuple[str, float]]
    ) -> wire.Reply | wire.Refused | None:
        """Apply one request in its savepoint; a refusal is its reply if only this request can't be applied."""
        replies: list[wire.Reply | wire.Refused | None] = []
        try:
            self._ledger.savepoint(lambda: replies.append(self._write_alone(request, now, applied)))
        except errors.BeaconError as error:
            self._state.drop_request()
            broken = isinstance(error, database.StorageError | database.DamagedError)
            if broken or not self._ledger.in_transaction:
                raise
            return self._refusal(request, error)
        self._state.keep_request()
        return replies[0]

    def _write_alone(
        self, request: wire.AnyRequest, now: rendering.Now, applied: list[tuple[str, float]]
    ) -> wire.Reply | wire.Refused | None:
        """Apply one request and write its cursors, which must be rolled back with it."""
        reply = self._write_one(request, now, applied)
        self._positions.write_moved()
        return reply

    def _refusal(self, request: wire.AnyRequest, error: errors.BeaconError) -> wire.Refused:
        self._listener.failed(wire.verb_of(request), error)
        if isinstance(error, database.FullError):
            return wire.Refused(code=wire.Refusal.FULL, message=str(error))
        if isinstance(error, database.StorageError):
            return wire.Refused(code=wire.Refusal.STORAGE, message=str(error))
        if isinstance(error, errors.ForeignClusterError):
            return wire.Refused(code=wire.Refusal.FOREIGN, message=str(error))
        return wire.Refused(code=wire.Refusal.FAILED, message=str(error))

    def _park(self, queued: QueuedRequest, claim: wire.Claim) -> list[Answer]:
        """Reply to a claim, or park it until a delivery is due; the session's earlier claim is no longer parked."""
        answers: list[Answer] = []
        key = (claim.endpoint, claim.session)
        earlier = self._parked.pop(key, None)
        if earlier is not None and earlier.claim.number != claim.number:
            answers.append((earlier.queued.sender, self._reply_to(earlier.claim, self._deliveries.answer_empty)))
        reply = self._lease(claim, last=claim.wait_s <= 0)
        if reply is not None:
            answers.append((queued.sender, reply))
        else:
            self._parked[key] = _Parked(queued=queued, claim=claim, until=time.monotonic() + claim.wait_s)
        return answers

    def _lease(self, claim: wire.Claim, *, last: bool) -> wire.Claimed | wire.Refused | None:
        """Return the reply to a claim with due deliveries; None if none is due, unless this is the `last` call."""
        reply = self._reply_to(claim, lambda claim: self._deliveries.lease(claim, self._clock.now_us()))
        return self._reply_to(claim, self._deliveries.answer_empty) if reply is None and last else reply

    def _reply_to(self, claim: wire.Claim, work: Callable[[wire.Claim], _Found]) -> _Found | wire.Refused:
        """Lease deliveries: this changes only memory, so that it takes effect at once."""
        try:
            reply = work(claim)
        except database.DamagedError:
            raise
        except errors.BeaconError as error:
            self._state.drop_request()
            return self._refusal(claim, error)
        self._state.keep_request()
        self._state.keep_all()
        return reply
