"""The rows of a damaged ledger of schema 6 or older: how they are recognized, and made consistent in the new one.

Such a ledger is rescued in its own schema; opening the result migrates it.
"""

from collections.abc import Mapping, Sequence

from beacon.store.ledger import database, endpoints
from beacon.store.recovery import pages, rescued_rows

SCHEMA = 6
# With a rowid, fewest values, and the types of distinctive values.
KNOWN_BY: Mapping[str, rescued_rows.RowShape] = {
    "events": rescued_rows.RowShape(has_rowid=True, values=15, types={1: (str,), 2: (str,)}),
    "deliveries": rescued_rows.RowShape(has_rowid=True, values=15, types={1: (int,)}),
    "gaps": rescued_rows.RowShape(has_rowid=True, values=12, types={1: (str,)}),
    "actions": rescued_rows.RowShape(has_rowid=True, values=7, types={1: (int,), 4: (str,)}),
    "objects": rescued_rows.RowShape(has_rowid=False, values=14, types={0: (str,)}),
    "cursors": rescued_rows.RowShape(has_rowid=False, values=10, types={0: (str,)}),
    "attempts": rescued_rows.RowShape(has_rowid=False, values=10, types={0: (int,)}),
}
NUMBERED = ("events", "deliveries")


def is_sane(table: str, row: Mapping[str, pages.Value]) -> bool:
    """Return True: SQLite checks all that can be wrong within one row."""
    del table, row
    return True


def remove_orphans(ledger: database.Database) -> int:
    """Remove rows without the row that they belong to; return the number of deliveries among them."""
    orphans = ledger.run("DELETE FROM deliveries WHERE sequence NOT IN (SELECT sequence FROM events)")
    for table in ("attempts", "actions"):
        ledger.run(f"DELETE FROM {table} WHERE delivery NOT IN (SELECT id FROM deliveries)")
    return orphans


def reopen(ledger: database.Database, endpoint: str, now_us: int, _known: Sequence[endpoints.LedgerEndpoint]) -> int:
    """Create deliveries of events that may not have been delivered; return their number."""
    return ledger.run(_REOPEN, (endpoint, now_us))


def order(ledger: database.Database, now_us: int, *, objects_lost: bool) -> None:
    """Make the first open delivery of each object ready, and the others queued."""
    del objects_lost
    ledger.run(_BEHIND)
    ledger.run(_FIRST, (now_us,))


_REOPEN = """
INSERT INTO deliveries (sequence, endpoint, subject, state, next_attempt_us)
SELECT e.sequence, ?1, e.subject, 'queued', ?2 FROM events e
WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.sequence = e.sequence)
AND NOT EXISTS (
    SELECT 1 FROM events later JOIN deliveries d ON d.sequence = later.sequence
    WHERE later.subject = e.subject AND later.sequence > e.sequence AND d.state <> 'queued'
)"""  # a later delivery that is no longer queued shows that this one was settled
_EARLIER = (
    "SELECT 1 FROM deliveries d WHERE d.endpoint = deliveries.endpoint AND d.subject = deliveries.subject"
    " AND d.sequence < deliveries.sequence AND d.state IN ('queued', 'ready')"
)
_BEHIND = f"UPDATE deliveries SET state = 'queued' WHERE state = 'ready' AND EXISTS ({_EARLIER})"
_FIRST = (
    f"UPDATE deliveries SET state = 'ready', next_attempt_us = ? WHERE state = 'queued' AND NOT EXISTS ({_EARLIER})"
)
