"""Group commit: one transaction for all that has arrived, and the truth when it fails."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from beacon import errors, wire
from beacon.domain import model
from beacon.store.recovery import verification
from beacon.store.server import service
from tests.unit.store import world

TEST_EVENTS = ("request-test-event", "take-test-event", "report-test-event")
ADDED = model.ChangeKind.ADDED
_names = itertools.count()


class Failing(apsw.VFS):
    """A volume that returns an error at the nth write or sync after the test requested it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: type[apsw.Error] | None = None
        self.at = "write"
        self.after = 0
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return _File(self, name, flags)

    def fail(self, error: type[apsw.Error] | None, *, at: str = "write", after: int = 0) -> None:
        self.error, self.at, self.after = error, at, after

    def happen(self, what: str) -> None:
        if self.error is None or what != self.at:
            return
        if self.after > 0:
            self.after -= 1
            return
        raise self.error("as the test wants")


class _File(apsw.VFSFile):
    def __init__(self, volume: Failing, name: Any, flags: list[int]) -> None:
        self._volume = volume
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        self._volume.happen("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        self._volume.happen("sync")
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  SQLite's name
        self._volume.happen("read")
        return super().xRead(amount, offset)


class Counting(service.ServiceListener):
    """Counts transactions and failures."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.failures: list[str] = []
        self.emitted = 0

    def committed(self, *, requests: int, seconds: float, notes: Any) -> None:
        assert seconds >= 0
        self.commits.append(requests)
        self.emitted += len(notes)

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        self.failures.append(f"{verb}: {type(error).__name__}")


@pytest.fixture
def volume() -> Failing:
    return Failing(f"failing-{next(_names)}")


@pytest.fixture
def store(tmp_path: Path, volume: Failing) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True, vfs=volume.name)
    opened.open()
    opened.relist(10)
    opened.open()
    yield opened
    volume.fail(None)
    opened.ledger.close()


@pytest.fixture
def listener(store: world.World) -> Counting:
    counting = Counting()
    store.service._listener = counting
    return counting


def burst(store: world.World, count: int, *, start: int = 10, value: str = "v") -> list[service.QueuedRequest]:
    """Make pipelined observations of `count` new objects; each job's sender is its position."""
    return [
        service.QueuedRequest(
            sender=position + 1,
            request=store.observation(
                position, position + 1, world.seen(f"o{position}", position + 1, ADDED, value=value)
            ),
        )
        for position in range(start, start + count)
    ]


def ask(store: world.World, jobs: list[service.QueuedRequest]) -> dict[Any, Any]:
    return dict(store.service.process([replace(job, ledger=store.service.ledger_id) for job in jobs]))


def consistent(store: world.World) -> None:
    """Check that the state in memory and the ledger agree after a restart."""
    before = store.service.handle(wire.Inspect())
    opened = store.open()
    store.restart()
    again = store.open()
    after = store.service.handle(wire.Inspect())
    assert isinstance(before, wire.Statistics)
    assert isinstance(after, wire.Statistics)
    assert (before.rows, before.tracked) == (after.rows, after.tracked)
    assert (opened.cursor, opened.epoch, set(opened.tracked)) == (again.cursor, again.epoch, set(again.tracked))
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    assert list(verification.inconsistencies(store.ledger)) == []


def test_digests_of_settlements_that_were_rolled_back_are_forgotten(store: world.World, volume: Failing) -> None:
    ask(store, burst(store, 3))
    first, second, third = store.claim(3).deliveries
    settled = [
        service.QueuedRequest(
            sender=number,
            request=wire.Claim(
                endpoint="default",
                session="n",
                number=9 + number,
                want=0,
                wait_s=0.0,
                settlements=(world.delivered(one),),
            ),
        )
        for number, one in enumerate((first, second, third))
    ]
    ask(store, settled[:1])
    volume.fail(apsw.FullError)
    ask(store, settled[1:2])
    volume.fail(None)
    ask(store, burst(store, 1, start=13))  # a commit that changes no digest

    ask(store, settled[2:])

    states = [state for (state,) in store.ledger.rows("SELECT state FROM deliveries ORDER BY id")]
    assert states == ["delivered", "ready", "delivered", "ready"]
    consistent(store)


def test_all_that_has_arrived_is_one_transaction(store: world.World, listener: Counting) -> None:
    answers = ask(store, burst(store, 50))

    assert listener.commits == [50]
    assert [answers[position].cursor for position in range(11, 61)] == list(range(11, 61))


def test_a_bad_request_harms_only_itself(store: world.World, listener: Counting) -> None:
    jobs = burst(store, 3)
    bad = store.observation(11, 2**63, world.seen("bad", 12, ADDED))
    jobs.insert(1, service.QueuedRequest(sender="bad", request=bad))

    answers = ask(store, jobs)

    assert answers["bad"].code is wire.Refusal.FAILED
    assert [answers[position].place for position in (11, 12, 13)] == [wire.ApplyResult.APPLIED] * 3
    assert [name for name, _, _ in store.events()] == ["o10", "o11", "o12"]
    assert (listener.commits, listener.emitted) == ([4], 3)
    consistent(store)


@pytest.mark.parametrize("count", [1, 40])
def test_a_full_volume_refuses_the_whole_batch_and_takes_it_when_there_is_room(
    store: world.World, listener: Counting, count: int
) -> None:
    store.ledger.rows("PRAGMA incremental_vacuum")
    (pages,) = store.ledger.rows("PRAGMA page_count")[0]
    jobs = burst(store, count, value="x" * 4000)
    store.ledger.run(f"PRAGMA max_page_count = {pages}")

    refused = ask(store, jobs)

    assert {reply.code for reply in refused.values()} == {wire.Refusal.FULL}
    assert len(refused) == count
    assert store.events() == []
    assert listener.commits == []
    assert not store.ledger.in_transaction

    store.ledger.run("PRAGMA max_page_count = 1000000")
    applied = ask(store, jobs)

    assert [reply.place for reply in applied.values()] == [wire.ApplyResult.APPLIED] * count
    assert len(store.events()) == count
    consistent(store)


@pytest.mark.parametrize(("error", "code"), [
    (apsw.FullError, wire.Refusal.FULL),
    (apsw.IOError, wire.Refusal.STORAGE),
])  # fmt: skip
@pytest.mark.parametrize("when", [("write", 0), ("write", 3), ("sync", 0)])
@pytest.mark.parametrize("count", [1, 20])
def test_a_volume_that_fails_at_the_commit_refuses_the_whole_batch(
    store: world.World,
    volume: Failing,
    *,
    error: type[apsw.Error],
    code: wire.Refusal,
    when: tuple[str, int],
    count: int,
) -> None:
    jobs = burst(store, count, value="x" * 3000)
    volume.fail(error, at=when[0], after=when[1])

    refused = ask(store, jobs)

    assert {reply.code for reply in refused.values()} == {code}
    volume.fail(None)
    assert store.events() == []
    applied = ask(store, jobs)
    assert [reply.place for reply in applied.values()] == [wire.ApplyResult.APPLIED] * count
    assert len(store.events()) == count
    consistent(store)


def test_what_was_refused_is_not_there_after_a_restart_either(store: world.World, volume: Failing) -> None:
    volume.fail(apsw.FullError, after=1)
    ask(store, burst(store, 5, value="x" * 3000))
    volume.fail(None)

    store.restart()

    assert store.open().cursor == 10
    assert store.events() == []


def test_a_session_begun_in_a_refused_batch_is_forgotten(store: world.World, volume: Failing) -> None:
    scope = store.scopes[0]
    opening = wire.OpenStream(scope=scope.id, label="configmap", fingerprint=scope.fingerprint, nonce="new")
    (observed,) = burst(store, 1)
    volume.fail(apsw.FullError)

    refused = ask(store, [observed, service.QueuedRequest(sender="open", request=opening)])

    volume.fail(None)
    assert [reply.code for reply in refused.values()] == [wire.Refusal.FULL] * 2
    assert ask(store, [observed])[11].place is wire.ApplyResult.APPLIED


def test_a_stream_opened_in_the_transaction_of_an_observation_continues_behind_it(store: world.World) -> None:
    scope = store.scopes[0]
    (observed,) = burst(store, 1)
    opening = wire.OpenStream(scope=scope.id, label="another", fingerprint=scope.fingerprint, nonce="new")

    answers = ask(store, [observed, service.QueuedRequest(sender="open", request=opening)])

    assert (answers["open"].cursor, answers["open"].highest) == (11, 11)
    consistent(store)
    assert store.ledger.rows("SELECT resource_version, highest, label FROM cursors")[0][:2] == (11, 11)


def test_a_position_that_expires_in_the_transaction_of_an_observation_stays_expired(store: world.World) -> None:
    scope = store.scopes[0]
    (observed,) = burst(store, 1)
    expiry = wire.Expire(scope=scope.id, session=store.opened[scope.id].session, epoch=0, prev=11)

    answers = ask(store, [observed, service.QueuedRequest(sender="expire", request=expiry)])

    assert answers["expire"].place is wire.ApplyResult.APPLIED
    assert store.ledger.rows("SELECT resource_version, highest, reason FROM cursors") == [(0, 11, "expired")]
    assert store.ledger.rows("SELECT from_version FROM gaps WHERE to_us IS NULL") == [(11,)]


def test_a_list_begun_in_a_refused_batch_has_not_begun(store: world.World, volume: Failing) -> None:
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    begin = wire.ListBegin(
        scope=scope.id,
        session=opened.session,
        epoch=0,
        prev=10,
        at=20,
        fingerprint=scope.fingerprint,
        api_version="v1",
        reason=model.GapReason.EXPIRED,
    )
    volume.fail(apsw.FullError)

    assert isinstance(store.ask(begin), wire.Refused)

    volume.fail(None)
    end = wire.ListEnd(scope=scope.id, session=opened.session, at=20, pages=0, count=0)
    assert store.ask(end).place is wire.ApplyResult.OUT_OF_POSITION
    assert store.observe(10, 11, world.seen("a", 11, ADDED)).place is wire.ApplyResult.APPLIED


def test_an_epoch_begun_in_a_refused_batch_has_not_begun(store: world.World, volume: Failing) -> None:
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    rewind = wire.Rewind(scope=scope.id, session=opened.session, epoch=0, current=1, highest=10)
    volume.fail(apsw.IOError)

    assert isinstance(store.ask(rewind), wire.Refused)

    volume.fail(None)
    assert store.observe(10, 11, world.seen("a", 11, ADDED)).epoch == 0
    consistent(store)


def test_a_settlement_that_can_not_be_committed_is_refused_and_its_claim_gets_nothing(
    store: world.World, volume: Failing
) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("b", 12, ADDED))
    a, b = store.claim().deliveries
    claim = wire.Claim(
        endpoint="default",
        session="s",
        number=2,
        want=9,
        wait_s=60,
        settlements=(world.delivered(a),),
        held=(b.id,),
    )
    volume.fail(apsw.FullError)

    refused = store.service.process(
        [service.QueuedRequest(sender="claim", request=claim, ledger=store.service.ledger_id)]
    )

    assert [(sender, reply.code) for sender, reply in refused] == [("claim", wire.Refusal.FULL)]  # type: ignore[union-attr]
    volume.fail(None)
    assert store.service.due() == []
    assert store.ask(claim) == wire.Claimed(number=2, backlog=0)
    assert store.ledger.rows("SELECT state FROM readable_deliveries ORDER BY id") == [("delivered",), ("ready",)]


def test_a_commit_that_one_request_spoils_is_done_one_by_one(store: world.World, listener: Counting) -> None:
    store.ledger.run("PRAGMA foreign_keys = 1")
    store.ledger.run("CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT")
    store.ledger.run("CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED) STRICT")
    store.ledger.run(
        "CREATE TRIGGER spoil AFTER INSERT ON events WHEN instr(new.data, '\"o11\"')"
        " BEGIN INSERT INTO child VALUES (9); END"
    )
    jobs = burst(store, 3)

    answers = ask(store, jobs)

    assert answers[11].place is wire.ApplyResult.APPLIED
    assert answers[12].code is wire.Refusal.FAILED
    assert answers[13].place is wire.ApplyResult.OUT_OF_POSITION
    assert [name for name, _, _ in store.events()] == ["o10"]
    assert store.open().cursor == 11


def test_an_unreadable_claim_is_refused_and_the_store_keeps_serving(store: world.World, volume: Failing) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED))
    store.restart()  # what is in the cache could be read
    claim = wire.Claim(endpoint="default", session="s", number=1, want=1, wait_s=60)
    volume.fail(apsw.IOError, at="read")

    answers = ask(store, [service.QueuedRequest(sender="claim", request=claim)])

    assert answers["claim"].code is wire.Refusal.STORAGE
    volume.fail(None)
    assert [
        each.name for each in ask(store, [service.QueuedRequest(sender="claim", request=claim)])["claim"].deliveries
    ] == ["a"]


# Parked claims


def parked(store: world.World, number: int = 1, *, wait_s: float = 60.0, **changes: Any) -> service.QueuedRequest:
    claim = wire.Claim(endpoint="default", session="s", number=number, want=5, wait_s=wait_s, **changes)
    return service.QueuedRequest(sender=f"claim {number}", request=claim)


def test_a_claim_is_parked_until_a_commit_makes_something_due(store: world.World) -> None:
    assert ask(store, [parked(store)]) == {}

    answers = ask(store, burst(store, 2))

    assert [each.name for each in answers["claim 1"].deliveries] == ["o10", "o11"]
    assert store.service.due() == []


def test_a_parked_claim_is_answered_when_a_retry_is_due(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED))
    (delivery,) = store.claim().deliveries
    retry = model.Outcome(
        delivery=delivery.id, generation=0, attempt=1, result=model.DeliveryResult.RETRY, code="500", delay_s=3.0
    )
    assert ask(store, [parked(store, 2, settlements=(retry,))]) == {}
    assert 2.9 < store.service.longest_wait_s(60) <= 3.0
    store.clock.advance(3)

    assert store.service.longest_wait_s(60) == 0
    ((sender, reply),) = store.service.due()
    assert sender == "claim 2"
    assert [each.id for each in reply.deliveries] == [delivery.id]  # type: ignore[union-attr]


def test_a_parked_claim_is_answered_with_nothing_when_its_time_is_over(store: world.World) -> None:
    assert ask(store, [parked(store, wait_s=0.01)]) == {}
    answers: list[service.Answer] = []
    while not answers:
        assert store.service.longest_wait_s(60) <= 0.01
        answers = store.service.due()

    assert answers == [("claim 1", wire.Claimed(number=1))]


def test_a_newer_claim_ends_the_parking_of_the_one_before(store: world.World) -> None:
    ask(store, [parked(store, 1)])

    assert ask(store, [parked(store, 2, seen=0)]) == {"claim 1": wire.Claimed(number=1)}


def test_pipelined_claims_of_one_batch_lease_each_delivery_once(store: world.World) -> None:
    answers = ask(store, [parked(store, 1), parked(store, 2, seen=0), *burst(store, 1)])
    later = ask(store, burst(store, 1, start=11))

    assert [each.name for each in answers["claim 1"].deliveries] == ["o10"]
    assert [each.name for each in later["claim 2"].deliveries] == ["o11"]


def test_a_repeated_claim_takes_the_place_of_the_parked_one(store: world.World) -> None:
    ask(store, [parked(store, 1)])
    again = parked(store, 1)

    assert ask(store, [service.QueuedRequest(sender="again", request=again.request)]) == {}
    assert list(ask(store, burst(store, 1))) == [11, "again"]


def test_a_parked_claim_is_fenced_by_a_new_session(store: world.World) -> None:
    ask(store, [parked(store, 1)])

    answers = ask(store, [service.QueuedRequest(sender="new", request=wire.Claim(
        endpoint="default", session="new", number=1, want=1, wait_s=60))])  # fmt: skip

    assert answers == {"claim 1": wire.Claimed(number=1, fenced=True)}


def test_a_store_with_nothing_parked_waits_as_long_as_it_may(store: world.World) -> None:
    assert store.service.longest_wait_s(0.5) == 0.5


# Reading


def test_a_serving_store_reports_ready(store: world.World) -> None:
    assert store.service.handle(wire.Ping()) == wire.Pong(state="ready", since_us=store.clock.us)
    assert store.service.handle(wire.Hello(process="x")) == wire.HelloReply(settings={})


def test_a_request_for_another_ledger_is_refused_and_changes_nothing(store: world.World) -> None:
    request = store.observation(10, 11, world.seen("a", 11, ADDED))

    reply = store.service.handle(request, ledger="another")

    assert isinstance(reply, wire.Refused)
    assert reply.code is wire.Refusal.REPLACED
    assert store.open().cursor == 10
    assert isinstance(store.service.handle(wire.Ping(), ledger=store.service.ledger_id), wire.Pong)


def test_an_empty_batch_does_nothing(store: world.World, listener: Counting) -> None:
    assert store.service.process([]) == []
    assert listener.commits == []


def test_a_request_with_data_of_a_ledger_must_name_that_ledger(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("b", 12, ADDED))
    a, b = store.claim().deliveries
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    claim = wire.Claim(endpoint="default", session="t", number=1, want=9, wait_s=0)
    bound: list[wire.AnyRequest] = [
        replace(claim, settlements=(world.delivered(a),)),
        replace(claim, held=(b.id,)),
        replace(claim, resume=True),
        wire.Redeliver(deliveries=((a.id, a.generation),)),
        wire.Discard(deliveries=((a.id, a.generation),), reason="r"),
        store.observation(12, 13, world.seen("c", 13, ADDED)),
        wire.Rewind(scope=scope.id, session=opened.session, epoch=0, current=1, highest=12),
        wire.Expire(scope=scope.id, session=opened.session, epoch=0, prev=12),
        wire.Prune(table=wire.Prunable.EVENTS, older_than_s=0.0, after=(1, "x")),
        wire.DiscardOld(older_than_s=0.0),
    ]
    before = store.ledger.rows("SELECT * FROM readable_deliveries"), store.ledger.rows("SELECT * FROM cursors")

    replies = {wire.verb_of(request): store.service.handle(request) for request in bound}
    others = {wire.verb_of(request): store.service.handle(request, ledger="another") for request in bound}

    assert {getattr(reply, "code", reply) for reply in replies.values()} == {wire.Refusal.MALFORMED}
    assert {getattr(reply, "code", reply) for reply in others.values()} == {wire.Refusal.REPLACED}
    assert (
        store.ledger.rows("SELECT * FROM readable_deliveries"),
        store.ledger.rows("SELECT * FROM cursors"),
    ) == before
    assert [each.id for each in store.claim(session="u").deliveries] == [a.id, b.id]


def test_only_requests_that_mean_the_same_to_every_ledger_need_not_name_one() -> None:
    reads = {
        "ping",
        "hello",
        "inspect",
        "backup",
        "report-reload",
        "holdings",
        "views",
        "find",
        "find-ids",
        "count-failed",
        *TEST_EVENTS,
        "follow",
        "explain",
    }
    same = {"open-stream", "compare-open", "adopt", "vacuum"}  # prune and claim: as long as they carry nothing
    never = {verb.name for verb in wire.VERBS.values() if not verb.bound} - {"prune", "claim"}

    assert never == reads | same


# A volume that fails again and again


class Flaky(Failing):
    """A volume of which a share of the operations of a kind fails; with `halves` a write that fails has begun."""

    def __init__(self, name: str, *, at: str, share: float, halves: bool) -> None:
        self.share, self.halves, self.failures = share, halves, 0
        self.chance = random.Random(3)
        super().__init__(name)
        self.at = at
        self.on = False

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return _FlakyFile(self, name, flags)

    def fails(self, what: str) -> bool:
        if not self.on or what != self.at:
            return False
        failing = self.chance.random() < self.share
        self.failures += failing
        return failing


class _FlakyFile(apsw.VFSFile):
    def __init__(self, volume: Flaky, name: Any, flags: list[int]) -> None:
        self._volume = volume
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        if self._volume.fails("write"):
            if self._volume.halves:
                super().xWrite(data[: len(data) // 2], offset)
            raise apsw.IOError("EIO")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        if self._volume.fails("sync"):
            raise apsw.IOError("EIO")
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  SQLite's name
        if self._volume.fails("read"):
            raise apsw.IOError("EIO")
        return super().xRead(amount, offset)


def insist(store: world.World, request: wire.AnyRequest) -> Any:
    """Repeat a request as a client does, for as long as it is refused for the volume's sake."""
    for _ in range(500):
        reply = store.ask(request)
        if not isinstance(reply, wire.Refused):
            return reply
        assert reply.code is wire.Refusal.STORAGE
    pytest.fail("refused for ever")


@pytest.mark.parametrize(
    ("at", "share", "halves"),
    [("sync", 1 / 3, False), ("write", 0.05, False), ("write", 0.05, True), ("read", 0.02, False)],
)
def test_on_a_volume_that_fails_again_and_again_nothing_is_lost(
    tmp_path: Path, at: str, share: float, halves: bool
) -> None:
    flaky = Flaky(f"flaky-{next(_names)}", at=at, share=share, halves=halves)
    store = world.World(tmp_path / "e.db", updates=True, vfs=flaky.name)
    store.open()
    store.relist(10)
    store.ledger.run("PRAGMA cache_size = 0")  # so that pages are read again
    flaky.on = True
    emitted: list[str] = []
    settlements: tuple[model.Outcome, ...] = ()

    try:
        for position in range(10, 70):
            seen = world.seen(f"o{position % 5}", position + 1, value=f"v{position}")
            insist(store, store.observation(position, position + 1, seen))
            claim = wire.Claim(endpoint="default", session="s", number=position, want=9, wait_s=0)
            taken = insist(store, replace(claim, settlements=settlements))
            emitted += [one.event_id for one in taken.deliveries]
            settlements = tuple(map(world.delivered, taken.deliveries))
        insist(store, replace(claim, number=70, want=0, settlements=settlements))
    finally:
        flaky.on = False

    assert flaky.failures > 5
    assert len(store.events()) == 60
    assert len(emitted) == len(set(emitted)) == 60
    assert store.ledger.rows("SELECT DISTINCT state FROM readable_deliveries") == [("delivered",)]
    store.restart()
    assert len(store.events()) == 60
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    store.ledger.close()
