"""Finds the deliveries that a selection means, a bounded number of rows at a time: no writer waits for a question."""

from dataclasses import dataclass

from beacon import codec, wire
from beacon.store import database

_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedDeliveries:
    """Ids of deliveries, in the order asked for. Go on with `after`; nothing is left when `more` is false."""

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
    """Look at the next `look` deliveries beyond the id `after`, and give those that are meant, `most` of them.

    `newest_first` walks down from `after`, or from the end when that is 0.
    """
    condition, values = _condition(selection)
    where, narrowed = _narrowed(selection)
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    start = _LAST if newest_first and after <= 0 else max(0, min(after, _LAST))
    rows = ledger.rows(
        f"SELECT d.id, {condition} FROM deliveries d JOIN events e USING (sequence)"
        f" WHERE d.id {beyond} ? AND {where} ORDER BY d.id {order} LIMIT ?",
        (*values, start, *narrowed, scan),
    )
    meant = [delivery for delivery, is_meant in rows if is_meant]
    if len(meant) > limit:
        return SelectedDeliveries(deliveries=tuple(meant[:limit]), after=meant[limit - 1], more=True)
    return SelectedDeliveries(deliveries=tuple(meant), after=rows[-1][0] if rows else after, more=len(rows) == scan)


def _narrowed(selection: wire.DeliveryFilter) -> tuple[str, tuple[str, ...]]:
    """Say which rows need not even be looked at, where an index knows them."""
    if not selection.ids:
        return "1", ()
    return (
        "d.sequence IN (SELECT sequence FROM events WHERE id IN (SELECT value FROM json_each(?)))",
        (codec.encode(selection.ids).decode(),),
    )


def _condition(selection: wire.DeliveryFilter) -> tuple[str, list[str | int]]:
    """Render the filters as an expression that is 1 for what is meant."""
    terms: list[tuple[str, str | int]] = []
    if selection.states:
        terms.append(("d.state IN (SELECT value FROM json_each(?))", codec.encode(selection.states).decode()))
    if selection.types:
        terms.append(("e.type IN (SELECT value FROM json_each(?))", codec.encode(selection.types).decode()))
    if selection.namespace is not None:
        terms.append(("e.namespace = ?", selection.namespace))
    for column, wanted in (("kind", selection.kind), ("name", selection.name), ("uid", selection.uid)):
        if wanted:
            terms.append((f"e.{column} = ?", wanted))
    if selection.since_us:
        terms.append(("e.detected_us >= ?", selection.since_us))
    if selection.until_us:
        terms.append(("e.detected_us < ?", selection.until_us))
    return " AND ".join(sql for sql, _ in terms) or "1", [value for _, value in terms]
