"""Completing the ids of events and the UIDs of objects from their beginnings."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.store.verbs import delivery_search
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
    event = store.ledger.rows("SELECT id FROM readable_events ORDER BY sequence")[3][0]

    assert find(store, event[:8]) == wire.FoundIds(ids=(event,), more=False)
    assert find(store, event[:8], events=False).ids == ()
    assert find(store, "abc03") == wire.FoundIds(ids=("abc03",), more=False)
    assert find(store, "abc03", objects=False).ids == ()


@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9, 13, 14, 18, 19, 35, 36])
def test_a_beginning_of_any_length_finds_ids_that_are_stored_as_bytes_and_as_text(
    store: world.World, length: int
) -> None:
    events = [str(row[0]) for row in store.ledger.rows("SELECT id FROM readable_events")]
    prefix = events[0][:length]

    found = find(store, prefix, objects=False)

    assert found.ids == tuple(sorted(one for one in events if one.startswith(prefix))[:10])


@pytest.mark.parametrize(
    ("prefix", "uids"),
    [
        ("6f0c9f0e-", ["6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c52"]),
        ("6f0c9f0e3", []),
        ("6f0c9f0e--", []),
        ("6F0C", ["6F0C9F0E-3A0B-4D0A-9F57-0F6B3F6A1C52"]),
        ("6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c52", ["6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c52"]),
        ("6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c520", []),
        ("6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c52-", []),
        ("6f0c9f0ex", ["6f0c9f0ex"]),
    ],
)
def test_hyphens_and_case_count(store: world.World, prefix: str, uids: list[str]) -> None:
    known = ("6f0c9f0e-3a0b-4d0a-9f57-0f6b3f6a1c52", "6F0C9F0E-3A0B-4D0A-9F57-0F6B3F6A1C52", "6f0c9f0ex")
    store.observe(10, 11, *(world.seen(f"p{number}", 11, uid=uid) for number, uid in enumerate(known)))

    assert find(store, prefix, events=False).ids == tuple(uids)


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
