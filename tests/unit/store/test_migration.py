"""A ledger of an older schema is migrated completely or not at all, and a checked copy from before is kept."""

import gzip
import os
from pathlib import Path

import apsw
import pytest

from beacon.store.ledger import database, endpoints, migrating, packing
from beacon.store.recovery import integrity, salvage, verification
from tests.unit.store import world
from tests.unit.store.test_ledger_of_0_1_0 import FILE

RESCUE = salvage.RescueConfig(scopes=(), endpoint="default", endpoints=())
KEPT = "events.db.schema-4"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "events.db"
    made.write_bytes(gzip.decompress(FILE.read_bytes()))
    return made


def raw(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(os.fspath(path))
    rows = connection.execute(sql).fetchall()
    connection.close()
    return list(rows)


def test_the_copy_is_the_ledger_from_before(path: Path) -> None:
    before = raw(path, "SELECT * FROM deliveries ORDER BY id")

    ledger = database.Database(path)

    kept = path.with_name(KEPT)
    assert ledger.migrated == migrating.Migrated(before=4, after=7, copy=kept)
    assert raw(kept, "SELECT * FROM deliveries ORDER BY id") == before
    assert ledger.rows("SELECT copied, ledger FROM meta") == [(0, raw(kept, "SELECT ledger FROM meta")[0][0])]
    assert raw(kept, "SELECT copied FROM meta") == [(1,)]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(verification.findings(kept)) == []
    ledger.close()


def test_the_next_start_migrates_nothing(path: Path) -> None:
    database.Database(path).close()

    ledger = database.Database(path)

    assert ledger.migrated is None
    ledger.close()


def test_without_free_space_for_the_copy_it_is_migrated_nevertheless(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "_ROOM_TO_MIGRATE", 2**50)

    ledger = database.Database(path)

    assert ledger.migrated == migrating.Migrated(before=4, after=7, copy=None)
    assert not list(path.parent.glob("*.schema-*"))
    ledger.close()
    assert list(verification.findings(path)) == []


def test_every_row_keeps_its_content(path: Path) -> None:
    tables = {
        "events": "sequence, id, subject, uid, api_version, kind, namespace, name, type, cause, source, detected_us,"
        " committed_us, data",
        "objects": "uid, api_group, kind, namespace, name, state, epoch, resource_version, judged_by, accepted_by,"
        " value, labels, annotations, changed_us",
        "deliveries": "sequence, endpoint, subject, state, generation, attempts, requests, next_attempt_us,"
        " last_tried_us, forgiven, last_code, last_status, last_error, settled_us, out_of_order, reason, delivered_us",
    }
    attempts = "generation, attempt, started_us, duration_us, code, status, error, counted, request_id"
    before = {table: raw(path, f"SELECT {columns} FROM {table} ORDER BY 1, 2") for table, columns in tables.items()}
    made = raw(
        path,
        f"SELECT d.sequence, {attempts} FROM attempts a, deliveries d ON d.id = a.delivery ORDER BY 1, 2, 3".replace(
            "generation", "a.generation", 1
        ),
    )
    chain = raw(path, "SELECT sequence, previous FROM events ORDER BY sequence")

    database.Database(path).close()

    for table, columns in tables.items():
        assert raw(path, f"SELECT {columns} FROM readable_{table} ORDER BY 1, 2") == before[table]
    assert raw(path, f"SELECT delivery >> 12, {attempts} FROM readable_attempts ORDER BY 1, 2, 3") == made
    assert raw(path, "SELECT sequence, previous FROM readable_deliveries ORDER BY sequence") == chain


def test_a_number_is_not_used_twice_after_the_migration(path: Path) -> None:
    (last,) = raw(path, "SELECT seq FROM sqlite_sequence WHERE name = 'events'")[0]

    database.Database(path).close()

    assert raw(path, "SELECT seq FROM sqlite_sequence WHERE name = 'events'") == [(last,)]


@pytest.mark.parametrize("damaged", ["events", "deliveries"])
def test_a_damaged_ledger_of_an_older_schema_is_rescued(path: Path, damaged: str) -> None:
    pages = raw(path, f"SELECT pageno FROM dbstat WHERE name = '{damaged}' AND pagetype = 'leaf'")
    whole = {row[0] for row in raw(path, "SELECT id FROM events")}
    data = bytearray(path.read_bytes())
    start = (int(str(pages[0][0])) - 1) * 4096
    data[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(data)

    found = integrity.open_checked(path, RESCUE, lambda _doing, _share: None, 1_800_000_000_000_000)

    assert found.rescue is not None
    saved = {row[0] for row in found.ledger.rows("SELECT id FROM readable_events")}
    assert saved <= whole
    assert saved == whole or damaged == "events"
    assert list(found.rescue.aside.parent.glob("*.schema-*")) == []
    found.ledger.close()
    assert list(verification.findings(path)) == []


def test_what_is_no_canonical_uuid_is_kept_as_its_text() -> None:
    for text in ("", "x", "6F0C9F0E-3A0B-5D0A-9F57-0F6B3F6A1C52", "6f0c9f0e3a0b5d0a9f570f6b3f6a1c52", "٣" * 36):
        assert packing.packed(text) == text
        assert packing.unpacked(text) == text
    text = "6f0c9f0e-3a0b-5d0a-9f57-0f6b3f6a1c52"
    assert packing.unpacked(packing.packed(text)) == text
    assert packing.packed(text) == bytes.fromhex("6f0c9f0e3a0b5d0a9f570f6b3f6a1c52")


def test_the_endpoint_bears_the_newest_deliverys_name_and_then_the_configured_one(path: Path) -> None:
    connection = apsw.Connection(os.fspath(path))
    connection.execute("UPDATE deliveries SET endpoint = 'newest' WHERE id = (SELECT max(id) FROM deliveries)")
    connection.close()

    database.Database(path).close()

    assert raw(path, "SELECT id, name FROM endpoints") == [(1, "newest")]
    store = world.World(path, updates=True)
    assert store.ledger.rows("SELECT id, name FROM endpoints") == [(1, "default")]
    store.ledger.close()
    assert list(verification.findings(path)) == []


def test_a_view_is_made_for_what_was_written_and_accepted_and_for_an_object_without_events(path: Path) -> None:
    connection = apsw.Connection(os.fspath(path))
    for table in ("attempts WHERE delivery IN (SELECT id FROM deliveries WHERE sequence = 9)",
                  "deliveries WHERE sequence = 9", "events WHERE sequence = 9"):  # fmt: skip
        connection.execute(f"DELETE FROM {table}")  # of the object `no-uuid`
    connection.close()

    database.Database(path).close()

    rows = raw(
        path,
        "SELECT k.name, v.written, v.written_uid IS NOT NULL, v.accepted, v.accepted_uid IS NOT NULL FROM views v"
        " JOIN order_keys k ON k.id = v.id >> 12 ORDER BY k.name",
    )
    assert rows == [
        ("deleted", 11, 0, 11, 0),
        ("delivered", 1, 1, 1, 1),
        ("discarded", 5, 1, 0, 0),
        ("failed", 4, 1, 0, 0),
        ("found", 18, 1, 0, 0),
        ("no-uuid", 0, 1, 0, 1),
        ("reborn", 14, 1, 14, 1),
        ("redelivered", 6, 1, 6, 1),
        ("released", 12, 0, 12, 0),
        ("retried", 17, 1, 0, 0),
        ("updated", 10, 1, 10, 1),
        ("waiting", 15, 1, 0, 0),
    ]
    assert list(verification.findings(path)) == []


@pytest.mark.parametrize("names", [("default",), ("another",), ("first", "default"), ("first", "second")])
def test_its_endpoint_is_the_only_configured_one_or_the_one_of_its_name(path: Path, names: tuple[str, ...]) -> None:
    configured = tuple(endpoints.LedgerEndpoint(name=name, url_digest=name.encode()) for name in names)
    store = world.World(path, updates=True, endpoints_=configured)
    first = store.ledger.rows("SELECT name, removed_us > 0 FROM endpoints WHERE id = 1")

    inherits = len(names) == 1 or "default" in names
    assert first == [(names[-1] if inherits else "default", not inherits)]
    assert store.ledger.rows("SELECT endpoint FROM catch_ups ORDER BY 1") == [
        (number,) for number in range(2, 2 + len(names) - inherits)
    ]
    store.ledger.close()


def test_the_record_of_operators_actions_follows_its_delivery(path: Path) -> None:
    ledger = database.Database(path, schema=6)
    deliveries = ledger.rows("SELECT id, sequence FROM deliveries ORDER BY id")
    ledger.run_many(
        "INSERT INTO actions (delivery, generation, at_us, action, actor, reason)"
        " VALUES (?, 1, 5, 'discarded', 'me', ?)",
        [(delivery, str(sequence)) for delivery, sequence in deliveries],
    )
    ledger.close()

    ledger = database.Database(path)

    rows = ledger.rows("SELECT delivery >> 12, generation, at_us, action, actor, reason FROM actions ORDER BY id")
    assert rows == [(sequence, 1, 5, "discarded", "me", str(sequence)) for _, sequence in deliveries]
    assert ledger.odd_schema() == ""
    ledger.close()
