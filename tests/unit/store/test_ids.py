"""Completing the ids of events and the UIDs of objects from their beginnings."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.store import delivery_search
from tests.unit.store import world


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    made = world.World(tmp_path / "e.db")
    made.open()
    made.relist(10, *(world.seen(f"o{number}", 5, uid=f"abc{number:02}") for number in range(12)))
    return made


def find(store: world.World, prefix: str, **kinds: bool) -> wire.FoundIds:
    reply = store.ask(wire.FindIds(prefix=prefix, **kinds))
    assert isinstance(reply, wire.FoundIds)
    return reply


def test_an_unambiguous_beginning_finds_one_id(store: world.World) -> None:
    event = store.ledger.rows("SELECT id FROM events ORDER BY sequence")[3][0]

    assert find(store, event[:8]) == wire.FoundIds(ids=(event,), more=False)
    assert find(store, event[:8], events=False).ids == ()
    assert find(store, "abc03") == wire.FoundIds(ids=("abc03",), more=False)
    assert find(store, "abc03", objects=False).ids == ()


def test_only_the_first_of_many_are_returned(store: world.World) -> None:
    found = find(store, "abc")

    assert found.ids == tuple(f"abc{number:02}" for number in range(10))
    assert found.more


@pytest.mark.parametrize("prefix", ["%", "_bc", "abc1%", "ABC", "'", "\U0010ffff"])
def test_a_prefix_is_no_pattern(store: world.World, prefix: str) -> None:
    assert find(store, prefix) == wire.FoundIds(ids=(), more=False)


@pytest.mark.parametrize("sql", [delivery_search._EVENT_IDS, delivery_search._UIDS])
def test_no_table_is_scanned(store: world.World, sql: str) -> None:
    plan = [str(row[3]) for row in store.ledger.rows(f"EXPLAIN QUERY PLAN {sql}", ("a", "b", 1))]

    assert all(step.startswith("SEARCH") for step in plan), plan
