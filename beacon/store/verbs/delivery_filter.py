"""Finds the deliveries that a filter matches, a bounded number of rows at a time, so that writers do not wait."""

from dataclasses import dataclass

from beacon import codec, wire
from beacon.domain import model
from beacon.store.ledger import database, packing


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedDeliveries:
    """Ids of deliveries, in the requested order. Continue with `after`; none are left when `more` is false."""

    deliveries: tuple[int, ...]
    after: int
    more: bool


def find(
    ledger: database.Database,
    selection: wire.DeliveryFilter,
    *,
    after: int,
    scan: int,
    limit: int,
    newest_first: bool = False,
) -> SelectedDeliveries:
    """Scan the next `scan` deliveries after the id `after`, and return the matching ones, at most `limit`.

    `newest_first` scans down from `after`, or from the end if that is 0.
    """
    condition, values = _condition(selection)
    where, narrowed = _narrowed(selection)
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    start = model.MAX_INTEGER if newest_first and after <= 0 else max(0, min(after, model.MAX_INTEGER))
    rows = ledger.rows(
        f"SELECT d.id, {condition} FROM deliveries d JOIN events e ON e.sequence = d.id >> 12"
        " JOIN order_keys k ON k.id = d.key"
        f" WHERE d.id {beyond} ? AND {where} ORDER BY d.id {order} LIMIT ?",
        (*values, start, *narrowed, scan),
    )
    meant = [delivery for delivery, is_meant in rows if is_meant]
    if len(meant) > limit:
        return SelectedDeliveries(deliveries=tuple(meant[:limit]), after=meant[limit - 1], more=True)
    return SelectedDeliveries(deliveries=tuple(meant), after=rows[-1][0] if rows else after, more=len(rows) == scan)


def _narrowed(selection: wire.DeliveryFilter) -> tuple[str, tuple[str, ...]]:
    """Return a condition that limits the scan to rows found by an index."""
    if not selection.ids:
        return "1", ()
    return (
        (
            "d.id IN (SELECT n.id FROM json_each(?) j CROSS JOIN events i ON i.id = packed(j.value)"
            " CROSS JOIN deliveries n ON n.id BETWEEN i.sequence << 12 AND i.sequence << 12 | 4095)"
        ),
        (codec.encode(selection.ids).decode(),),
    )


def _condition(selection: wire.DeliveryFilter) -> tuple[str, list[str | int | bytes]]:
    """Render the filter as an expression that is 1 for matching rows."""
    terms: list[tuple[str, str | int | bytes]] = []
    if selection.states:
        terms.append(("d.state IN (SELECT value FROM json_each(?))", codec.encode(selection.states).decode()))
    if selection.types:
        terms.append(("e.type IN (SELECT value FROM json_each(?))", codec.encode(selection.types).decode()))
    if selection.namespace is not None:
        terms.append(("k.namespace = ?", selection.namespace))
    exact = (("k.kind", selection.kind), ("k.name", selection.name), ("e.uid", packing.packed(selection.uid or "")))
    terms += [(f"{column} = ?", wanted) for column, wanted in exact if wanted]
    if selection.endpoint:
        terms.append(("d.endpoint = (SELECT p.id FROM endpoints p WHERE p.name = ?)", selection.endpoint))
    if selection.since_us:
        terms.append(("e.detected_us >= ?", selection.since_us))
    if selection.until_us:
        terms.append(("e.detected_us < ?", selection.until_us))
    return " AND ".join(sql for sql, _ in terms) or "1", [value for _, value in terms]
