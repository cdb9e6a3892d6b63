"""Serves `find` and `count-failed`: deliveries with their events, for display, a bounded number of rows at a time."""

from collections.abc import Iterator, Sequence

from beacon import codec, wire
from beacon.domain import model
from beacon.store.ledger import database, packing
from beacon.store.verbs import delivery_filter

_SCANNED_ROWS = 2000  # rows that are scanned: one or two milliseconds
_MOST_IDS = 10
_LAST = "\U0010ffff"  # sorts behind every other character
_EVENT_IDS = "SELECT id FROM events WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
_UIDS = "SELECT uid FROM objects WHERE uid >= ? AND uid <= ? ORDER BY uid LIMIT ?"
_PAGE_ROWS = 100  # rows that are returned: each costs more than twenty that are only scanned


def page(ledger: database.Database, request: wire.FindDeliveries) -> wire.DeliveryPage:
    """Return the matching deliveries among the next rows; a page may be empty although more follow."""
    found = delivery_filter.find(
        ledger,
        request.selection,
        after=request.after,
        scan=_SCANNED_ROWS,
        limit=_PAGE_ROWS,
        newest_first=request.newest_first,
    )
    listed = {one.delivery: one for one in read(ledger, found.deliveries)}
    return wire.DeliveryPage(
        deliveries=tuple(listed[delivery] for delivery in found.deliveries), after=found.after, more=found.more
    )


def count_failed(ledger: database.Database, request: wire.CountFailed) -> wire.FailedCounts:
    """Count the failed deliveries among the next rows by code."""
    after = max(0, min(request.after, model.MAX_INTEGER))
    rows = ledger.rows(
        "SELECT max(id), count(*), sum(chosen), code FROM (SELECT id, code, state = 'failed' AND endpoint ="
        " (SELECT p.id FROM endpoints p WHERE p.name = ?) AS chosen FROM deliveries WHERE id > ? ORDER BY id LIMIT ?)"
        " GROUP BY CASE WHEN chosen THEN code END",
        (request.endpoint, after, _SCANNED_ROWS),
    )
    return wire.FailedCounts(
        counts={code: failed for _, _, failed, code in rows if failed},
        after=max((last for last, *_ in rows), default=after),
        more=sum(count for _, count, *_ in rows) == _SCANNED_ROWS,
    )


def ids(ledger: database.Database, request: wire.FindIds) -> wire.FoundIds:
    """Return the first ids that begin with the prefix, by index seeks."""
    found: set[str] = set()
    for wanted, sql in ((request.events, _EVENT_IDS), (request.objects, _UIDS)):
        for low, high in _ranges(request.prefix) if wanted else ():
            found |= {packing.unpacked(one) for (one,) in ledger.rows(sql, (low, high, _MOST_IDS + 1))}
    return wire.FoundIds(ids=tuple(sorted(found)[:_MOST_IDS]), more=len(found) > _MOST_IDS)


def _ranges(prefix: str) -> Iterator[tuple[packing.Packed, packing.Packed]]:
    """Yield the ranges of the stored ids that begin with a prefix: of those that are stored as text, and of UUIDs."""
    yield prefix, prefix + _LAST
    uuids = packing.packed_range(prefix)
    if uuids is not None:
        yield uuids


def read(ledger: database.Database, deliveries: Sequence[int]) -> list[wire.DeliverySummary]:
    """Read these deliveries, in any order; missing ones are left out."""
    return [_listed(row) for row in ledger.rows(_WHOLE, (codec.encode(deliveries).decode(),))]


def _listed(row: database.Row) -> wire.DeliverySummary:
    return wire.DeliverySummary(
        delivery=row[0],
        generation=row[1],
        state=model.DeliveryState(row[2]),
        endpoint=row[3],
        sequence=row[4],
        event_id=packing.unpacked(row[5]),
        type=model.EventType(row[6]),
        cause=row[7],
        source=row[8],
        group=row[9],
        kind=row[10],
        namespace=row[11],
        name=row[12],
        uid=packing.unpacked(row[13]),
        detected_us=row[14],
        attempts=row[15],
        requests=row[16],
        next_attempt_us=row[17],
        settled_us=row[18],
        code=row[19],
        error=row[20],
        reason=row[21],
        restores=row[22],
    )


_WHOLE = (
    "SELECT d.id, d.generation, d.state, p.name, e.sequence, e.id, e.type, e.cause, e.source, k.api_group, k.kind,"
    " k.namespace, k.name, e.uid, e.detected_us, d.attempts, d.requests, d.next_attempt_us, d.settled_us, d.code,"
    " d.error, d.reason, d.restores FROM json_each(?) chosen JOIN deliveries d ON d.id = chosen.value"
    " JOIN events e ON e.sequence = d.id >> 12 JOIN order_keys k ON k.id = d.key JOIN endpoints p ON p.id = d.endpoint"
)
