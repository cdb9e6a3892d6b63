"""The file: its settings, its growth, and the errors when it is not usable."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from beacon import errors
from beacon.store.ledger import database, migrating, opening


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def raw(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(os.fspath(path))
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("auto_vacuum", 2),
        ("locking_mode", "exclusive"),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("journal_size_limit", 64 * 1024 * 1024),
        ("cache_size", -3 * 1024),
        ("temp_store", 2),
        ("busy_timeout", 5000),
        ("wal_autocheckpoint", 500),
        ("user_version", len(migrating._migrations())),
    ],
)
@pytest.mark.parametrize("opened", ["fresh", "again"])
def test_what_is_asked_of_sqlite_is_in_force(path: Path, pragma: str, value: object, opened: str) -> None:
    if opened == "again":
        database.Database(path).close()
    ledger = database.Database(path)

    assert ledger.rows(f"PRAGMA {pragma}") == [(value,)]
    ledger.close()


def test_freed_pages_can_be_released(path: Path) -> None:
    ledger = database.Database(path)
    ledger.run("CREATE TABLE big (x TEXT) STRICT")
    for _ in range(200):
        ledger.run("INSERT INTO big VALUES (?)", ("x" * 4000,))
    ledger.run("DROP TABLE big")
    (before,) = ledger.rows("PRAGMA page_count")[0]

    ledger.rows("PRAGMA incremental_vacuum")

    (after,) = ledger.rows("PRAGMA page_count")[0]
    assert after < before - 150
    ledger.close()


def test_every_table_is_strict(path: Path) -> None:
    database.Database(path).close()

    assert raw(path, "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict"
               " AND name NOT LIKE 'sqlite_%'") == []  # fmt: skip


def test_no_query_that_the_store_makes_often_reads_a_table_through(path: Path) -> None:
    ledger = database.Database(path)
    queries = [
        "SELECT max(sequence) FROM events WHERE key = 1",
        "SELECT 1 FROM deliveries WHERE endpoint = 1 AND key = 1 AND state = 'queued' ORDER BY id LIMIT 1",
        (
            "SELECT 1 FROM deliveries d CROSS JOIN events e ON e.sequence = d.id >> 12 WHERE d.endpoint = 1"
            " AND d.state = 'ready' AND d.requests = 0 AND d.background = 0 ORDER BY d.id LIMIT 9"
        ),
        (
            "SELECT 1 FROM deliveries WHERE endpoint = 1 AND state = 'ready' AND requests = 0 AND background = 1"
            " ORDER BY id LIMIT 9"
        ),
        (
            "SELECT 1 FROM deliveries WHERE endpoint = 'x' AND state = 'ready' AND requests > 0"
            " AND next_attempt_us <= 9 ORDER BY next_attempt_us LIMIT 9"
        ),
        (
            "SELECT 1 FROM deliveries WHERE endpoint = 'x' AND state = 'ready' AND requests > 0"
            " ORDER BY last_tried_us LIMIT 9"
        ),
        (
            "SELECT 1 FROM order_keys k CROSS JOIN objects o ON o.key = k.id WHERE k.api_group = '' AND k.kind = 'x'"
            " AND k.namespace = 'y' AND k.name = 'z' AND o.state <> 'gone'"
        ),
        (
            "SELECT k.id FROM (SELECT id, namespace, name FROM order_keys WHERE api_group = '' AND kind = 'x'"
            " AND (namespace, name) > ('a', 'b') ORDER BY namespace, name LIMIT 9) k"
        ),
        "UPDATE attempts SET counted = 1 WHERE delivery = 1 AND generation = 0 AND attempt = 1",
    ]

    for query in queries:
        plan = [str(row[3]) for row in ledger.rows(f"EXPLAIN QUERY PLAN {query}")]
        assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], (query, plan)
    ledger.close()


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    known = [*migrating._migrations(), "CREATE TABLE second (x INTEGER) STRICT; INSERT INTO second VALUES (1);"]
    monkeypatch.setattr(migrating, "_migrations", lambda: known)
    return known


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database.Database(path).close()
    known = [*migrating._migrations(), "CREATE TABLE second (x INTEGER) STRICT;"]
    monkeypatch.setattr(migrating, "_migrations", lambda: known)

    database.Database(path).close()

    assert raw(path, "PRAGMA user_version") == [(len(known),)]
    assert raw(path, "SELECT count(*) FROM second") == [(0,)]


def test_a_migration_that_fails_leaves_nothing_of_itself_and_is_done_later(path: Path, migrations: list[str]) -> None:
    right = migrations[-1]
    migrations[-1] = right + "INSERT INTO nowhere VALUES (1);"
    with pytest.raises(errors.StartError, match="nowhere"):
        database.Database(path)
    gc.collect()

    assert raw(path, "PRAGMA user_version") == [(len(migrations) - 1,)]
    assert raw(path, "SELECT name FROM sqlite_schema WHERE name = 'second'") == []
    migrations[-1] = right
    database.Database(path).close()
    assert raw(path, "SELECT x FROM second") == [(1,)]


def test_a_failed_start_does_not_keep_the_file(path: Path, migrations: list[str]) -> None:
    migrations[-1] = "nonsense"
    with pytest.raises(errors.StartError) as caught:
        database.Database(path)

    # The error, and with it the frames that it came from, is still at hand.
    assert raw(path, "PRAGMA user_version") == [(len(migrations) - 1,)]
    assert caught.value.exit_code == errors.EXIT_CANNOT_CREATE


def test_a_newer_file_is_refused(path: Path) -> None:
    database.Database(path).close()
    raw(path, "PRAGMA user_version = 99")

    with pytest.raises(errors.StartError, match="newer Beacon") as caught:
        database.Database(path)

    assert caught.value.exit_code == errors.EXIT_CONFIG
    assert raw(path, "PRAGMA user_version") == [(99,)]


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(errors.StartError, match="does not exist: is the volume mounted") as caught:
        database.Database(tmp_path / "no" / "e.db")

    assert caught.value.exit_code == errors.EXIT_CANNOT_CREATE


def test_a_file_in_place_of_the_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(errors.StartError, match="file"):
        database.Database(tmp_path / "file" / "e.db")


def test_a_directory_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "e.db").mkdir()

    with pytest.raises(errors.StartError, match=r"e\.db") as caught:
        database.Database(tmp_path / "e.db")

    assert caught.value.exit_code == errors.EXIT_CANNOT_CREATE


def test_a_second_opener_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_BUSY_MS", 50)
    first = database.Database(path)

    with pytest.raises(errors.StartError, match="in use by another process"):
        database.Database(path)

    first.run("INSERT INTO meta (one, ledger, created_us) VALUES (1, 'l', 1)")
    first.close()


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_damaged_and_stays_as_it_is(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)

    with pytest.raises(database.DamagedError):
        database.Database(path)

    assert path.read_bytes() == garbage


def test_a_damaged_page_is_damage_and_no_storage_error(path: Path) -> None:
    ledger = database.Database(path)
    ledger.begin()
    for number in range(2000):
        ledger.run(
            "INSERT INTO events (id, key, uid, api_version, type, cause, source, detected_us, committed_us, data)"
            " VALUES (?, 1, '', '', 'created', '', '', 0, 0, ?)",
            (str(number), "x" * 100),
        )
    ledger.commit()
    ledger.close()
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xee" * 100
    path.write_bytes(data)

    with pytest.raises(database.DamagedError):
        database.Database(path).rows("SELECT count(*), max(data) FROM events")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800"])
def test_a_value_that_sqlite_can_not_hold_is_the_requests_fault(path: Path, value: int | str) -> None:
    ledger = database.Database(path)
    ledger.begin()

    for work in (ledger.run, ledger.row, ledger.rows):
        with pytest.raises(database.RequestError):
            work("SELECT ?", (value,))

    assert ledger.in_transaction
    ledger.rollback()
    ledger.close()


def test_a_savepoint_undoes_its_own_work_only(path: Path) -> None:
    ledger = database.Database(path)
    ledger.begin()
    ledger.run("INSERT INTO counts VALUES ('a', '', '', 1)")

    def work() -> None:
        ledger.run("INSERT INTO counts VALUES ('b', '', '', 1)")
        ledger.run("INSERT INTO counts VALUES ('b', '', '', 1)")

    with pytest.raises(database.RequestError):
        ledger.savepoint(work)
    ledger.commit()

    assert ledger.rows("SELECT what FROM counts") == [("a",)]
    ledger.close()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_path_that_names_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "e.db")

    with pytest.raises(errors.StartError, match="is not a regular file"):
        database.Database(tmp_path / "e.db")
    with pytest.raises(errors.StartError, match="is not a regular file"):
        database.Database.to_read(tmp_path / "e.db")
