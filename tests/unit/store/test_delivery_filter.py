"""A filter finds the matching deliveries, page by page, and nothing else."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import packing
from beacon.store.verbs import delivery_filter
from tests.unit.store import world


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    """Three objects were created and delivered, then `a` was deleted, which is not delivered yet."""
    made = world.World(tmp_path / "e.db")
    made.open()
    made.relist(10, *(world.seen(name, 5 + number) for number, name in enumerate("abc")))
    made.deliver_all()
    made.observe(10, 11, world.seen("a", 11, model.ChangeKind.DELETED))
    return made


def found(store: world.World, *, scan: int = 100, limit: int = 100, **given: object) -> list[tuple[str, str]]:
    """Return (name, type) of the matching deliveries, scanning `scan` rows at a time."""
    deliveries: list[int] = []
    after, more = 0, True
    while more:
        wanted = wire.DeliveryFilter(**given)  # type: ignore[arg-type]
        page = delivery_filter.find(store.ledger, wanted, after=after, scan=scan, limit=limit)
        deliveries += page.deliveries
        after, more = page.after, page.more
    rows = (
        store.ledger.row(
            "SELECT name, type FROM readable_events JOIN readable_deliveries d USING (sequence) WHERE d.id = ?", (one,)
        )
        for one in deliveries
    )
    return [(row[0], row[1]) for row in rows if row]


EVERYTHING = [("a", "created"), ("b", "created"), ("c", "created"), ("a", "deleted")]


@pytest.mark.parametrize("scan", [1, 2, 4, 100])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_an_empty_filter_matches_everything_whatever_the_page_size(store: world.World, scan: int, limit: int) -> None:
    assert found(store, scan=scan, limit=limit) == EVERYTHING
    assert found(store, scan=scan, limit=limit, name="a") == [("a", "created"), ("a", "deleted")]


def test_each_filter_takes_its_part(store: world.World) -> None:
    uid, identity, detected = store.ledger.rows("SELECT uid, id, detected_us FROM readable_events ORDER BY sequence")[3]

    assert found(store, states=(model.DeliveryState.READY,)) == [("a", "deleted")]
    assert found(store, states=(model.DeliveryState.READY, model.DeliveryState.DELIVERED)) == EVERYTHING
    assert found(store, types=(model.EventType.DELETED,)) == [("a", "deleted")]
    assert found(store, kind="ConfigMap") == EVERYTHING
    assert found(store, kind="Secret") == []
    assert found(store, endpoint="default") == EVERYTHING
    assert found(store, endpoint="other") == []
    assert found(store, namespace="nowhere") == []
    assert found(store, name="b") == [("b", "created")]
    assert found(store, uid=uid) == [("a", "created"), ("a", "deleted")]
    assert found(store, ids=(identity, "none")) == [("a", "deleted")]
    assert found(store, since_us=detected + 1) == []
    assert found(store, until_us=detected + 1) == EVERYTHING
    assert found(store, name="a", states=(model.DeliveryState.DELIVERED,)) == [("a", "created")]


def test_a_page_scans_a_bounded_number_of_rows_even_if_none_matches(store: world.World) -> None:
    page = delivery_filter.find(store.ledger, wire.DeliveryFilter(name="absent"), after=0, scan=2, limit=9)

    assert (page.deliveries, page.after, page.more) == ((), packing.combined(2, 1), True)
