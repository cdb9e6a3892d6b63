"""Serves `find`: deliveries with their events, for display, a bounded number of rows at a time."""

from collections.abc import Sequence

from beacon import codec, wire
from beacon.domain import model
from beacon.store import database, delivery_filter, packing

_SCANNED_ROWS = 2000  # rows that are scanned: one or two milliseconds
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
    )


_WHOLE = (
    "SELECT d.id, d.generation, d.state, p.name, e.sequence, e.id, e.type, e.cause, e.source, k.api_group, k.kind,"
    " k.namespace, k.name, e.uid, e.detected_us, d.attempts, d.requests, d.next_attempt_us, d.settled_us, d.code,"
    " d.error, d.reason FROM json_each(?) chosen JOIN deliveries d ON d.id = chosen.value"
    " JOIN events e ON e.sequence = d.id >> 12 JOIN order_keys k ON k.id = d.key JOIN endpoints p ON p.id = d.endpoint"
)
