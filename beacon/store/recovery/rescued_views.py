"""The views of a rescued ledger: copied where they could be read, computed from the deliveries where they were lost.

A view can't be computed exactly: deliveries are pruned, and `start: now`, another cluster and `discard` change what was
written without one. A copied view may also know more than the rows that are left. Where the last event that was written
for an endpoint is lost and was not accepted, its written state becomes the accepted one, so that the comparison after
the rescue sends the difference. In doubt an object is sent again, and no object of an earlier cluster is deleted.
"""

from collections.abc import Mapping

from beacon.store.ledger import database, packing, views
from beacon.store.recovery import pages


def is_sane(row: Mapping[str, pages.Value]) -> bool:
    """Return True if the numbers and states of a view do not contradict each other."""
    key, written, accepted = row.get("id"), row.get("written"), row.get("accepted")
    if not isinstance(key, int) or not isinstance(written, int) or not isinstance(accepted, int):
        return False
    whole = all(_is_state(row.get(f"{one}_uid"), row.get(f"{one}_value")) for one in ("written", "accepted"))
    return whole and key > packing.LAST_ENDPOINT and 0 <= accepted <= written <= packing.HIGHEST_SEQUENCE


def _is_state(uid: pages.Value, value: pages.Value) -> bool:
    if uid is None:
        return value is None
    return isinstance(uid, bytes | str) and isinstance(value, str)


def complete(ledger: database.Database, now_us: int, *, objects_lost: bool) -> None:
    """Make views, deliveries and objects consistent; the identity and all other rows of the ledger are there."""
    for sql in (_COMPUTED, _DOUBTFUL, _COMPUTE_LOST, _WRITTEN_LATER, _ACCEPTED_OTHERWISE):
        ledger.run(sql)
    ledger.run(_OVERTAKEN, (now_us, views.OVERTAKEN))
    ledger.run(_FIRST)
    ledger.run("UPDATE deliveries SET state = 'queued' WHERE state = 'ready' AND id NOT IN (SELECT id FROM temp.first)")
    ledger.run(
        "UPDATE deliveries SET state = 'ready', next_attempt_us = ?"
        " WHERE state = 'queued' AND id IN (SELECT id FROM temp.first)",
        (now_us,),
    )
    for sql in (_NOTE_UNSENT, _PUT_BACK, _END_EARLIER_CLUSTER, _COUNT_OPEN):
        ledger.run(sql)
    if objects_lost:
        ledger.run(_RESTORE_OBJECTS, (now_us,))
    for table in ("computed", "doubtful", "first"):
        ledger.run(f"DROP TABLE temp.{table}")


_VALUE = "coalesce(json_extract({0}.data, '$.resource.annotationValue'), '')"
_COMPUTED = """
CREATE TEMP TABLE computed AS
SELECT CAST(key << 12 | endpoint AS INTEGER) AS id, max(id) >> 12 AS written,
    max(id) FILTER (WHERE state <> 'discarded') >> 12 AS kept,
    coalesce(max(id) FILTER (WHERE state = 'delivered' OR delivered_us > 0), 0) >> 12 AS accepted,
    coalesce(max(previous) FILTER (WHERE previous > 0 AND NOT EXISTS
        (SELECT 1 FROM deliveries p WHERE p.id = (d.previous << 12 | d.endpoint))), 0) AS pruned
FROM deliveries d GROUP BY key, endpoint"""
# Views whose states are not copied: the object in them may be of an earlier cluster.
_DOUBTFUL = "CREATE TEMP TABLE doubtful AS SELECT id FROM temp.computed WHERE id NOT IN (SELECT id FROM views)"
# Only delivered and discarded events are pruned, so that a missing `previous` counts as accepted.
_COMPUTE_LOST = f"""
INSERT INTO views (id, written, written_uid, written_value, accepted, accepted_uid, accepted_value)
SELECT c.id, c.written, w.uid, CASE WHEN w.uid IS NOT NULL THEN {_VALUE.format("w")} END,
    max(c.accepted, c.pruned), a.uid, CASE WHEN a.uid IS NOT NULL THEN {_VALUE.format("a")} END
FROM temp.computed c LEFT JOIN events w ON w.sequence = c.kept AND w.type <> 'deleted'
LEFT JOIN events a ON a.type <> 'deleted' AND a.sequence = iif(c.pruned > c.accepted AND EXISTS
    (SELECT 1 FROM events x WHERE x.sequence = c.pruned), c.pruned, c.accepted)
WHERE c.id IN (SELECT id FROM temp.doubtful)"""
# A copied view that is older than a delivery was read from a page that an earlier fault left behind.
_WRITTEN_LATER = f"""
UPDATE views SET written = c.written, written_uid = w.uid,
    written_value = CASE WHEN w.uid IS NOT NULL THEN {_VALUE.format("w")} END
FROM temp.computed c LEFT JOIN events w ON w.sequence = c.kept AND w.type <> 'deleted'
WHERE views.id = c.id AND c.written > views.written"""
_ACCEPTED_OTHERWISE = f"""
UPDATE views SET accepted = c.accepted, accepted_uid = a.uid,
    accepted_value = CASE WHEN a.uid IS NOT NULL THEN {_VALUE.format("a")} END
FROM temp.computed c LEFT JOIN events a ON a.sequence = c.accepted AND a.type <> 'deleted'
WHERE views.id = c.id AND (c.accepted > views.accepted OR (c.accepted < views.accepted AND EXISTS
    (SELECT 1 FROM deliveries d WHERE d.id = (views.accepted << 12 | (views.id & 4095)))))"""
_OVERTAKEN = """
UPDATE deliveries SET state = 'failed', next_attempt_us = 0, settled_us = ?, reason = ?
WHERE state IN ('queued', 'ready') AND generation > 0 AND out_of_order = 0
AND EXISTS (SELECT 1 FROM views v WHERE v.id = (deliveries.key << 12 | deliveries.endpoint)
    AND v.accepted > deliveries.id >> 12)"""
# A delivery that is ready may have been sent. It goes before an earlier one that is made again.
_FIRST = """
CREATE TEMP TABLE first AS SELECT id FROM (
    SELECT id, row_number() OVER
        (PARTITION BY endpoint, key ORDER BY generation > 0 AND state = 'queued', id) AS place
    FROM deliveries WHERE state IN ('queued', 'ready')
) WHERE place = 1"""
_UNSENT = (
    "views.written > views.accepted"
    " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = (views.written << 12 | (views.id & 4095)))"
)
_NOTE_UNSENT = f"INSERT INTO temp.doubtful SELECT id FROM views WHERE {_UNSENT}"
_PUT_BACK = f"UPDATE views SET written_uid = accepted_uid, written_value = accepted_value WHERE {_UNSENT}"
_END_EARLIER_CLUSTER = """
UPDATE views SET written_uid = NULL, written_value = NULL
WHERE written_uid IS NOT NULL AND id IN (SELECT id FROM temp.doubtful) AND EXISTS
    (SELECT 1 FROM objects o, meta m WHERE o.uid = views.written_uid AND o.state = 'gone' AND o.epoch < m.epoch)"""
_COUNT_OPEN = """
UPDATE views SET open = coalesce(c.open, 0), ready = coalesce(c.ready, 0) FROM views v LEFT JOIN (
    SELECT CAST(key << 12 | endpoint AS INTEGER) AS id, count(*) AS open,
        max(id) FILTER (WHERE state = 'ready') AS ready
    FROM deliveries WHERE state IN ('queued', 'ready') GROUP BY key, endpoint
) c ON c.id = v.id WHERE views.id = v.id"""
# The next list decides about an object whose row is lost: it exists, or it is reported as deleted. If it was reported
# before, to others than the endpoint of the view, no row is needed: without one it counts as gone.
_RESTORE_OBJECTS = """
INSERT OR IGNORE INTO objects (uid, key, api_group, kind, namespace, state, epoch, resource_version, judged_by,
    accepted_by, value, labels, annotations, changed_us)
SELECT v.written_uid, k.id, k.api_group, k.kind, k.namespace, 'unmanaged', m.epoch, 0, '', '', v.written_value, '{}',
    '{}', ?
FROM views v JOIN order_keys k ON k.id = v.id >> 12 CROSS JOIN meta m
WHERE v.written_uid IS NOT NULL AND v.written_uid NOT IN (SELECT uid FROM objects)
AND coalesce((SELECT e.type FROM events e WHERE e.key = k.id AND e.uid = v.written_uid
    ORDER BY e.sequence DESC LIMIT 1), '') <> 'deleted'"""
