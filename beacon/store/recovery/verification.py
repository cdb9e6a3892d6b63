"""`python -m beacon.store.recovery.verification FILE [FD]`: checks the invariants of a ledger that no store serves.

`beacon verify` and `beacon backup` run it as a subprocess, because only the store's code may open a ledger. It prints
a line for each violation and changes nothing. To the descriptor FD it writes its progress, in thousandths, one a line.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from beacon import errors
from beacon.boundary import visible
from beacon.store.ledger import database
from beacon.store.recovery import verification_of_schema_6

_MOST = 20  # lines of one kind
_PASSES = 6  # an integrity check reads the pages once, then the rows, with random reads of the indexes: measured
_PAGES_SHARE = 0.6  # of the time, about, is spent on the integrity check
_TOLERANCE_US = 5000  # between the clock of an instant and that of a duration


def findings(path: Path, report: Callable[[float], None] = lambda _share: None) -> Iterator[str]:
    """Yield the violations in a ledger, one sentence each; `report` is called with the share that is done.

    Raises:
        errors.StartError: the file can't be opened, or is in use.
    """
    ledger = database.Database.to_read(path)
    try:
        with ledger.reads_reported(lambda share: report(_PAGES_SHARE * share), passes=_PASSES):
            damage = [str(row[0]) for row in ledger.rows(f"PRAGMA integrity_check({_MOST})")]
        if damage != ["ok"]:
            yield from (f"damaged: {line}" for line in damage)
        elif not ledger.row("SELECT 1 FROM sqlite_schema WHERE name = 'deliveries'"):
            yield "it is not a ledger of Beacon"
        else:
            yield from inconsistencies(ledger, report)
        report(1.0)
    except database.BusyError as error:
        message = f"{path} is being served: omit FILE to check a copy of it"
        raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY) from error
    except (database.DamagedError, database.RequestError) as error:
        yield f"damaged: {error}"
    finally:
        ledger.close()


def inconsistencies(ledger: database.Database, report: Callable[[float], None] = lambda _share: None) -> Iterator[str]:
    """Yield what contradicts the invariants in an open ledger, one sentence each."""
    (version,) = ledger.row("PRAGMA user_version") or (0,)
    is_old = version < _SCHEMA_WITH_VIEWS
    rules = verification_of_schema_6.RULES if is_old else _RULES
    for number, (sentence, sql) in enumerate(rules):
        report(_PAGES_SHARE + (1 - _PAGES_SHARE) * number / (len(rules) + 1))
        for row in ledger.rows(f"{sql} LIMIT {_MOST}"):
            yield sentence.format(*row)
    report(1 - (1 - _PAGES_SHARE) / (len(rules) + 1))
    # A clock that was set back makes instants incomparable; the ledger records that in `jumps`.
    set_back = ledger.row("SELECT 1 FROM sqlite_schema WHERE name = 'jumps'") and ledger.row("SELECT 1 FROM jumps")
    if not set_back:
        too_early = verification_of_schema_6.TOO_EARLY if is_old else _TOO_EARLY
        for row in ledger.rows(f"{too_early} LIMIT {_MOST}", (_TOLERANCE_US,)):
            yield "delivery {} of {} was sent while the earlier delivery {} was in flight".format(*row)


_SCHEMA_WITH_VIEWS = 7
_KEY = "(SELECT k.api_group || '/' || k.kind || '/' || k.namespace || '/' || k.name FROM order_keys k WHERE k.id = {})"
_D_KEY, _V_KEY = _KEY.format("d.key"), _KEY.format("v.id >> 12")
_VALUE = "coalesce(json_extract(e.data, '$.resource.annotationValue'), '')"
# Events between two events of an object may have been pruned; then `previous` refers to a missing one.
_CHAIN = f"""
SELECT d.id >> 12, {_D_KEY}, d.previous, d.before FROM (
    SELECT id, endpoint, key, previous, lag(id >> 12, 1, 0) OVER (PARTITION BY endpoint, key ORDER BY id) AS before
    FROM deliveries
) d WHERE d.previous >= d.id >> 12 OR d.previous < d.before
OR (d.previous > d.before AND EXISTS (SELECT 1 FROM deliveries p WHERE p.id = d.previous << 12 | d.endpoint))"""
# A view may know of events that were pruned. What it knows of an existing event must be that event's.
_OF_VIEW = """
SELECT v.*, v.id & 4095 AS endpoint, l.written AS last, l.accepted AS taken, coalesce(l.open, 0) AS counted,
    coalesce(l.ready, 0) AS first FROM views v LEFT JOIN (
        SELECT CAST(key << 12 | endpoint AS INTEGER) AS id, max(id >> 12) AS written,
            sum(state IN ('queued', 'ready')) AS open,
            max(id >> 12) FILTER (WHERE state = 'delivered' OR delivered_us > 0) AS accepted,
            max(id) FILTER (WHERE state = 'ready') AS ready
        FROM deliveries GROUP BY key, endpoint
    ) l USING (id)"""
_STATE = (
    "(SELECT e.type <> 'deleted' IS NOT (v.{0}_uid IS NOT NULL) OR (e.type <> 'deleted' AND"
    f" (e.uid IS NOT v.{{0}}_uid OR {_VALUE} IS NOT v.{{0}}_value)) FROM events e WHERE e.sequence = v.{{0}})"
)
# Discarding the deliveries of a removed endpoint puts the written state back to the accepted one. Another cluster makes
# it absent, and it stays so until the object is tracked.
_WRITTEN_HOLDS = (
    "NOT (v.written_uid IS NULL AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.state = 'tracked'"
    " AND o.uid = (SELECT e.uid FROM events e WHERE e.sequence = v.written))) AND EXISTS"
    " (SELECT 1 FROM deliveries d WHERE d.id = v.written << 12 | (v.id & 4095) AND d.state <> 'discarded')"
)
_RULES = (
    ("event {} of {}: previous is {} where {} comes before it", _CHAIN),
    (
        "delivery {} has no event {}",
        "SELECT id, id >> 12 FROM deliveries WHERE id >> 12 NOT IN (SELECT sequence FROM events)",
    ),
    (
        "{} {} has no order key",
        (
            "SELECT 'event', sequence FROM events WHERE key NOT IN (SELECT id FROM order_keys) UNION ALL"
            " SELECT 'object', name FROM (SELECT key AS name FROM objects WHERE key NOT IN (SELECT id FROM order_keys))"
            " UNION ALL SELECT 'view', id FROM views WHERE id >> 12 NOT IN (SELECT id FROM order_keys)"
        ),
    ),
    (
        "delivery {}: its order key is not that of its event, or its endpoint not that of its id",
        (
            "SELECT d.id FROM deliveries d JOIN events e ON e.sequence = d.id >> 12"
            " WHERE d.key <> e.key OR d.endpoint <> d.id & 4095"
            " OR d.endpoint NOT IN (SELECT id FROM endpoints)"
        ),
    ),
    (
        "delivery {}: its event was written for endpoint {} alone",
        (
            "SELECT d.id, e.endpoint FROM deliveries d JOIN events e ON e.sequence = d.id >> 12"
            " WHERE e.endpoint NOT IN (0, d.endpoint)"
        ),
    ),
    (
        "delivery {} of {} was sent while the earlier delivery {} is open",
        (
            f"SELECT d.id, {_D_KEY}, e.id FROM deliveries e"
            " CROSS JOIN events later ON later.key = e.key AND later.sequence > e.id >> 12"
            " CROSS JOIN deliveries d ON d.id = later.sequence << 12 | e.endpoint"
            " WHERE e.state IN ('queued', 'ready')"
            " AND d.generation = 0 AND e.generation = 0 AND (d.requests > 0 OR d.state = 'ready')"
        ),
    ),
    (
        "deliveries {} and {} of {} may be sent at the same time",
        (
            f"SELECT max(d.id), min(d.id), {_D_KEY} FROM deliveries d WHERE d.state = 'ready'"
            " GROUP BY d.endpoint, d.key HAVING count(*) > 1"
        ),
    ),
    (
        "delivery {} of {} is queued, but no delivery of its object is ready",
        (
            f"SELECT d.id, {_D_KEY} FROM deliveries d WHERE d.state = 'queued'"
            " AND (d.endpoint, d.key) NOT IN (SELECT r.endpoint, r.key FROM deliveries r WHERE r.state = 'ready')"
        ),
    ),
    (
        "delivery {} of {} has no view",
        (
            f"SELECT d.id, {_D_KEY} FROM deliveries d"
            " WHERE NOT EXISTS (SELECT 1 FROM views v WHERE v.id = d.key << 12 | d.endpoint)"
        ),
    ),
    (
        "the view of {}: written is {}, the last delivery is of {}",
        (
            f"SELECT {_V_KEY}, v.written, v.last FROM ({_OF_VIEW}) v WHERE v.last > v.written OR (v.last < v.written"
            " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.id = v.written << 12 | v.endpoint))"
        ),
    ),
    (
        "the view of {}: accepted is {}, the last accepted delivery is of {}",
        (
            f"SELECT {_V_KEY}, v.accepted, v.taken FROM ({_OF_VIEW}) v WHERE v.taken > v.accepted"
            " OR v.accepted > v.written OR (v.accepted > coalesce(v.taken, 0)"
            " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.id = v.accepted << 12 | v.endpoint))"
        ),
    ),
    (
        "the view of {}: what was written or accepted is not the state in event {} or {}",
        (
            f"SELECT {_V_KEY}, v.written, v.accepted FROM views v WHERE {_STATE.format('accepted')}"
            f" OR ({_STATE.format('written')} AND {_WRITTEN_HOLDS})"
        ),
    ),
    (
        "the view of {}: {} deliveries are open and {} is ready, but the view has {} and {}",
        (
            f"SELECT {_V_KEY}, v.counted, v.first, v.open, v.ready FROM ({_OF_VIEW}) v"
            " WHERE v.counted <> v.open OR v.first <> v.ready"
        ),
    ),
    (
        "endpoint {}: its digests are not those of its views",
        (
            "SELECT coalesce(g.endpoint, w.endpoint) FROM digests g FULL JOIN ("
            " SELECT v.id & 4095 AS endpoint, digest_of(k.bucket, v.accepted_uid, v.accepted_value)"
            " AS buckets FROM views v JOIN order_keys k ON k.id = v.id >> 12 GROUP BY v.id & 4095) w USING (endpoint)"
            " WHERE coalesce(g.buckets, zeroblob(1024)) <> coalesce(w.buckets, zeroblob(1024))"
        ),
    ),
    (
        "{} {} {}: {} rows, but the count is {}",
        (
            "SELECT coalesce(c.what, r.what), coalesce(c.name, r.name), coalesce(c.state, r.state),"
            " coalesce(r.number, 0), coalesce(c.number, 0) FROM counts c FULL JOIN ("
            " SELECT 'objects' AS what, kind AS name, state, count(*) AS number FROM objects GROUP BY kind, state"
            " UNION ALL SELECT 'deliveries', CAST(endpoint AS TEXT), state, count(*) FROM deliveries"
            " GROUP BY endpoint, state) r USING (what, name, state)"
            " WHERE coalesce(r.number, 0) <> coalesce(c.number, 0)"
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
            " JOIN readable_objects o ON o.api_group = c.api_group AND o.kind = c.kind"
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
# Of two deliveries in a row: what holds for each pair holds for all of them.
_TOO_EARLY = f"""
WITH made AS NOT MATERIALIZED (
    SELECT delivery, attempt, started_us, duration_us FROM attempts WHERE generation = 0
    UNION ALL SELECT id, requests, started_us, duration_us FROM deliveries WHERE generation = 0 AND started_us > 0
)
SELECT d.id, {_D_KEY}, e.id FROM deliveries d CROSS JOIN deliveries e ON e.id = d.previous << 12 | d.endpoint
CROSS JOIN made later ON later.delivery = d.id CROSS JOIN made earlier ON earlier.delivery = e.id
WHERE d.generation = 0 AND later.attempt = 1 AND later.started_us > 0 AND earlier.started_us > 0
AND earlier.started_us + earlier.duration_us > later.started_us + ?"""


def main(path: Path, progress: int | None = None) -> int:
    """Print the violations, report the progress to a descriptor if there is one, and return the exit code."""
    try:
        found = list(findings(path, writer(progress)))
    except errors.StartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines(f"{visible.escaped(line)}\n" for line in found)
    return errors.EXIT_FAILURE if found else errors.EXIT_OK


def writer(progress: int | None) -> Callable[[float], None]:
    """Return a function that writes each thousandth once; a reader that is gone is no reason to stop the check."""
    written = -1

    def write(share: float) -> None:
        nonlocal written, progress
        thousandths = round(1000 * share)
        if progress is None or thousandths <= written:
            return
        written = thousandths
        try:
            os.write(progress, f"{thousandths}\n".encode())
        except OSError:
            progress = None

    return write


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
