"""A store that is killed while it migrates an older ledger loses nothing, and the next start completes that."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from beacon.store.ledger import database, migrating
from beacon.store.recovery import verification
from tests.unit.store.test_ledger_of_0_1_0 import FILE

OPENS = "import sys; from pathlib import Path; from beacon.store import database; database.Database(Path(sys.argv[1]))"
MORE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO events (id, subject, uid, api_version, kind, namespace, name, previous, type, cause, source, detected_us,
    committed_us, data)
SELECT 'more-' || i, '/ConfigMap/ns/more-' || i, 'more-' || i, 'v1', 'ConfigMap', 'ns', 'more-' || i, 0, 'created', '',
    'watch', 1, 1, (SELECT data FROM events LIMIT 1) FROM n;
INSERT INTO deliveries (sequence, endpoint, subject, state)
SELECT sequence, 'default', subject, 'ready' FROM events WHERE id LIKE 'more-%';
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "events.db"
    made.write_bytes(gzip.decompress(FILE.read_bytes()))
    connection = apsw.Connection(os.fspath(made))
    connection.execute(MORE)
    connection.close()
    return made


@pytest.mark.parametrize("instant", ["while the copy is made", "when the copy is complete", "in the migration"])
def test_a_kill_in_the_middle_loses_nothing(path: Path, instant: str) -> None:
    (events,) = rows(path, "SELECT count(*), sum(sequence) FROM events")
    kept = path.with_name("events.db.schema-4")
    unfinished = kept.with_name(f"{kept.name}.unfinished")
    wal = path.with_name("events.db-wal")
    process = subprocess.Popen([sys.executable, "-c", OPENS, os.fspath(path)])
    if instant == "while the copy is made":
        wait(process, lambda: unfinished.exists() or kept.exists())
    elif instant == "when the copy is complete":
        wait(process, kept.exists)
    else:
        wait(process, lambda: kept.exists() and wal.exists() and wal.stat().st_size > 1_000_000)

    process.kill()
    process.wait()

    ledger = database.Database(path)
    assert ledger.rows("SELECT count(*), sum(sequence) FROM events") == [events]
    assert ledger.rows("PRAGMA user_version") == [(migrating.schema_version(),)]
    ledger.close()
    assert list(verification.findings(path)) == []
    assert not unfinished.exists()
    assert rows(kept, "SELECT count(*), sum(sequence) FROM events") == [events]


def wait(process: "subprocess.Popen[bytes]", condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(os.fspath(path))
    found = connection.execute(sql).fetchall()
    connection.close()
    return list(found)
