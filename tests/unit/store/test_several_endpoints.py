"""Several endpoints: a delivery for each that selects the event, each with its own order, predecessor and claims."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store import endpoints, verification
from tests.unit.store import world

CREATED, UPDATED, DELETED = model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED


def endpoint(name: str, names: str = "", **changes: Any) -> endpoints.LedgerEndpoint:
    """Return an endpoint that selects the objects with these names, one letter each; "": all."""
    one = endpoints.LedgerEndpoint(
        name=name,
        url_digest=name.encode(),
        selects=lambda _group, _kind, _namespace, object_: not names or object_ in names,
        selection=names,
    )
    return replace(one, **changes)


ALL, SOME, ENDS = endpoint("all"), endpoint("some", "ab"), endpoint("ends", types=frozenset({CREATED, DELETED}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def store(path: Path) -> Iterator[world.World]:
    opened = world.World(path, updates=True, endpoints_=(ALL, SOME, ENDS))
    opened.open()
    opened.relist(10)
    yield opened
    assert list(verification.inconsistencies(opened.ledger)) == []
    opened.ledger.close()


def chain(store: world.World, name: str) -> list[tuple[str, str, int, int]]:
    """Return what was written for an endpoint: object, type, sequence and previous."""
    return store.ledger.rows(
        "SELECT e.name, e.type, d.sequence, d.previous FROM readable_deliveries d"
        " JOIN readable_events e ON e.sequence = d.sequence WHERE d.endpoint = ? ORDER BY d.sequence",
        (name,),
    )


def claimed(store: world.World, name: str, *outcomes: model.Outcome, **changes: Any) -> list[model.Delivery]:
    return list(store.claim(100, *outcomes, endpoint=name, **changes).deliveries)


def test_an_event_is_written_once_and_delivered_to_each_endpoint_that_selects_it(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"), world.seen("c", 12, model.ChangeKind.ADDED))
    store.observe(12, 13, world.seen("a", 13, model.ChangeKind.DELETED))

    assert [event[:2] for event in store.events()] == [
        ("a", "created"),
        ("a", "updated"),
        ("c", "created"),
        ("a", "deleted"),
    ]
    assert chain(store, "all") == [
        ("a", "created", 1, 0),
        ("a", "updated", 2, 1),
        ("c", "created", 3, 0),
        ("a", "deleted", 4, 2),
    ]
    assert chain(store, "some") == [("a", "created", 1, 0), ("a", "updated", 2, 1), ("a", "deleted", 4, 2)]
    assert chain(store, "ends") == [("a", "created", 1, 0), ("c", "created", 3, 0), ("a", "deleted", 4, 1)]


def test_an_event_that_no_endpoint_selects_is_kept_and_pruned_like_a_delivered_one(path: Path) -> None:
    store = world.World(path, updates=True, endpoints_=(SOME,))
    store.open()
    store.relist(10)
    store.observe(10, 11, world.seen("c", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("c", 12, value="other"))

    assert [event[:2] for event in store.events()] == [("c", "created"), ("c", "updated")]
    store.clock.advance(7200)
    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))

    assert [event[:2] for event in store.events()] == [("c", "updated")]
    assert list(verification.inconsistencies(store.ledger)) == []
    store.ledger.close()


def test_each_endpoint_has_its_own_order_and_its_own_claims(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"))

    first = claimed(store, "all")
    assert [one.type for one in first] == [CREATED]
    assert [one.type for one in claimed(store, "some")] == [CREATED]
    second = claimed(store, "all", world.delivered(first[0]))

    assert [one.type for one in second] == [UPDATED]
    assert claimed(store, "some", held=(first[0].id + 1,)) == [], "its first delivery is still under way"


def test_another_notifier_of_one_endpoint_fences_nothing_of_the_others(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    for name in ("all", "some"):
        assert len(claimed(store, name, session="old", number=1)) == 1

    assert len(claimed(store, "all", session="new", number=1)) == 1
    assert store.claim(endpoint="all", session="old", number=2).fenced
    assert not store.claim(endpoint="some", session="old", number=2).fenced


def test_a_reply_that_was_lost_is_repeated_for_its_endpoint_alone(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))

    lost = claimed(store, "all", session="s", number=7)
    other = claimed(store, "some", session="s", number=7)

    assert claimed(store, "all", session="s", number=7) == lost
    assert claimed(store, "some", session="s", number=7) == other
    assert [one.sequence for one in lost] == [one.sequence for one in other]
    assert {one.id for one in lost}.isdisjoint(one.id for one in other)


def test_statistics_are_those_of_each_endpoint(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("c", 11, model.ChangeKind.ADDED))
    first, second = claimed(store, "all")
    failed = replace(world.delivered(first), result=model.DeliveryResult.FAILED)
    store.claim(0, failed, endpoint="all", held=(second.id,))

    found = {one.endpoint: one for one in store.service.handle(wire.Inspect()).endpoints}  # type: ignore[union-attr]

    assert (found["all"].failed, found["all"].in_flight, found["all"].ready) == (1, 1, 0)
    assert (found["some"].failed, found["some"].in_flight, found["some"].ready) == (0, 0, 1)
    assert (found["ends"].ready, found["ends"].oldest_us) == (2, store.clock.us)
