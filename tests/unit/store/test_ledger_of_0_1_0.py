"""A ledger that 0.1.0 wrote is opened, verified and continued, and nothing that was delivered is sent again.

`ledgers/0.1.0.db.gz` was written by the code of 0.1.0. It holds objects that are tracked, released and gone, one whose
UID is no UUID, a name that changed hands, and deliveries in every state; the open ones are named below.
"""

import gzip
from pathlib import Path

import pytest

from beacon.store.recovery import verification
from tests.unit.store import world

FILE = Path(__file__).parent / "ledgers" / "0.1.0.db.gz"
OPEN = {("waiting", 0), ("retried", 1), ("retried", 0), ("found", 0)}  # name, requests made
FAILED = {"failed"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "events.db"
    made.write_bytes(gzip.decompress(FILE.read_bytes()))
    return made


def test_it_opens_and_verifies(path: Path) -> None:
    world.World(path, updates=True).ledger.close()

    assert list(verification.findings(path)) == []


def test_what_is_open_and_failed_stays_so(path: Path) -> None:
    store = world.World(path, updates=True)

    rows = store.ledger.rows(
        "SELECT e.name, d.state, d.requests FROM readable_deliveries d JOIN readable_events e USING (sequence)"
    )

    assert {(name, requests) for name, state, requests in rows if state in ("queued", "ready")} == OPEN
    assert {name for name, state, _ in rows if state == "failed"} == FAILED


def test_only_what_is_open_is_sent_and_each_once(path: Path) -> None:
    store = world.World(path, updates=True)
    store.clock.advance(3600)
    sent: dict[str, str] = dict(store.ledger.rows("SELECT id, name FROM readable_events"))

    names = [sent[event] for event in store.deliver_all()]

    assert sorted(names) == ["found", "retried", "retried", "waiting"]


def test_an_object_goes_on_where_it_was(path: Path) -> None:
    store = world.World(path, updates=True)
    opened = store.open()
    last = max(
        sequence for (sequence,) in store.ledger.rows("SELECT sequence FROM readable_events WHERE name = 'updated'")
    )
    (uid,) = store.ledger.row("SELECT uid FROM readable_objects WHERE name = 'updated'") or ("",)

    store.observe(opened.cursor, 60, world.seen("updated", 60, uid=uid, value="third"))

    store.clock.advance(3600)
    newest = [one for one in store.claim().deliveries if one.name == "updated"]
    assert [(one.type.value, one.previous) for one in newest] == [("updated", last)]
