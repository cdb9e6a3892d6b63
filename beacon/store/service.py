"""What the store does with requests: group commit, refusals, the parking of claims. It has no sockets.

All requests that have arrived are applied in one transaction, each in its savepoint, committed once, and answered only
then. A savepoint protects the others against a bad request; it does not protect against the volume: when SQLite has
rolled the transaction back itself, nothing more of the batch is run, and all of it is refused.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from beacon import errors, wire
from beacon.store import (
    backups,
    clock,
    comparisons,
    database,
    deliveries,
    delivery_search,
    disk_guard,
    object_history,
    object_pages,
    pruning,
    recent_events,
    redelivery,
    rendering,
    session_state,
    statistics,
    watch_positions,
)

_Found = TypeVar("_Found", wire.Claimed, wire.Claimed | None)
Answer = tuple[Any, wire.Reply | wire.Refused]  # a job's sender, and what it is told
_NO_ROOM = database.FullError("the volume's free room is below the reserve")
_PAGES_A_STEP = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRequest:
    """A request, the key of its sender, and the ledger that it is meant for ("": its sender does not know it yet)."""

    sender: Any
    request: wire.AnyRequest
    ledger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parked:
    job: QueuedRequest
    claim: wire.Claim
    until: float  # monotonic


class ServiceListener:
    """Is told what the service did, once it is a fact; this one says nothing."""

    def committed(self, *, requests: int, seconds: float, notes: Sequence[Any]) -> None:
        """One transaction is on disk; `notes` are what it told and which gaps it closed."""

    def applied(self, verb: str, seconds: float) -> None:
        """A request was applied within a transaction."""

    def took_over(self, *, endpoint: str, deliveries: int) -> None:
        """So many deliveries of endpoints that are no longer configured are now this one's."""

    def restored(self, *, ledger: str) -> None:
        """The ledger is a copy that was put back, and has this id from now on."""

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        """A request could not be applied."""

    def answered(self, verb: str, result: str, seconds: float) -> None:
        """A reply was sent; `seconds` since the request arrived, parking included."""

    def room(self, *, short: bool, free_bytes: int) -> None:
        """The volume has become too full for new events, or has room for them again."""

    def clock_set(self, seconds: float) -> None:
        """The wall clock was set, and what is due later has moved with it."""


class StoreService:
    """Applies requests to the ledger."""

    def __init__(
        self,
        ledger: database.Database,
        terms: watch_positions.LedgerConfig,
        *,
        settings: Mapping[str, Any],
        digest: str,
        time_: clock.Clock | None = None,
        disk: disk_guard.DiskGuard | None = None,
        listener: ServiceListener | None = None,
    ) -> None:
        """Serve the given ledger under the given configuration; without `disk` the volume is never too full.

        Raises:
            errors.BeaconError: the ledger can't be brought in line with the configuration.
        """
        self._ledger = ledger
        self._settings = settings
        self._clock = time_ or clock.Clock()
        self._room = disk
        self._was_short = False
        self._endpoint = terms.endpoint
        self._listener = listener or ServiceListener()
        self._memory = session_state.SessionState()
        self._streams = watch_positions.WatchPositions(ledger, self._memory, terms)
        self._comparisons = comparisons.Comparisons(ledger, self._memory, self._streams)
        self._deliveries = deliveries.Deliveries(ledger, self._memory, self._clock.now_us)
        self._redelivery = redelivery.Redelivery(ledger, self._memory, terms.endpoint)
        self._following = recent_events.RecentEvents(ledger)
        self._pruning = pruning.Pruning(ledger, self._memory, self._clock)
        self._figures = statistics.StatisticsReader(ledger, self._streams, self._deliveries)
        self._backups = backups.Backups(ledger)
        self._holdings = object_pages.ObjectPages(ledger)
        self._stories = object_history.ObjectHistory(ledger, terms.scopes)
        self._parked: dict[str, _Parked] = {}
        self._readers, self._writers = self._readers_by_request(), self._writers_by_request()
        self.digest = digest
        self._prepare_with_room()
        self._started_us = self._clock.now_us()
        self.ledger_id = self._streams.identity().ledger

    def _prepare_with_room(self) -> None:
        """Prepare, if need be in the ballast's room."""
        try:
            self._prepare()
        except database.FullError:
            if self._room is None or not self._room.give_way():
                raise
            self._ledger.rollback()
            self._memory.drop_all()
            self._prepare()

    def _prepare(self) -> None:
        """Bring the ledger in line with the clock and the configuration."""
        self._ledger.begin()
        self._clock.load(self._ledger)
        is_copy = self._streams.prepare(self._clock.now_us())
        moved = self._deliveries.take_over(self._endpoint)
        self._ledger.commit()
        if is_copy:
            self._listener.restored(ledger=self._streams.identity().ledger)
        if moved:
            self._listener.took_over(endpoint=self._endpoint, deliveries=moved)

    def handle(self, request: wire.AnyRequest, *, ledger: str = "") -> wire.Reply | wire.Refused:
        """Carry out one request alone; a claim is never parked."""
        if isinstance(request, wire.Claim):
            request = replace(request, wait_s=0.0)
        answers = dict(self.process([QueuedRequest(sender=None, request=request, ledger=ledger)]))
        return answers[None]

    def process(self, batch: Sequence[QueuedRequest]) -> list[Answer]:
        """Carry out a batch; gives the answers that can be given now, parked ones of earlier batches included."""
        stray = {id(job): refused for job in batch if (refused := self._stray(job)) is not None}
        mine = [job for job in batch if id(job) not in stray]
        answers: list[Answer] = [(job.sender, stray[id(job)]) for job in batch if id(job) in stray]
        self._follow_clock()
        writes = [job for job in mine if self._is_write(job.request)]
        written = self._admit(writes)
        answers.extend((job.sender, reply) for job, reply in zip(writes, written, strict=True) if reply is not None)
        failed = {id(job) for job, reply in zip(writes, written, strict=True) if isinstance(reply, wire.Refused)}
        for job in mine:
            if isinstance(job.request, wire.Claim) and id(job) not in failed:
                answers.extend(self._park(job, job.request))
            elif not self._is_write(job.request):
                answers.append((job.sender, self._read(job.request)))
        answers.extend(self.due())
        return answers

    def _stray(self, job: QueuedRequest) -> wire.Refused | None:
        """Return the refusal of a request that is meant for another ledger, or does not name one though it must."""
        if job.ledger == self.ledger_id:
            return None
        if job.ledger:
            return wire.Refused(code=wire.Refusal.REPLACED, message="the store has another ledger")
        if wire.is_bound(job.request):
            return wire.Refused(code=wire.Refusal.MALFORMED, message="the request does not name its ledger")
        return None

    def due(self) -> list[Answer]:
        """Answer the parked claims for which there is something now, or whose time is over."""
        answers: list[Answer] = []
        for session, parked in list(self._parked.items()):
            reply = self._give(parked.claim, last=time.monotonic() >= parked.until)
            if reply is not None:
                del self._parked[session]
                answers.append((parked.job.sender, reply))
        return answers

    def patience_s(self, longest_s: float) -> float:
        """Say how long to wait for requests before `due` must be asked again."""
        if not self._parked:
            return longest_s
        left_s = min(parked.until for parked in self._parked.values()) - time.monotonic()
        for parked in self._parked.values():
            due_us = self._deliveries.next_due_us(parked.claim)
            if due_us is None:
                continue
            left_s = min(left_s, max(0.0, (due_us - self._clock.now_us()) / 1_000_000))
        return max(0.0, min(longest_s, left_s))

    def _readers_by_request(self) -> dict[type, Callable[[Any], wire.Reply]]:
        """Return what carries out each verb of `wire.Kind.READ`, by the type of its request."""
        return {
            wire.Ping: lambda _: wire.Pong(state="ready", since_us=self._started_us),
            wire.Hello: lambda _: wire.HelloReply(settings=self._settings),
            wire.Backup: self._backups.step,
            wire.ReadObjects: self._holdings.page,
            wire.FindDeliveries: lambda r: delivery_search.page(self._ledger, r),
            wire.Explain: self._stories.tell,
            wire.Follow: self._following.page,
            wire.Vacuum: lambda _: self._vacuum(),
            wire.Inspect: lambda _: self._figures.inspect(),
        }

    def _writers_by_request(self) -> dict[type, Callable[[Any, rendering.Now], wire.Reply | None]]:
        """Return what carries out each other verb; a claim has no reply before the commit."""
        return {
            wire.Claim: lambda r, now: self._deliveries.settle(r, now.us),
            wire.Observe: self._streams.observe,
            wire.OpenStream: lambda r, _: self._streams.open_stream(r),
            wire.Rewind: lambda r, _: self._streams.rewind(r),
            wire.Expire: lambda r, _: self._streams.expire(r),
            wire.ListBegin: self._streams.list_begin,
            wire.ListPage: self._streams.list_page,
            wire.ListEnd: self._streams.list_end,
            wire.CompareOpen: self._comparisons.open,
            wire.CompareBegin: lambda r, _: self._comparisons.begin(r),
            wire.ComparePage: self._comparisons.page,
            wire.CompareEnd: self._comparisons.end,
            wire.Prune: lambda r, _: self._pruning.prune(r),
            wire.Adopt: lambda r, now: self._streams.adopt(r, now.us),
            wire.Redeliver: lambda r, now: self._redelivery.redeliver(r, now.us),
            wire.Discard: lambda r, now: self._redelivery.discard(r, now.us),
        }

    def _is_write(self, request: wire.AnyRequest) -> bool:
        if isinstance(request, wire.Claim):
            return self._deliveries.writes(request)
        return wire.kind_of(request) is not wire.VerbKind.READ

    def _read(self, request: wire.AnyRequest) -> wire.Reply | wire.Refused:
        try:
            return self._readers[type(request)](request)
        except errors.BeaconError as error:
            return self._refusal(request, error)

    def _admit(self, jobs: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Write, but refuse the intake while the volume is too full for it."""
        replies: dict[int, wire.Reply | wire.Refused | None] = {}
        going = list(jobs)
        if self._watch_room():
            going = [job for job in jobs if wire.kind_of(job.request) is not wire.VerbKind.INTAKE]
        if going:
            replies.update(zip(map(id, going), self._write_all(going), strict=True))
            if self._was_short:
                self._write_back()
        return [replies[id(job)] if id(job) in replies else self._refusal(job.request, _NO_ROOM) for job in jobs]

    def _watch_room(self) -> bool:
        """Say whether the volume is too full for new events, and tell the listener when that has changed."""
        if self._room is None:
            return False
        short = self._room.is_short
        if short is not self._was_short:
            self._was_short = short
            self._listener.room(short=short, free_bytes=self._room.free_bytes)
        return short

    def _write_back(self) -> None:
        """Have the log begin anew, so that what goes on needs no more room than it has; it need not succeed."""
        with suppress(database.StorageError):
            self._ledger.write_back(shrink=False)

    def _follow_clock(self) -> None:
        """Move with the wall clock when it was set; when that can't be written now, the next round tries again."""
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
        """Give free pages back: a step of its own, because the log can't be written back within a transaction."""
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

    def _write_all(self, jobs: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Apply requests in one transaction; None stands for a claim, whose answer is still to be found."""
        try:
            return self._commit(jobs)
        except database.DamagedError:
            raise
        except database.FullError as error:
            return self._make_do(jobs, error)
        except errors.BeaconError as error:
            if isinstance(error, database.StorageError) or len(jobs) == 1:
                return [self._refusal(job.request, error) for job in jobs]
        # One request has spoilt the commit: find out which.
        return [reply for job in jobs for reply in self._write_all([job])]

    def _commit(self, jobs: Sequence[QueuedRequest]) -> list[wire.Reply | wire.Refused | None]:
        """Apply requests in one transaction, or undo all of it and raise."""
        started = time.monotonic()
        now = rendering.Now(us=self._clock.now_us(), ns=time.monotonic_ns())
        try:
            self._ledger.begin()
            replies = [self._write_one(job.request, now, alone=len(jobs) == 1) for job in jobs]
            self._ledger.commit()
        except errors.BeaconError:
            self._memory.drop_all()
            self._ledger.rollback()
            raise
        notes = self._memory.keep_all()
        self._following.committed(notes)
        self._listener.committed(requests=len(jobs), seconds=time.monotonic() - started, notes=notes)
        return replies

    def _make_do(
        self, jobs: Sequence[QueuedRequest], error: database.FullError
    ) -> list[wire.Reply | wire.Refused | None]:
        """There was no room: refuse the intake; try the rest again without it, then once in the ballast's room."""
        replies: dict[int, wire.Reply | wire.Refused | None] = {}
        if self._room is not None:
            self._room.note_full()
            self._watch_room()
            vital = [job for job in jobs if wire.kind_of(job.request) is not wire.VerbKind.INTAKE]
            if len(vital) < len(jobs):
                replies = self._retry(vital)
            if not replies and vital and self._room.give_way():
                replies = self._retry(vital)
        return [replies[id(job)] if id(job) in replies else self._refusal(job.request, error) for job in jobs]

    def _retry(self, jobs: Sequence[QueuedRequest]) -> dict[int, wire.Reply | wire.Refused | None]:
        """Apply requests once more; nothing is returned if that fails, and the next round tries them one by one."""
        if not jobs:
            return {}
        try:
            return dict(zip(map(id, jobs), self._commit(jobs), strict=True))
        except database.DamagedError:
            raise
        except errors.BeaconError:
            return {}

    def _write_one(
        self, request: wire.AnyRequest, now: rendering.Now, *, alone: bool
    ) -> wire.Reply | wire.Refused | None:
        """Apply one request in its savepoint; one that is alone in its transaction needs none."""
        replies: list[wire.Reply | None] = []
        started = time.monotonic()
        try:
            if alone:
                replies.append(self._writers[type(request)](request, now))
            else:
                self._ledger.savepoint(lambda: replies.append(self._writers[type(request)](request, now)))
        except errors.BeaconError as error:
            self._memory.drop_request()
            broken = isinstance(error, database.StorageError | database.DamagedError)
            if alone or broken or not self._ledger.in_transaction:
                raise
            return self._refusal(request, error)
        self._memory.keep_request()
        self._listener.applied(wire.verb_of(request), time.monotonic() - started)
        return replies[0]

    def _refusal(self, request: wire.AnyRequest, error: errors.BeaconError) -> wire.Refused:
        self._listener.failed(wire.verb_of(request), error)
        if isinstance(error, database.FullError):
            return wire.Refused(code=wire.Refusal.FULL, message=str(error))
        if isinstance(error, database.StorageError):
            return wire.Refused(code=wire.Refusal.STORAGE, message=str(error))
        if isinstance(error, errors.ForeignClusterError):
            return wire.Refused(code=wire.Refusal.FOREIGN, message=str(error))
        return wire.Refused(code=wire.Refusal.FAILED, message=str(error))

    def _park(self, job: QueuedRequest, claim: wire.Claim) -> list[Answer]:
        """Answer a claim, or keep it until something is due; the session's earlier one is parked no longer."""
        answers: list[Answer] = []
        earlier = self._parked.pop(claim.session, None)
        if earlier is not None and earlier.claim.number != claim.number:
            answers.append((earlier.job.sender, self._reply_to(earlier.claim, self._deliveries.answer_empty)))
        reply = self._give(claim, last=claim.wait_s <= 0)
        if reply is not None:
            answers.append((job.sender, reply))
        else:
            self._parked[claim.session] = _Parked(job=job, claim=claim, until=time.monotonic() + claim.wait_s)
        return answers

    def _give(self, claim: wire.Claim, *, last: bool) -> wire.Claimed | wire.Refused | None:
        """Answer a claim with what is due; None when nothing is, unless it is asked for the `last` time."""
        reply = self._reply_to(claim, lambda claim: self._deliveries.give(claim, self._clock.now_us()))
        return self._reply_to(claim, self._deliveries.answer_empty) if reply is None and last else reply

    def _reply_to(self, claim: wire.Claim, work: Callable[[wire.Claim], _Found]) -> _Found | wire.Refused:
        """Give out: that changes memory only, so it is a fact at once."""
        try:
            reply = work(claim)
        except database.DamagedError:
            raise
        except errors.BeaconError as error:
            self._memory.drop_request()
            return self._refusal(claim, error)
        self._memory.keep_request()
        self._memory.keep_all()
        return reply
