"""A rescue goes on for each endpoint where it was: a page of any table is lost, and every receiver gets its set."""

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import apsw
import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import endpoints
from beacon.store.recovery import pages, rescued_views, salvage, verification
from tests.unit.store import world
from tests.unit.store.test_damage import pages_of, spoil
from tests.unit.store.test_several_endpoints import claimed, clean, discard_all, endpoint

OBJECTS = [f"o{number:03}" for number in range(150)]
CREATED, DELETED = model.EventType.CREATED, model.EventType.DELETED
ALL = endpoint("all")
HALF = replace(
    endpoint("half"), selects=lambda _group, _kind, _namespace, name: int(name[1:]) % 2 == 0, selection="even"
)
LATE = endpoint("late", start=endpoints.StartFrom.NOW)
GONE = endpoint("gone")
NOW = (ALL, HALF, LATE)


@dataclass
class Receiver:
    """What an endpoint holds, by name, and the types of what it got since the last look."""

    holds: dict[str, tuple[str, str]] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    got: list[tuple[str, str]] = field(default_factory=list)

    def receive(self, delivery: model.Delivery, uid: str, value: str) -> None:
        assert delivery.sequence >= self.last.get(delivery.name, 0), f"{delivery.name}: out of order"
        self.last[delivery.name] = delivery.sequence
        self.got.append((delivery.name, str(delivery.type)))
        if delivery.type is not DELETED:
            self.holds[delivery.name] = (uid, value)
        elif self.holds.get(delivery.name, ("",))[0] == uid:
            del self.holds[delivery.name]


Receivers = dict[str, Receiver]


def deliver(store: world.World, receivers: Receivers, only: range = range(10**6)) -> None:
    """Deliver what is due and of these objects; the rest stays open."""
    for name, receiver in receivers.items():
        settlements: tuple[model.Outcome, ...] = ()
        held: tuple[int, ...] = ()
        number = 1
        while True:
            session = f"s{store.nonces}"
            found = store.claim(100, *settlements, endpoint=name, session=session, number=number, held=held).deliveries
            meant = [one for one in found if int(one.name[1:]) in only]
            held += tuple(one.id for one in found if one not in meant)
            number += 1
            settlements = tuple(map(world.delivered, meant))
            for one in meant:
                (row,) = store.ledger.rows(
                    "SELECT uid, coalesce(json_extract(data, '$.resource.annotationValue'), '')"
                    " FROM readable_events WHERE sequence = ?",
                    (one.sequence,),
                )
                receiver.receive(one, *row)
            if not found:
                break
        store.claim(0, *settlements, endpoint=name, session=session, number=number, held=())
    store.nonces += 1


@dataclass
class Made:
    path: Path
    receivers: Receivers


def things(store: world.World) -> list[model.Observation]:
    """Return what exists in the cluster in the end."""
    rows = store.ledger.rows("SELECT name, resource_version, value, uid FROM readable_objects WHERE state = 'tracked'")
    return [world.seen(name, version, value=value, uid=uid) for name, version, value, uid in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, list[model.Observation]]:
    """Make a ledger with what no delivery shows: withheld, discarded and pruned states, and open deliveries."""
    path = tmp_path_factory.mktemp("whole") / "e.db"
    store = world.World(path, updates=True, endpoints_=(ALL, HALF, GONE))
    store.open()
    store.relist(10, *(world.seen(name, 10) for name in OBJECTS))
    receivers = {name: Receiver() for name in ("all", "half", "gone")}
    deliver(store, receivers, range(120))
    store.restart(endpoints_=NOW)
    store.open()
    receivers["late"] = Receiver()
    del receivers["gone"]
    store.observe(10, 11, *(world.seen(name, 11, value="second") for name in OBJECTS[:60]))
    deliver(store, receivers, range(120))
    discard_all(store, "gone")
    store.clock.advance(7200)
    clean(store, wire.Prunable.EVENTS, wire.Prunable.OBJECTS, age_s=60)
    store.observe(11, 12, *(world.seen(name, 12, value="third") for name in OBJECTS[:90:3]))
    store.observe(12, 13, *(world.seen(name, 13, model.ChangeKind.DELETED) for name in OBJECTS[1:90:9]))
    deliver(store, receivers, range(40))
    found = things(store)
    for receiver in receivers.values():
        receiver.got.clear()
    store.ledger.close()
    return Made(path, receivers), found


@pytest.fixture
def made(whole: tuple[Made, list[model.Observation]], tmp_path: Path) -> Made:
    one = whole[0]
    receivers = {name: Receiver(dict(receiver.holds), dict(receiver.last)) for name, receiver in one.receivers.items()}
    return Made(Path(shutil.copy(one.path, tmp_path / "e.db")), receivers)


def leaves(path: Path, table: str) -> list[int]:
    found = pages_of(path, table)
    return sorted({found[0], found[len(found) // 2], found[-1]})


def rescued(made: Made, *configured: endpoints.LedgerEndpoint) -> world.World:
    config = salvage.RescueConfig(scopes=(world.scope_of().id,), endpoint="all", endpoints=configured or NOW)
    salvage.rescue(made.path, config, 1_800_000_000_000_000, lambda _share: None)
    store = world.World(made.path, updates=True, endpoints_=configured or NOW)
    assert list(verification.inconsistencies(store.ledger)) == []
    return store


def go_on(store: world.World, made: Made, exists: list[model.Observation]) -> int:
    """List, compare and deliver until all is quiet; return the number of events that were written."""
    before = len(store.events())
    store.open()
    store.relist(20, *exists)
    store.clock.advance(7200)
    for _ in range(10):
        store.catch_up()
        deliver(store, made.receivers)
    assert list(verification.inconsistencies(store.ledger)) == []
    return len(store.events()) - before


def check_sets(made: Made, exists: list[model.Observation]) -> None:
    for one in NOW:
        held = made.receivers[one.name].holds
        for seen in exists:
            if one.selects("", "ConfigMap", "ns", seen.name) and not (one is LATE and seen.name not in held):
                assert held.get(seen.name) == (seen.uid, seen.value), f"{one.name}: {seen.name}"
        names = {seen.name for seen in exists}
        assert held.keys() <= names, f"{one.name} holds what is gone"


def open_ones(path: Path) -> dict[str, list[tuple[str, str]]]:
    connection = apsw.Connection(os.fspath(path))
    rows = connection.execute(
        "SELECT p.name, k.name, e.type FROM deliveries d JOIN events e ON e.sequence = d.id >> 12 JOIN endpoints p"
        " ON p.id = d.endpoint JOIN order_keys k ON k.id = d.key WHERE d.state IN ('queued', 'ready') ORDER BY d.id"
    ).fetchall()
    connection.close()
    found: dict[str, list[tuple[str, str]]] = {one.name: [] for one in NOW}
    for endpoint_, name, type_ in rows:
        found[str(endpoint_)].append((str(name), str(type_)))
    return found


@pytest.mark.parametrize(
    "table",
    ["meta", "cursors", "counts", "digests", "endpoints", "sqlite_autoindex_endpoints_1", "order_keys",
     "sqlite_autoindex_order_keys_1", "objects", "attempts", "gaps", "actions", "suspects", "catch_ups", "clock",
     "events_by_id", "events_of_key", "sqlite_schema"],
)  # fmt: skip
def test_without_a_page_of_another_table_each_endpoint_gets_what_was_open_and_nothing_else(
    whole: tuple[Made, list[model.Observation]], made: Made, table: str
) -> None:
    expected = open_ones(made.path)
    spoil(made.path, *pages_of(made.path, table))
    store = rescued(made)

    written = go_on(store, made, whole[1])

    assert written == 0, "nothing is sent again"
    for one in NOW:
        assert sorted(made.receivers[one.name].got) == sorted(expected[one.name])
    check_sets(made, whole[1])
    store.ledger.close()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("table", ["views", "deliveries", "events"])
def test_without_a_page_of_what_was_sent_each_receiver_still_gets_its_set(
    whole: tuple[Made, list[model.Observation]], made: Made, table: str, place: int
) -> None:
    found = leaves(made.path, table)
    spoil(made.path, found[min(place, len(found) - 1)])
    store = rescued(made)

    go_on(store, made, whole[1])

    check_sets(made, whole[1])
    store.ledger.close()


def test_lost_deliveries_are_sent_again_only_if_they_were_not_accepted(
    whole: tuple[Made, list[model.Observation]], made: Made
) -> None:
    expected = open_ones(made.path)
    spoil(made.path, *pages_of(made.path, "deliveries"), *pages_of(made.path, "deliveries", "internal"))
    store = rescued(made)

    written = go_on(store, made, whole[1])

    assert written == 0
    for one in NOW:
        assert sorted(made.receivers[one.name].got) == sorted(expected[one.name])
    store.ledger.close()


def test_what_start_now_left_out_and_what_was_discarded_stay_so(made: Made) -> None:
    sql = "SELECT id, written, written_uid, written_value, accepted, accepted_uid, accepted_value FROM views"
    connection = apsw.Connection(os.fspath(made.path))
    before = connection.execute(sql).fetchall()
    connection.close()
    spoil(made.path, *pages_of(made.path, "meta"))

    store = rescued(made)

    assert store.ledger.rows(sql) == before
    store.ledger.close()


def test_an_object_whose_row_is_lost_is_unmanaged_until_it_is_listed(made: Made) -> None:
    spoil(made.path, *pages_of(made.path, "objects"), *pages_of(made.path, "objects", "internal"))
    store = rescued(made)
    assert store.ledger.rows("SELECT DISTINCT state FROM objects") == [("unmanaged",)]

    store.open()
    store.relist(20)  # all of them are gone
    store.catch_up()
    deliver(store, made.receivers)

    assert store.ledger.rows("SELECT DISTINCT state FROM objects") == [("gone",)]
    assert all(not receiver.holds for receiver in made.receivers.values())
    store.ledger.close()


def test_objects_that_are_unmanaged_stay_so_in_a_rescue(made: Made) -> None:
    narrow = world.scope_of(values=["none"])
    store = world.World(made.path, narrow, updates=True, endpoints_=NOW)
    store.open(narrow)
    store.relist(20, *(world.seen(name, 14, verdict=model.RuleVerdict.ANNOTATION) for name in OBJECTS[90:]), end=False)
    count = "SELECT state, count(*) FROM objects WHERE state IN ('tracked', 'unmanaged') GROUP BY state ORDER BY 1"
    before = store.ledger.rows(count)
    assert ("unmanaged", 60) in before
    store.ledger.close()
    spoil(made.path, *pages_of(made.path, "meta"))

    store = rescued(made)

    assert store.ledger.rows(count) == before
    store.ledger.close()


def small(path: Path, *configured: endpoints.LedgerEndpoint) -> world.World:
    store = world.World(path, updates=True, endpoints_=configured or (ALL,))
    store.open()
    store.relist(10, world.seen("o000", 5))
    return store


def again(store: world.World, *configured: endpoints.LedgerEndpoint, sql: str = "") -> world.World:
    """Rescue a ledger from which rows were removed as if they had been on a damaged page."""
    if sql:
        store.ledger.run(sql)
    store.ledger.close()
    return rescued(Made(store.path, {}), *(configured or store.endpoints))


def test_a_last_event_that_is_lost_is_caught_up(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    (first,) = claimed(store, "all")
    store.claim(0, world.delivered(first), endpoint="all")
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    store = again(store, sql="DELETE FROM events WHERE sequence = 2")
    store.open()
    store.relist(20, world.seen("o000", 11, value="other"))
    store.catch_up()

    assert [(one.type, one.previous) for one in claimed(store, "all")] == [("updated", 2)]
    store.ledger.close()


def test_an_object_whose_view_is_lost_without_a_delivery_is_caught_up_as_created(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.restart(endpoints_=(ALL, LATE))
    store = again(store, sql="DELETE FROM views")
    store.open()
    store.relist(20, world.seen("o000", 5))
    store.catch_up()

    assert [(one.type, one.previous) for one in claimed(store, "late")] == [("created", 0)]
    assert claimed(store, "all") == [], "its view is computed from its delivery"
    store.ledger.close()


def test_events_from_before_the_name_appeared_are_not_made_for_it(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    store.restart(endpoints_=(ALL, LATE))
    store.open()
    store.observe(11, 12, world.seen("o001", 12, model.ChangeKind.ADDED))

    store = again(store, sql="DELETE FROM deliveries")

    assert [(one.name, one.type) for one in claimed(store, "late")] == [("o001", "created")]
    assert [(one.name, one.type) for one in claimed(store, "all")] == [("o000", "created"), ("o001", "created")]
    store.ledger.close()


def test_an_event_that_the_chain_shows_was_not_for_an_endpoint_is_not_made_for_it(tmp_path: Path) -> None:
    """The name was away at event 2; its return wrote event 3, whose `previous` is 1."""
    store = small(tmp_path / "e.db", ALL, HALF)
    store.restart(endpoints_=(ALL,))
    store.open()
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    store.restart(endpoints_=(ALL, HALF))
    store.open()
    store.catch_up()

    store = again(store, sql="DELETE FROM deliveries WHERE id = 1 << 12 | 1")

    rows = store.ledger.rows("SELECT id >> 12, previous FROM deliveries WHERE endpoint = 2 ORDER BY id")
    assert rows == [(1, 0), (3, 1)]
    store.ledger.close()


def test_an_event_that_was_never_written_for_an_endpoint_is_not_made_for_it(tmp_path: Path) -> None:
    """The name was away at event 2, and has not been compared yet."""
    store = small(tmp_path / "e.db", ALL, HALF)
    store.restart(endpoints_=(ALL,))
    store.open()
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    store.restart(endpoints_=(ALL, HALF))

    store = again(store, sql="DELETE FROM deliveries")

    rows = store.ledger.rows("SELECT id >> 12, endpoint FROM deliveries ORDER BY id")
    assert rows == [(1, 1), (1, 2), (2, 1)]
    store.ledger.close()


def test_a_delivery_that_is_made_again_names_what_was_accepted_before(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.observe(10, 11, world.seen("o000", 11, value="other"))

    store = again(store, sql="DELETE FROM deliveries")

    assert store.ledger.rows("SELECT id >> 12, previous FROM deliveries") == [(2, 1)]
    store.ledger.close()


def test_what_may_have_been_sent_precedes_an_earlier_delivery_that_is_made_again(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    (first,) = claimed(store, "all")
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint="all")
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    (second,) = claimed(store, "all")  # its request is made, and its answer is lost with both processes
    store.ask(wire.Redeliver(deliveries=((first.id, 0),)))

    store = again(store)
    (sent,) = claimed(store, "all", session="new", number=1)
    assert (sent.id, sent.type) == (second.id, "updated")
    assert claimed(store, "all", world.delivered(sent), session="new", number=2) == []

    assert store.ledger.rows("SELECT state FROM deliveries WHERE id = ?", (first.id,)) == [("failed",)]
    store.ledger.close()


@pytest.mark.parametrize("lost", ["deliveries", "events"])
def test_a_delivery_made_again_is_overtaken_by_a_lost_one_that_was_accepted(tmp_path: Path, lost: str) -> None:
    store = small(tmp_path / "e.db")
    (first,) = claimed(store, "all")
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint="all")
    store.ask(wire.Redeliver(deliveries=((first.id, 0),)))
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    column = "id = 2 << 12 | 1" if lost == "deliveries" else "sequence = 2"
    store.ledger.run("UPDATE views SET accepted = 2, accepted_uid = written_uid, accepted_value = written_value")

    store = again(store, sql=f"DELETE FROM {lost} WHERE {column}")

    assert claimed(store, "all", session="new", number=1) == []
    assert store.ledger.rows("SELECT state FROM deliveries WHERE id = ?", (first.id,)) == [("failed",)]
    store.ledger.close()


def prune(store: world.World, *tables: wire.Prunable) -> None:
    """Clean as often as it removes anything."""
    store.clock.advance(120)
    for _ in range(3):
        clean(store, *(tables or (wire.Prunable.OBJECTS, wire.Prunable.EVENTS)), age_s=60)


def fail_the_first_and_deliver_the_second(store: world.World, name: str) -> int:
    """Return the id of the failed delivery."""
    (first,) = claimed(store, name)
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint=name)
    (second,) = claimed(store, name)
    store.claim(0, world.delivered(second), endpoint=name)
    return first.id


def test_what_an_endpoint_got_last_is_known_without_its_view_while_an_earlier_delivery_stays(tmp_path: Path) -> None:
    """The name is removed after event 2, so that event 2 is not the latest of the object."""
    store = small(tmp_path / "e.db", ALL, HALF)
    store.observe(10, 11, world.seen("o000", 11, value="second"))
    failed = fail_the_first_and_deliver_the_second(store, "half")
    for _ in range(2):
        store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.restart(endpoints_=(ALL,))
    store.open()
    store.observe(11, 12, world.seen("o000", 12, value="third"))
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    prune(store)

    store = again(store, ALL, HALF, sql="DELETE FROM views WHERE id & 4095 = 2")
    (refused,) = store.ask(wire.Redeliver(deliveries=((failed, 0),))).refused
    store.open()
    store.relist(20, world.seen("o000", 12, value="third"))
    store.catch_up()

    assert "later event" in refused.why
    assert [(one.type, one.previous) for one in claimed(store, "half")] == [("updated", 2)]
    store.ask(wire.Discard(deliveries=((failed, 0),), reason="over"))
    store.claim(0, *map(world.delivered, claimed(store, "half", session="s2", number=1)),
                endpoint="half", session="s2", number=2)  # fmt: skip
    prune(store)
    assert [event[2] for event in store.events()] == ["configuration"], "only the latest of the object"
    store.ledger.close()


def test_the_next_object_of_a_name_is_not_forgotten_before_the_one_before(tmp_path: Path) -> None:
    """An event of the first object was delivered again recently, so that it stays."""
    store = small(tmp_path / "e.db")
    (first,) = claimed(store, "all")
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint="all")
    store.ask(wire.Redeliver(deliveries=((first.id, 0),)))
    (first,) = claimed(store, "all")
    store.claim(0, world.delivered(first), endpoint="all")
    store.observe(10, 11, world.seen("o000", 11, model.ChangeKind.DELETED))
    store.observe(11, 12, world.seen("o000", 12, model.ChangeKind.ADDED, uid="second"))
    store.observe(12, 13, world.seen("o000", 13, model.ChangeKind.DELETED, uid="second"))
    for _ in range(3):
        store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.clock.advance(120)
    store.ledger.run("UPDATE deliveries SET settled_us = ? WHERE id = ?", (store.clock.us, first.id))
    for _ in range(3):
        clean(store, wire.Prunable.OBJECTS, wire.Prunable.EVENTS, age_s=60)

    store = again(store, sql="DELETE FROM views")

    assert store.ledger.rows("SELECT written, accepted FROM views") == [(4, 4)]
    store.ledger.close()


def test_no_object_of_an_earlier_cluster_is_deleted_after_a_rescue(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db", ALL, HALF)
    for name in ("all", "half"):
        store.claim(0, *map(world.delivered, claimed(store, name)), endpoint=name)
    store.ask(wire.Adopt(cluster="new", force=True))
    store = again(store, sql="DELETE FROM views")
    store.open(cluster="new")
    store.relist(3, world.seen("o000", 2, uid="another"))
    store.catch_up()

    assert [event[:2] for event in store.events()] == [("o000", "created"), ("o000", "created")]
    store.ledger.close()


def test_a_view_from_an_older_page_is_replaced_by_what_the_deliveries_show(tmp_path: Path) -> None:
    store = small(tmp_path / "e.db")
    old = store.ledger.rows("SELECT * FROM views")[0]
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.observe(10, 11, world.seen("o000", 11, value="other"))
    new = store.ledger.rows("SELECT * FROM views")
    store.ledger.run("UPDATE views SET written = ?, written_value = ?, accepted = ?, accepted_uid = ?,"
                     " accepted_value = ?, open = ?, ready = ?", (old[1], *old[3:]))  # fmt: skip

    store = again(store)

    assert store.ledger.rows("SELECT * FROM views") == new
    store.ledger.close()


@pytest.mark.parametrize(
    "change",
    [
        {"written": -1},
        {"written": 1, "accepted": 2},
        {"id": 7},
        {"written_uid": None},
        {"accepted_value": None},
        {"written_value": 3},
        {"written": 2**60},
        {"accepted": None},
    ],
)
def test_a_view_that_contradicts_itself_is_not_copied(change: dict[str, pages.Value]) -> None:
    sound: dict[str, pages.Value] = {
        "id": 1 << 12 | 1,
        "written": 3,
        "written_uid": "u",
        "written_value": "v",
        "accepted": 2,
        "accepted_uid": b"0" * 16,
        "accepted_value": "",
    }
    assert rescued_views.is_sane(sound)

    assert not rescued_views.is_sane(sound | change)
