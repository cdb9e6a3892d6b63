"""Rows that are written together: no statement misses them, and a rollback drops them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import database
from beacon.store.server import service
from tests.unit.store import world

_INSERT = "INSERT INTO t (id, x) VALUES (?, ?)"
_LAST = "SELECT coalesce(max(id), 0) FROM t"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[database.Database]:
    made = database.Database(tmp_path / "e.db")
    made.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT NOT NULL) STRICT")
    yield made
    made.close()


def insert(ledger: database.Database, x: str | None) -> None:
    ledger.later(_INSERT, (ledger.next_number("t", _LAST), x), x)


def changed(tmp_path: Path, *seen: model.Observation) -> world.World:
    """Return a store that has applied observations, each with a request of its own, in one transaction."""
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10)
    store.open()
    at = 10
    requests = []
    for one in seen:
        requests.append(store.observation(at, one.resource_version, one))
        at = one.resource_version
    process(store, *requests)
    return store


def process(store: world.World, *requests: wire.AnyRequest) -> None:
    ledger = store.service.ledger_id
    answers = store.service.process(
        [service.QueuedRequest(sender=number, request=one, ledger=ledger) for number, one in enumerate(requests)]
    )
    assert len(answers) == len(requests)
    assert not any(isinstance(reply, wire.Refused) for _, reply in answers)


def test_a_read_sees_all_rows_in_their_order_and_one_beside_them_sees_none(ledger: database.Database) -> None:
    ledger.begin()
    insert(ledger, "a")
    insert(ledger, "b")

    assert ledger.rows_beside("SELECT x FROM t") == []
    assert ledger.is_touched("a")
    assert ledger.rows("SELECT id, x FROM t") == [(1, "a"), (2, "b")]
    assert not ledger.is_touched("a")


def test_a_commit_writes_the_rows(ledger: database.Database) -> None:
    ledger.begin()
    insert(ledger, "a")
    ledger.commit()
    ledger.rollback()

    assert ledger.rows("SELECT x FROM t") == [("a",)]


def test_a_rollback_drops_rows_marks_and_numbers(ledger: database.Database) -> None:
    ledger.begin()
    insert(ledger, "a")
    ledger.rollback()

    assert not ledger.is_touched("a")
    assert ledger.rows("SELECT x FROM t") == []
    insert(ledger, "b")
    assert ledger.rows("SELECT id, x FROM t") == [(1, "b")]


def test_a_request_that_fails_drops_only_its_own_rows(ledger: database.Database) -> None:
    ledger.begin()
    insert(ledger, "a")
    with pytest.raises(database.RequestError):
        ledger.savepoint(lambda: insert(ledger, None))
    ledger.savepoint(lambda: insert(ledger, "b"))
    ledger.commit()

    assert ledger.rows("SELECT id, x FROM t") == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("objects", [1, 5])
def test_one_transaction_settles_and_changes_the_same_objects_again(tmp_path: Path, objects: int) -> None:
    names = [f"object-{number}" for number in range(objects)]
    store = changed(tmp_path, *(world.seen(name, 11 + at, value="1") for at, name in enumerate(names)))
    sent = store.claim(10).deliveries
    at = 10 + objects
    change, change_again = (
        store.observation(before, after, *(world.seen(name, after, value=str(after)) for name in names))
        for before, after in ((at, 30), (30, 40))
    )

    process(store, change, settling(*map(world.delivered, sent)), change_again)

    rows = store.ledger.rows("SELECT state, previous FROM deliveries ORDER BY id")
    assert [state for state, _ in rows] == ["delivered"] * objects + ["ready"] * objects + ["queued"] * objects
    earlier = [one.sequence for one in sent]
    assert [previous for _, previous in rows] == [0] * objects + earlier + [one + objects for one in earlier]
    store.ledger.close()


def test_settlements_that_are_repeated_in_one_claim_are_applied_once(tmp_path: Path) -> None:
    store = changed(tmp_path, *(world.seen(f"object-{at}", 11 + at) for at in range(5)))
    done = tuple(map(world.delivered, store.claim(10).deliveries))

    process(store, settling(*done, *done))

    assert store.ledger.rows("SELECT DISTINCT state, attempts, requests FROM deliveries") == [("delivered", 1, 1)]
    store.ledger.close()


def test_one_transaction_has_two_objects_of_one_name(tmp_path: Path) -> None:
    store = changed(
        tmp_path,
        world.seen("a", 11, uid="first"),
        world.seen("a", 12, model.ChangeKind.DELETED, uid="first"),
    )

    observed = store.observation(12, 13, world.seen("a", 13, uid="second"))
    process(store, observed, store.observation(13, 14, world.seen("a", 14, uid="first")))

    assert [what for _, what, _ in store.events()] == ["created", "deleted", "created", "deleted", "created"]
    assert store.ledger.rows("SELECT previous FROM deliveries ORDER BY id") == [(0,), (1,), (2,), (3,), (4,)]
    store.ledger.close()


def settling(*done: model.Outcome) -> wire.Claim:
    return wire.Claim(endpoint="default", session="s", number=99, want=0, wait_s=0.0, settlements=done)
