"""The invariants of a ledger up to schema 6, that 0.1.0 or a pre-release wrote and no store has migrated since."""

# Events between two events of an object may have been pruned; then `previous` refers to a missing one.
_CHAIN = """
SELECT sequence, subject, previous, before FROM (
    SELECT sequence, subject, previous, lag(sequence, 1, 0) OVER (PARTITION BY subject ORDER BY sequence) AS before
    FROM events
) WHERE previous >= sequence OR previous < before
OR (previous > before AND previous IN (SELECT sequence FROM events))"""
RULES = (
    ("event {} of {}: previous is {} where {} comes before it", _CHAIN),
    (
        "delivery {} has no event {}",
        "SELECT id, sequence FROM deliveries WHERE sequence NOT IN (SELECT sequence FROM events)",
    ),
    (
        "delivery {} of {} was sent while the earlier delivery {} is open",
        (
            "SELECT d.id, d.subject, e.id FROM deliveries d JOIN deliveries e ON e.endpoint = d.endpoint"
            " AND e.subject = d.subject AND e.sequence < d.sequence AND e.state IN ('queued', 'ready')"
            " WHERE d.generation = 0 AND e.generation = 0 AND (d.requests > 0 OR d.state = 'ready')"
        ),
    ),
    (
        "deliveries {} and {} of {} may be sent at the same time",
        (
            "SELECT d.id, e.id, d.subject FROM deliveries d JOIN deliveries e ON e.endpoint = d.endpoint"
            " AND e.subject = d.subject AND e.sequence < d.sequence WHERE d.state = 'ready' AND e.state = 'ready'"
        ),
    ),
    (
        "delivery {} of {} is queued, but no delivery of its object is ready",
        (
            "SELECT d.id, d.subject FROM deliveries d WHERE d.state = 'queued'"
            " AND NOT EXISTS (SELECT 1 FROM deliveries r"
            " WHERE r.endpoint = d.endpoint AND r.subject = d.subject AND r.state = 'ready')"
        ),
    ),
    (
        "scope {} {} {}: the cursor {} is ahead of {}, the highest that was read",
        "SELECT api_group, kind, namespace, resource_version, highest FROM cursors WHERE resource_version > highest",
    ),
    (
        "scope {} {} {}: the cursor {} is behind object {} at {}",
        (
            "SELECT c.api_group, c.kind, c.namespace, c.resource_version, o.name, o.resource_version FROM cursors c"
            " JOIN objects o ON o.api_group = c.api_group AND o.kind = c.kind"
            " AND (c.namespace = '' OR c.namespace = o.namespace) AND o.epoch = c.epoch"
            " WHERE c.resource_version > 0 AND o.resource_version > c.resource_version"
        ),
    ),
    (
        "scope {} {} {}: the cursor is of epoch {}, the ledger of epoch {}",
        (
            "SELECT api_group, kind, namespace, cursors.epoch, meta.epoch FROM cursors, meta"
            " WHERE cursors.epoch > meta.epoch"
        ),
    ),
)
TOO_EARLY = """
SELECT d.id, d.subject, e.id FROM attempts later JOIN deliveries d ON d.id = later.delivery
JOIN deliveries e ON e.endpoint = d.endpoint AND e.subject = d.subject AND e.sequence < d.sequence
JOIN attempts earlier ON earlier.delivery = e.id AND earlier.generation = 0
WHERE later.generation = 0 AND later.attempt = 1 AND later.started_us > 0 AND earlier.started_us > 0
AND earlier.started_us + earlier.duration_us > later.started_us + ?"""
