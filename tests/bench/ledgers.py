"""Large ledgers, created in seconds.

The rows that Beacon would need hours for are written directly with SQL, in the form in which Beacon writes them. Their
objects are deleted, so they do not depend on a cluster. Ten thousand rows are years old and the same in each ledger.
"""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.bench import beside, terms

_OLD_ROWS = 10_000
_EVENTS_AN_OBJECT = 10
_KEYS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :objects)
INSERT INTO order_keys SELECT :key + i, '', 'ConfigMap', 'ns', 'much-' || i, i % 64 FROM n
"""
_OBJECTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :objects)
INSERT INTO objects SELECT 'much-' || i, :key + i, '', 'ConfigMap', 'ns', 'gone', 0, :version, judged_by,
    accepted_by, value, labels, annotations, :now
FROM n CROSS JOIN (SELECT * FROM objects LIMIT 1)
"""
_EVENTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :events)
INSERT INTO events (sequence, id, key, uid, api_version, type, cause, source, detected_us, committed_us, data)
SELECT :first + i, randomblob(16), :key + i % :objects, 'much-' || (i % :objects), 'v1',
    CASE WHEN i < :objects THEN 'created' WHEN i >= :events - :objects THEN 'deleted' ELSE 'updated' END, '', 'watch',
    :now, :now, data
FROM n CROSS JOIN (SELECT data FROM events LIMIT 1)
"""
_DELIVERIES = """
INSERT INTO deliveries (id, endpoint, key, previous, state, attempts, requests, settled_us, code, status, started_us,
    duration_us, counted, request_id)
SELECT sequence << 12 | 1, 1, key, max(0, iif(sequence - :first < :objects, 0, sequence - :objects)), 'delivered', 1, 1,
    :now, '204', 204, :now, 900, 1, lower(hex(randomblob(16))) FROM events WHERE sequence >= :first
"""
_VIEWS = """
INSERT INTO views (id, written, accepted)
SELECT key << 12 | 1, max(sequence), max(sequence) FROM events WHERE sequence >= :first GROUP BY key
"""
_COUNTS = """
INSERT INTO counts SELECT 'objects', 'ConfigMap', 'gone', :objects UNION ALL
SELECT 'deliveries', '1', 'delivered', :events WHERE true ON CONFLICT DO UPDATE SET number = number + excluded.number
"""


def copied(wanted: terms.Terms, events: int, to: Path) -> None:
    """Copy a ledger with the old rows and this number of events; create it at the first call."""
    kept = wanted.shelf / f"{events}.db"
    if not kept.exists():
        making = wanted.shelf / "making.db"
        beside.fill_with_old_rows(making, wanted.many(_OLD_ROWS))
        if events:
            _fill(making, events)
        making.rename(kept)
    shutil.copyfile(kept, to)


def forget_cluster(path: Path) -> None:
    """Remove the cluster's identity from a ledger, so that it can be used with any cluster."""
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("UPDATE meta SET cluster = ''")
        ledger.execute("DELETE FROM cursors")


def _fill(path: Path, events: int) -> None:
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("PRAGMA journal_mode = MEMORY")  # it becomes WAL again when Beacon opens it
        ledger.execute("PRAGMA synchronous = OFF")
        ledger.execute("PRAGMA cache_size = -1000000")
        (last,) = ledger.execute("SELECT max(sequence) FROM events").fetchone()
        (key,) = ledger.execute("SELECT max(id) + 1 FROM order_keys").fetchone()
        (version,) = ledger.execute("SELECT max(resource_version) FROM objects").fetchone()
        values = {
            "events": events,
            "objects": max(1, events // _EVENTS_AN_OBJECT),
            "first": last + 1,
            "key": key,
            "version": version,
            "now": time.time_ns() // 1000,
        }
        with ledger:
            for statement in (_KEYS, _OBJECTS, _EVENTS, _DELIVERIES, _VIEWS, _COUNTS):
                ledger.execute(statement, values)
