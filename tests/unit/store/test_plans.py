"""What SQLite is made to do for an event."""

from pathlib import Path

import apsw
import pytest

from beacon.domain import model
from beacon.store.recovery import integrity
from beacon.store.verbs import deliveries
from tests.unit.store import world


def test_no_statement_is_planned_twice(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10)
    planned: list[tuple[str | None, ...]] = []

    def look(_: int, *what: str | None) -> int:
        planned.append(what)
        return apsw.SQLITE_OK

    store.ledger._connection.authorizer = look  # asked whenever a statement is planned
    for at in (10, 20, 30):
        _live(store, at)
    assert planned
    planned.clear()
    for at in (40, 50, 60):
        _live(store, at)

    assert planned == []
    assert len(store.events()) == 3 * 6


def _live(store: world.World, at: int) -> None:
    """Create, change or delete three objects, and deliver the events."""
    name = f"o{at}"
    store.observe(at, at + 1, world.seen(name, at + 1, model.ChangeKind.ADDED))
    store.observe(at + 1, at + 2, world.seen(name, at + 2, value="other"))
    store.deliver_all()
    store.observe(at + 2, at + 10, world.seen(name, at + 3, model.ChangeKind.DELETED))
    store.deliver_all()


CLAIMS = {
    "fresh": (deliveries._FRESH, "deliveries_fresh"),
    "newest": (deliveries._NEWEST, "deliveries_fresh"),
    "of a catch-up": (deliveries._BACKGROUND, "deliveries_background"),
    "newest of a catch-up": (deliveries._NEWEST_BEHIND, "deliveries_background"),
    "due": (deliveries._DUE, "deliveries_due"),
    "least recently tried": (deliveries._LEAST_RECENT, "deliveries_tried"),
}


@pytest.mark.parametrize(("which", "index"), CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_reads_only_what_it_returns_however_much_waits_for_any_endpoint(
    which: str, index: str, tmp_path: Path
) -> None:
    ledger = world.World(tmp_path / "e.db").ledger
    sql = f"EXPLAIN QUERY PLAN {deliveries._WHOLE} {which} LIMIT ?"

    plan = [str(row[3]) for row in ledger.rows(sql, ("[]", *(1,) * (which.count("?") + 1)))]

    (first,) = [step for step in plan if step.startswith("SEARCH d ")]
    assert f"INDEX {index} (endpoint=?" in first
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith(("SCAN d", "SCAN e", "SCAN k"))], plan


@pytest.mark.parametrize(("table", "condition"), integrity._WORKED_WITH.items(), ids=integrity._WORKED_WITH.keys())
def test_the_check_at_the_start_reads_each_table_once(table: str, condition: str, tmp_path: Path) -> None:
    ledger = world.World(tmp_path / "e.db").ledger

    plan = [row[3] for row in ledger.rows(f"EXPLAIN QUERY PLAN SELECT * FROM {table} {condition}")]

    assert not [step for step in plan if "CORRELATED" in step]
    ledger.close()
