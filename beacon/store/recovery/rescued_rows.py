"""The rows of a damaged ledger: how they are recognized, and made consistent in the new one.

Digests and counts are not copied: they follow from the other rows. Order keys and the names of endpoints are read from
their tables and from the indexes, so that one damaged page loses none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beacon.store.ledger import database, endpoints, migrating, packing
from beacon.store.recovery import pages, rescued_views

SCHEMA = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """How rows of a table are recognized: with or without a rowid, fewest values, types of distinctive values."""

    has_rowid: bool
    values: int
    types: Mapping[int, tuple[type, ...]]


KNOWN_BY: Mapping[str, RowShape] = {
    "events": RowShape(has_rowid=True, values=11, types={1: (bytes, str), 2: (int,), 4: (str,)}),
    "deliveries": RowShape(has_rowid=True, values=25, types={1: (int,), 4: (str,)}),
    "gaps": RowShape(has_rowid=True, values=12, types={1: (str,), 2: (str,)}),
    "actions": RowShape(has_rowid=True, values=7, types={1: (int,), 4: (str,)}),
    "order_keys": RowShape(has_rowid=True, values=6, types={1: (str,), 2: (str,), 4: (str,)}),
    "endpoints": RowShape(has_rowid=True, values=14, types={1: (str,), 2: (bytes,)}),
    "objects": RowShape(has_rowid=False, values=14, types={0: (bytes, str), 1: (int,)}),
    "views": RowShape(has_rowid=True, values=9, types={1: (int,), 4: (int,), 7: (int,), 8: (int,)}),
    "cursors": RowShape(has_rowid=False, values=10, types={0: (str,), 1: (str,)}),
    "attempts": RowShape(has_rowid=False, values=10, types={0: (int,)}),
}
NUMBERED = ("events",)
KEY_ENTRY = 5  # values of an entry in the index of order_keys: the four parts and the id
NAME_ENTRY = 2  # of the index of endpoints: the name and the id


def is_sane(table: str, row: Mapping[str, pages.Value]) -> bool:
    """Return True if the numbers of a row do not contradict each other."""
    if table == "deliveries":
        number, endpoint, previous = row.get("id"), row.get("endpoint"), row.get("previous")
        if not isinstance(number, int) or not isinstance(previous, int):
            return False
        is_bounded = previous < number >> packing.ENDPOINT_BITS <= packing.HIGHEST_SEQUENCE
        return previous >= 0 and is_bounded and number & packing.LAST_ENDPOINT == endpoint
    if table == "events":
        sequence = row.get("sequence")
        return isinstance(sequence, int) and 0 < sequence <= packing.HIGHEST_SEQUENCE
    return table != "views" or rescued_views.is_sane(row)


def remove_orphans(ledger: database.Database) -> int:
    """Restore order keys from events, and remove rows without the row that they belong to.

    Return the number of deliveries among them.
    """
    for sql in _RESTORE_KEYS:
        ledger.run(sql)
    ledger.run("DELETE FROM events WHERE key NOT IN (SELECT id FROM order_keys)")
    ledger.run("DELETE FROM objects WHERE key NOT IN (SELECT id FROM order_keys)")
    orphans = ledger.run("DELETE FROM deliveries WHERE id >> 12 NOT IN (SELECT sequence FROM events)")
    for table in ("attempts", "actions"):
        ledger.run(f"DELETE FROM {table} WHERE delivery NOT IN (SELECT id FROM deliveries)")
    ledger.run(
        "UPDATE deliveries SET key = (SELECT e.key FROM events e WHERE e.sequence = deliveries.id >> 12)"
        " WHERE key <> (SELECT e.key FROM events e WHERE e.sequence = deliveries.id >> 12)"
    )
    ledger.run("DELETE FROM views WHERE id >> 12 NOT IN (SELECT id FROM order_keys)")
    ledger.run("UPDATE views SET open = 0, ready = 0")
    return orphans


def reopen(ledger: database.Database, endpoint: str, now_us: int, known: Sequence[endpoints.LedgerEndpoint]) -> int:
    """Create deliveries of events that may not have been delivered; return their number."""
    _name_endpoints(ledger, endpoint)
    by_name = {one.name: one for one in known}
    last: dict[tuple[int, int], int] = {}
    chosen: list[tuple[int, int, int, int, int]] = []
    ledger.run("CREATE INDEX temporary_order ON deliveries (key, endpoint, id)")
    for sequence, number, key, previous, name, type_, *subject in ledger.each(_UNDELIVERED):
        one = by_name.get(name)
        if one is None or (type_ in one.types and one.selects(*subject)):
            before = max(previous, last.get((number, key), 0))
            chosen.append((packing.combined(sequence, number), number, key, before, now_us))
            last[number, key] = sequence
    ledger.run("DROP INDEX temporary_order")
    ledger.run_many(
        "INSERT INTO deliveries (id, endpoint, key, previous, state, next_attempt_us) VALUES (?, ?, ?, ?, 'queued', ?)",
        chosen,
    )
    return len(chosen)


def order(ledger: database.Database, now_us: int, *, objects_lost: bool) -> None:
    """Complete views and objects, make one open delivery of each object ready, and write what follows from the rows."""
    _name_endpoints(ledger, "")
    rescued_views.complete(ledger, now_us, objects_lost=objects_lost)
    ledger.run_script(migrating.sums_of_rows())


def _name_endpoints(ledger: database.Database, name: str) -> None:
    """Restore endpoints whose rows were lost; a lost name becomes `name`, if no other endpoint bears it."""
    if name and not ledger.row("SELECT 1 FROM endpoints"):
        lost = ledger.row(f"SELECT min(endpoint) FROM ({_USED})")
        number = lost[0] if lost and lost[0] is not None else 1
        ledger.run("INSERT INTO endpoints (id, name) VALUES (?, ?)", (number, name))
    ledger.run(
        f"INSERT INTO endpoints (id, name) SELECT endpoint, 'recovered-' || endpoint FROM ({_USED})"
        " WHERE endpoint NOT IN (SELECT id FROM endpoints) AND endpoint BETWEEN 1 AND 4095"
    )
    ledger.run("DELETE FROM deliveries WHERE endpoint NOT IN (SELECT id FROM endpoints)")
    ledger.run("DELETE FROM views WHERE id & 4095 NOT IN (SELECT id FROM endpoints)")


_USED = "SELECT endpoint FROM deliveries UNION SELECT id & 4095 AS endpoint FROM views"
_OF_EVENT = (
    "iif(instr(e.api_version, '/'), substr(e.api_version, 1, instr(e.api_version, '/') - 1), '') AS api_group,"
    " coalesce(json_extract(e.data, '$.resource.type'), '') AS kind,"
    " coalesce(json_extract(e.data, '$.resource.namespace'), '') AS namespace,"
    " coalesce(json_extract(e.data, '$.resource.name'), '') AS name"
    " FROM events e WHERE e.key NOT IN (SELECT id FROM order_keys)"
)
_RESTORE_KEYS = (
    (
        "INSERT OR IGNORE INTO order_keys (id, api_group, kind, namespace, name, bucket)"
        f" SELECT e.key, {_OF_EVENT.replace(' FROM', ', 0 FROM', 1)}"
    ),
    (
        "UPDATE events SET key = k.id FROM order_keys k,"
        f" (SELECT e.sequence, {_OF_EVENT}) m WHERE events.sequence = m.sequence AND k.api_group = m.api_group"
        " AND k.kind = m.kind AND k.namespace = m.namespace AND k.name = m.name"
    ),
    "UPDATE order_keys SET bucket = bucket_of(api_group, kind, namespace, name)",
)
# A later delivery that is no longer queued shows that the lost one was settled, one with an earlier `previous` that
# there was none, and the view what was accepted and what was never written. Events from before the endpoint's name
# appeared were not for it, nor were those of another endpoint's catch-up.
_UNDELIVERED = """
SELECT e.sequence, p.id, e.key, max(coalesce(v.accepted, 0), coalesce((SELECT max(b.id) >> 12 FROM deliveries b
        WHERE b.key = e.key AND b.endpoint = p.id AND b.id < e.sequence << 12), 0)),
    p.name, e.type, k.api_group, k.kind, k.namespace, k.name
FROM endpoints p CROSS JOIN events e CROSS JOIN order_keys k ON k.id = e.key
LEFT JOIN views v ON v.id = (e.key << 12 | p.id)
WHERE e.sequence > p.first_sequence AND p.removed_us = 0 AND e.endpoint IN (0, p.id)
AND e.sequence > coalesce(v.accepted, 0) AND e.sequence <= coalesce(v.written, e.sequence)
AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = (e.sequence << 12 | p.id))
AND coalesce((SELECT d.previous FROM deliveries d WHERE d.key = e.key AND d.endpoint = p.id
    AND d.id > e.sequence << 12 ORDER BY d.id LIMIT 1), e.sequence) >= e.sequence
AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.key = e.key AND d.endpoint = p.id AND d.id > (e.sequence + 1) << 12
    AND d.state <> 'queued')
ORDER BY e.sequence"""
