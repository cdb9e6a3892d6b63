"""What `verify` finds, one rule after the other, on ledgers that were made to break it."""

import os
from pathlib import Path

import apsw
import pytest

from beacon.domain import model
from beacon.store.recovery import verification
from tests.unit.store import world


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = world.World(tmp_path / "e.db")
    store.open()
    store.relist(10, world.seen("a", 5), world.seen("b", 6))
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.DELETED))
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.ADDED, uid="other"))
    store.deliver_all()
    store.observe(12, 13, world.seen("b", 13, model.ChangeKind.DELETED))
    store.ledger.close()
    return tmp_path / "e.db"


def test_nothing_is_wrong_with_a_ledger_that_beacon_wrote(path: Path) -> None:
    before = path.read_bytes()

    assert list(verification.findings(path)) == []
    assert path.read_bytes() == before


def test_events_that_were_cleaned_away_break_no_chain(path: Path) -> None:
    spoil(
        path,
        "DELETE FROM deliveries WHERE id >> 12 = 3; DELETE FROM events WHERE sequence = 3;"
        " UPDATE counts SET number = number - 1 WHERE what = 'deliveries' AND state = 'delivered'",
    )

    assert list(verification.findings(path)) == []


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDATE deliveries SET previous = 0 WHERE id >> 12 = 3", "previous is 0 where 1 comes"),
        ("UPDATE deliveries SET previous = 2 WHERE id >> 12 = 3", "previous is 2 where 1 comes"),
        ("UPDATE deliveries SET previous = 99 WHERE id >> 12 = 3", "previous is 99"),
        ("UPDATE deliveries SET id = 77 << 12 | 1 WHERE id >> 12 = 1", "has no event 77"),
        ("UPDATE deliveries SET state = 'queued' WHERE id >> 12 = 1", "is open"),
        (
            "UPDATE deliveries SET state = 'ready', generation = 1, key = (SELECT min(key) FROM deliveries)",
            "may be sent at the same time",
        ),
        ("UPDATE deliveries SET state = 'queued'", "no delivery of its object is ready"),
        ("UPDATE cursors SET highest = 3", "ahead of 3"),
        ("UPDATE cursors SET resource_version = 3", "is behind object"),
        ("UPDATE cursors SET epoch = 3", "of epoch 3"),
        (
            (
                "UPDATE deliveries SET started_us = 1000000, duration_us = 50000;"
                " UPDATE deliveries SET started_us = 1020000 WHERE id >> 12 = 3"
            ),
            "was in flight",
        ),
        ("UPDATE deliveries SET key = 77 WHERE id >> 12 = 1", "is not that of its event"),
        ("DELETE FROM order_keys WHERE id = 1", "has no order key"),
        ("DELETE FROM views WHERE id >> 12 = 1", "has no view"),
        ("UPDATE views SET written = written - 1 WHERE id >> 12 = 1", "written is"),
        ("UPDATE views SET accepted = accepted - 1 WHERE id >> 12 = 1", "accepted is"),
        ("UPDATE views SET accepted = written + 1 WHERE id >> 12 = 1", "accepted is"),
        ("UPDATE views SET written_uid = x'00', written_value = '' WHERE id >> 12 = 1", "not the state in event"),
        ("UPDATE views SET accepted_uid = NULL", "not the state in event"),
        ("UPDATE views SET written_value = 'other'", "not the state in event"),
        ("UPDATE views SET open = open + 1 WHERE id >> 12 = 1", "the view has"),
        ("UPDATE views SET ready = 7 WHERE id >> 12 = 1", "the view has"),
        ("UPDATE digests SET buckets = zeroblob(1024)", "its digests are not"),
        ("DELETE FROM digests", "its digests are not"),
        ("UPDATE counts SET number = number + 1", "but the count is"),
        ("DELETE FROM counts", "but the count is 0"),
        ("DROP TABLE deliveries", "not a ledger"),
    ],
)
def test_what_is_wrong_is_found(path: Path, sql: str, finding: str) -> None:
    spoil(path, sql)

    assert any(finding in line for line in verification.findings(path)), list(verification.findings(path))


def test_damage_is_found_and_no_traceback(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8192:20000] = b"\xa5" * (20000 - 8192)
    path.write_bytes(data)

    assert all(line.startswith("damaged") for line in verification.findings(path))
    assert verification.main(path) == 1


@pytest.mark.parametrize("content", [b"x", b"garbage" * 999])
def test_what_is_no_database_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert verification.main(path) == 1


def spoil(path: Path, sql: str) -> None:
    connection = apsw.Connection(os.fspath(path))
    connection.execute(sql)
    connection.close()


def test_the_check_writes_its_progress_to_a_descriptor_and_goes_on_without_a_reader(path: Path) -> None:
    reader, writer = os.pipe()
    assert verification.main(path, writer) == 0
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as shares:
        written = [int(line) for line in shares]

    closed, unread = os.pipe()
    os.close(closed)
    code = verification.main(path, unread)
    os.close(unread)

    assert written == sorted(set(written))
    assert len(written) > 5
    assert written[-1] == 1000
    assert code == 0
