"""The verb `backup`: one copy at a time, which is closed when its caller has gone."""

from pathlib import Path

import pytest

from beacon import errors, wire
from beacon.store.ledger import database
from beacon.store.verbs import backups
from tests.unit.store import world


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ledger(tmp_path: Path) -> database.Database:
    store = world.World(tmp_path / "e.db")
    store.ledger.run("CREATE TABLE filler AS SELECT randomblob(3000000) AS x")
    return store.ledger


def test_a_copy_that_is_being_made_is_not_ended_by_another(ledger: database.Database, tmp_path: Path) -> None:
    clock = Clock()
    served = backups.Backups(ledger, clock)
    first, second = (wire.Backup(target=str(tmp_path / name)) for name in ("first.db", "second.db"))

    assert served.step(first).left
    clock.now_s += 1.5
    with pytest.raises(errors.PermanentError, match=f"another copy is being made: {first.target}"):
        served.step(second)
    while served.step(first).left:
        pass
    while served.step(second).left:
        pass

    assert database.Database.to_read(tmp_path / "first.db").row("SELECT copied FROM meta") == (1,)


def test_an_abandoned_copy_gives_way_soon_and_is_closed_after_a_minute(
    ledger: database.Database, tmp_path: Path
) -> None:
    clock = Clock()
    served = backups.Backups(ledger, clock)
    first, second = (wire.Backup(target=str(tmp_path / name)) for name in ("first.db", "second.db"))
    served.step(first)
    clock.now_s += 2.5
    assert served.step(second).left

    kept = []
    for seconds in (59, 2):
        clock.now_s += seconds
        served.give_up_abandoned()
        kept.append(served._copy is not None)

    assert kept == [True, False]
    with pytest.raises(errors.PermanentError, match="File exists"):
        served.step(second)
