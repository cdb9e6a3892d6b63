"""What the cleaner may take, clause by clause; what the promises need stays, whatever was done before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.verbs import pruning
from tests.unit.store import world
from tests.unit.store.test_statistics import Work, check

HOUR_S = 3600.0
DELETED = model.ChangeKind.DELETED
PERIODS = dict.fromkeys(wire.Prunable, HOUR_S)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    yield opened
    opened.ledger.close()


def prune(store: world.World, *, survey: bool = False, age_s: float = HOUR_S, repeat: bool = False) -> dict[str, int]:
    """Walk through every table as the cleaner does; gives the rows that went."""
    rows: dict[str, int] = {}
    for table in wire.Prunable:
        after, more = (0, ""), True
        while more:
            request = wire.Prune(table=table, older_than_s=age_s, after=after, survey=survey)
            reply = store.ask(request)
            assert isinstance(reply, wire.Pruned), reply
            for name, number in reply.rows.items():
                rows[name] = rows.get(name, 0) + number
            if repeat:
                store.ask(request)
            after, more = reply.after, reply.more
    return rows


def names(store: world.World) -> list[str]:
    return [name for (name,) in store.ledger.rows("SELECT name FROM readable_objects ORDER BY name")]


def events(store: world.World) -> list[tuple[int, int]]:
    return store.ledger.rows("SELECT sequence, previous FROM readable_deliveries ORDER BY sequence")


def come_and_go(store: world.World, *, at: int = 11, name: str = "a") -> None:
    store.observe(at - 1, at, world.seen(name, at, model.ChangeKind.ADDED, uid=f"{name}-{at}"))
    store.observe(at, at + 1, world.seen(name, at + 1, DELETED, uid=f"{name}-{at}"))


def refuse(delivery: model.Delivery) -> model.Outcome:
    return replace(world.delivered(delivery), result=model.DeliveryResult.FAILED, code="400", status=400)


def test_a_gone_object_is_removed_with_all_its_delivered_events(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)

    assert prune(store, survey=True) == {"objects": 1, "gaps": 1}
    assert prune(store) == {"objects": 1, "events": 2, "deliveries": 2, "attempts": 2, "gaps": 1}
    for table in ("objects", "events", "deliveries", "attempts", "gaps"):
        assert store.ledger.rows(f"SELECT * FROM {table}") == []
    assert prune(store) == {}


def test_what_is_younger_than_the_period_stays(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S - 1)

    assert prune(store).keys() <= {"attempts"}
    assert (names(store), len(events(store))) == (["a"], 2)


def test_the_period_begins_when_it_was_settled(store: world.World) -> None:
    come_and_go(store)
    store.clock.advance(HOUR_S + 1)
    store.deliver_all()

    assert "objects" not in prune(store)
    assert names(store) == ["a"]


def test_what_is_open_stays(store: world.World) -> None:
    come_and_go(store)
    store.clock.advance(HOUR_S + 1)

    prune(store)

    assert (names(store), len(events(store))) == (["a"], 2)


def test_a_failed_delivery_is_kept_forever_with_its_object(store: world.World) -> None:
    come_and_go(store)
    (first,) = store.claim().deliveries
    (second,) = store.claim(100, refuse(first)).deliveries
    store.claim(0, world.delivered(second))
    store.clock.advance(1000 * HOUR_S)

    prune(store)

    assert names(store) == ["a"]
    assert store.ledger.rows("SELECT state FROM readable_deliveries ORDER BY id") == [("failed",), ("delivered",)]


def test_a_failed_delivery_of_an_existing_object_is_kept(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.claim(100, *map(refuse, store.claim().deliveries))
    store.observe(11, 12, world.seen("a", 12, value="other"))
    store.deliver_all()
    store.clock.advance(1000 * HOUR_S)

    prune(store)

    assert events(store) == [(1, 0), (2, 1)]


def test_a_discarded_delivery_goes_like_a_delivered_one(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.ledger.run("UPDATE deliveries SET state = 'discarded' WHERE id >> 12 = 1")
    store.clock.advance(HOUR_S + 1)

    assert prune(store)["deliveries"] == 2


@pytest.mark.parametrize("state", ["tracked", "released", "unmanaged"])
def test_the_latest_event_of_what_is_still_there_stays_and_keeps_its_previous(store: world.World, state: str) -> None:
    for at in range(11, 16):
        store.observe(at - 1, at, world.seen("a", at, value=f"v{at}"))
    store.deliver_all()
    store.ledger.run("UPDATE objects SET state = ?", (state,))
    store.clock.advance(HOUR_S + 1)

    prune(store)

    assert (names(store), events(store)) == (["a"], [(5, 4)])


def test_an_event_after_what_went_names_the_latest_as_its_previous(store: world.World) -> None:
    for at in range(11, 16):
        store.observe(at - 1, at, world.seen("a", at, value=f"v{at}"))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    prune(store)

    store.observe(15, 16, world.seen("a", 16, value="new"))

    assert events(store) == [(5, 4), (6, 5)]


def test_events_of_a_name_that_passed_on_go_with_the_object_that_had_them(store: world.World) -> None:
    come_and_go(store)
    store.observe(12, 13, world.seen("a", 13, model.ChangeKind.ADDED, uid="second"))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)

    prune(store)

    assert events(store) == [(3, 2)]
    assert store.ledger.rows("SELECT uid FROM readable_objects") == [("second",)]


def test_what_the_cursor_has_not_passed_stays(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.ledger.run("UPDATE cursors SET resource_version = 11")
    store.clock.advance(HOUR_S + 1)

    assert "objects" not in prune(store)
    store.ledger.run("UPDATE cursors SET resource_version = 12")
    assert prune(store)["objects"] == 1


def test_an_event_that_the_cursor_has_not_passed_stays(store: world.World) -> None:
    for at in range(11, 14):
        store.observe(at - 1, at, world.seen("a", at, value=f"v{at}"))
    store.deliver_all()
    store.ledger.run("UPDATE cursors SET resource_version = 11")
    store.clock.advance(HOUR_S + 1)

    prune(store)

    assert [sequence for sequence, _ in events(store)] == [2, 3]


def test_nothing_goes_while_the_scope_has_no_cursor(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    store.open()
    store.ask(wire.Expire(scope=store.scopes[0].id, session=store.opened[store.scopes[0].id].session, epoch=0, prev=12))

    assert "objects" not in prune(store)


def test_what_lies_in_an_earlier_epoch_has_been_passed(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.ledger.run("UPDATE cursors SET epoch = 1, resource_version = 5")
    store.clock.advance(HOUR_S + 1)

    assert prune(store)["objects"] == 1
    assert store.ledger.rows("SELECT pruned FROM cursors") == [(0,)]


def test_the_highest_version_that_went_is_recorded_with_it(store: world.World) -> None:
    come_and_go(store)
    come_and_go(store, at=13, name="b")
    store.deliver_all()
    assert store.ledger.rows("SELECT pruned FROM cursors") == [(0,)]
    store.clock.advance(HOUR_S + 1)

    prune(store)

    assert store.ledger.rows("SELECT pruned FROM cursors") == [(14,)]


def test_a_new_epoch_forgets_what_was_pruned_in_the_one_before(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    prune(store)
    opened = store.open()

    store.ask(wire.Rewind(scope=store.scopes[0].id, session=opened.session, epoch=0, current=3, highest=opened.highest))

    assert store.ledger.rows("SELECT epoch, pruned FROM cursors") == [(1, 0)]


def test_only_gaps_that_were_closed_go(store: world.World) -> None:
    store.open()
    store.ask(wire.Expire(scope=store.scopes[0].id, session=store.opened[store.scopes[0].id].session, epoch=0, prev=10))
    store.clock.advance(1000 * HOUR_S)

    assert prune(store) == {"gaps": 1}
    assert store.ledger.rows("SELECT reason FROM gaps") == [("expired",)]


def test_the_last_request_of_an_open_delivery_stays_on_record(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    settled: tuple[model.Outcome, ...] = ()
    for _ in range(3):
        (delivery,) = store.claim(1, *settled).deliveries
        settled = (replace(world.delivered(delivery), result=model.DeliveryResult.RETRY, counted=False),)
    store.claim(0, *settled)
    store.clock.advance(HOUR_S + 1)

    assert prune(store)["attempts"] == 2
    store.claim(0, replace(settled[0], result=model.DeliveryResult.CHARGED))
    assert store.ledger.rows("SELECT attempts, requests FROM readable_deliveries") == [(1, 3)]


def test_requests_that_come_twice_take_no_more_than_may_go(store: world.World) -> None:
    for at in range(11, 311):
        store.observe(at - 1, at, world.seen(f"o{at % 7}", at, value=f"v{at}"))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)

    prune(store, repeat=True)

    assert [sequence for sequence, _ in events(store)] == list(range(294, 301))
    assert store.ledger.rows("SELECT count(*) FROM readable_deliveries") == [(7,)]
    assert store.ledger.rows("SELECT count(*) FROM attempts") == [(0,)]


@pytest.mark.slow
def test_one_request_is_bounded_and_returns_the_next_position(store: world.World) -> None:
    versions = range(11, 2011)
    store.observe(10, 2010, *(world.seen("a", at, value=f"v{at}") for at in versions))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)

    first = store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=HOUR_S))

    assert first.more
    assert 25 <= first.rows["events"] <= 250
    assert first.after == (first.rows["events"], "")


@pytest.mark.slow
def test_rows_that_are_too_young_are_not_examined(store: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_BUDGET_S", 600.0)  # on a busy machine the first step alone may take longer
    store.observe(10, 12, *(world.seen("a", at, value=f"v{at}") for at in range(11, 13)))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    store.observe(12, 2012, *(world.seen("a", at, value=f"v{at}") for at in range(13, 2013)))
    store.deliver_all()
    store.ledger.run(
        "INSERT INTO attempts SELECT id, 0, 0, settled_us, 0, '503', 503, '', 1, '' FROM deliveries ORDER BY id"
    )

    for table, went in ((wire.Prunable.ATTEMPTS, {"attempts": 2}), (wire.Prunable.EVENTS, {"events": 2})):
        first = store.ask(wire.Prune(table=table, older_than_s=HOUR_S))
        assert first.rows.items() >= went.items()
        assert not first.more


@pytest.mark.slow
def test_a_gone_object_with_many_events_goes_in_several_requests(store: world.World) -> None:
    store.observe(10, 1510, *(world.seen("a", at, value=f"v{at}") for at in range(11, 1511)))
    store.observe(1510, 1511, world.seen("a", 1511, DELETED))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)

    first = store.ask(wire.Prune(table=wire.Prunable.OBJECTS, older_than_s=HOUR_S))

    assert (first.more, first.after, names(store)) == (True, (0, ""), ["a"])
    prune(store)
    assert (names(store), events(store)) == ([], [])


@pytest.mark.slow
def test_the_file_becomes_smaller(store: world.World) -> None:
    for start in range(11, 4011, 500):
        seen = [world.seen(f"o{at}", at, model.ChangeKind.ADDED, value="v" * 500) for at in range(start, start + 500)]
        store.observe(start - 1, start + 499, *seen)
    store.relist(4011)
    store.open()
    store.relist(4012)
    store.deliver_all()
    store.ledger.write_back(shrink=True)
    full = store.path.stat().st_size
    store.clock.advance(HOUR_S + 1)

    prune(store)
    steps = 1
    while store.ask(wire.Vacuum()).more:
        steps += 1

    assert steps > 2
    assert store.path.stat().st_size < full / 20
    assert store.path.with_name("e.db-wal").stat().st_size == 0
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_an_object_that_lives_long_does_not_grow_for_ever(store: world.World) -> None:
    sizes = []
    at = 10
    for _ in range(6):
        store.observe(at, at + 800, *(world.seen("a", at + n, value=f"v{n}" * 50) for n in range(1, 801)))
        at += 800
        store.deliver_all()
        store.clock.advance(HOUR_S + 1)
        prune(store)
        while store.ask(wire.Vacuum()).more:
            pass
        sizes.append(store.path.stat().st_size)

    assert sizes[-1] == sizes[1]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_done_what_the_promises_need_stays(tmp_path: Path, seed: int) -> None:
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10)
    work = Work(store, seed)
    for _ in range(12):
        for _ in range(25):
            work.change() if work.chance.random() < 0.5 else work.deliver()
            store.clock.advance(work.chance.choice([1, 60, 400]))
        if work.chance.random() < 0.3:
            store.clock.jump(work.chance.choice([-3600, 3600]))
        behind = work.chance.randrange(3)
        store.ledger.run("UPDATE cursors SET resource_version = resource_version - ?", (behind,))
        needed = what_is_needed(store)

        prune(store, age_s=work.chance.choice([0, 60, HOUR_S]))

        assert needed <= what_is_needed(store)
        assert store.ledger.rows("PRAGMA foreign_key_check") == []
        store.ledger.run("UPDATE cursors SET resource_version = resource_version + ?", (behind,))
        check(store, work)
    store.ledger.close()


def what_is_needed(store: world.World) -> set[tuple[object, ...]]:
    """Compute in the plainest way which rows must stay: (kind of row, key)."""
    (cursor,) = store.ledger.row("SELECT resource_version FROM cursors") or (0,)
    objects = {row[0]: row for row in store.ledger.rows("SELECT uid, state, resource_version FROM readable_objects")}
    needed: set[tuple[object, ...]] = {
        ("object", uid) for uid, state, version in objects.values() if state != "gone" or version > cursor
    }
    latest: dict[str, int] = {}
    for sequence, uid, state in store.ledger.rows(
        "SELECT sequence, uid, d.state FROM readable_events JOIN readable_deliveries d USING (sequence)"
        " ORDER BY sequence"
    ):
        latest[uid] = sequence
        if state not in ("delivered", "discarded"):
            needed |= {("event", sequence), ("delivery", sequence), ("object", uid)}
    needed |= {("event", sequence) for uid, sequence in latest.items() if ("object", uid) in needed}
    there = {("object", uid) for uid in objects}
    there |= {("event", sequence) for (sequence,) in store.ledger.rows("SELECT sequence FROM readable_events")}
    there |= {("delivery", sequence) for (sequence,) in store.ledger.rows("SELECT sequence FROM readable_deliveries")}
    return needed & there


def test_a_recently_deleted_object_is_kept_however_old_its_events_are(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, verdict=model.RuleVerdict.LABEL))
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    store.observe(12, 13, world.seen("a", 13, DELETED))

    assert "objects" not in prune(store)
    assert names(store) == ["a"]


def test_nothing_of_an_earlier_epoch_goes_before_the_scope_was_listed_in_the_new_one(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.ledger.run("UPDATE cursors SET epoch = 1, resource_version = 0")
    store.clock.advance(HOUR_S + 1)

    assert "objects" not in prune(store)


def test_what_waits_of_a_name_s_next_object_does_not_keep_the_one_before(store: world.World) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    store.observe(12, 13, world.seen("a", 13, model.ChangeKind.ADDED, uid="second"))

    assert prune(store)["objects"] == 1
    assert events(store) == [(3, 2)]
