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
_OBJECTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :objects)
INSERT INTO objects SELECT 'much-' || i, '', 'ConfigMap', 'ns', 'much-' || i, 'gone', 0, :version, judged_by,
    accepted_by, value, labels, annotations, :now
FROM n CROSS JOIN (SELECT * FROM objects LIMIT 1)
"""
_EVENTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :events)
INSERT INTO events (sequence, id, subject, uid, api_version, kind, namespace, name, previous, type, cause, source,
    detected_us, committed_us, data)
SELECT :first + i, lower(hex(randomblob(16))), '/ConfigMap/ns/much-' || (i % :objects), 'much-' || (i % :objects), 'v1',
    'ConfigMap', 'ns', 'much-' || (i % :objects), iif(i < :objects, 0, :first + i - :objects),
    CASE WHEN i < :objects THEN 'created' WHEN i >= :events - :objects THEN 'deleted' ELSE 'updated' END, '', 'watch',
    :now, :now, data
FROM n CROSS JOIN (SELECT data FROM events LIMIT 1)
"""
_DELIVERIES = """
INSERT INTO deliveries (sequence, endpoint, subject, state, attempts, requests, last_code, last_status, settled_us)
SELECT sequence, 'default', subject, 'delivered', 1, 1, '204', 204, :now FROM events WHERE sequence >= :first
"""
_ATTEMPTS = """
INSERT INTO attempts SELECT id, 0, 1, :now, 900, '204', 204, '', 1, lower(hex(randomblob(16)))
FROM deliveries WHERE sequence >= :first
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
        (version,) = ledger.execute("SELECT max(resource_version) FROM objects").fetchone()
        values = {
            "events": events,
            "objects": max(1, events // _EVENTS_AN_OBJECT),
            "first": last + 1,
            "version": version,
            "now": time.time_ns() // 1000,
        }
        with ledger:
            for statement in (_OBJECTS, _EVENTS, _DELIVERIES, _ATTEMPTS):
                ledger.execute(statement, values)
