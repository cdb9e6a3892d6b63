"""What each endpoint has been sent about each object: the tables `order_keys` and `views`.

A view answers without a search whether an event was overtaken, whether it must wait behind another one, and what its
predecessor is. It is written in the transaction of the event or of the settlement that changes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beacon.domain import model
from beacon.store.ledger import database, packing, session_state


@dataclass(slots=True, kw_only=True)
class View:
    """A row of `views`; a UID that is None means that the object is absent. See the schema for the columns."""

    key: int
    endpoint: int
    bucket: int
    written: int = 0
    written_uid: packing.Packed | None = None
    written_value: str | None = None
    accepted: int = 0
    accepted_uid: packing.Packed | None = None
    accepted_value: str | None = None
    open: int = 0
    ready: int = 0


@dataclass(slots=True, kw_only=True)
class Order:
    """An order key with its bucket, and its views once they were read."""

    key: int
    bucket: int
    views: dict[int, View] | None = None  # by endpoint


class Views:
    """Reads and writes views, and promotes deliveries by them."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger, within the service's transaction."""
        self._ledger = ledger
        self._state = state

    def of_order(self, order: Order, endpoints: Sequence[int]) -> list[View]:
        """Return the view of every one of the endpoints; one that does not exist is empty."""
        if order.views is None:
            rows = self._ledger.rows(
                f"SELECT {COLUMNS} FROM views v WHERE v.id BETWEEN ? AND ?",
                (packing.combined(order.key, 0), packing.combined(order.key, packing.LAST_ENDPOINT)),
            )
            order.views = {row[0] & packing.LAST_ENDPOINT: view_of(row, order.bucket) for row in rows}
        known = order.views
        for one in endpoints:
            if one not in known:
                known[one] = View(key=order.key, endpoint=one, bucket=order.bucket)
        return [known[one] for one in endpoints]

    def of_key(self, key: int) -> list[View]:
        """Return the views of a key."""
        rows = self._ledger.rows(
            f"SELECT k.bucket, {COLUMNS} FROM order_keys k CROSS JOIN views v ON {OF_KEY.format(key='k.id')}"
            " WHERE k.id = ?",
            (key,),
        )
        return [view_of(row[1:], row[0]) for row in rows]

    def of_delivery(self, delivery: int) -> View:
        """Return the view that a delivery belongs to."""
        row = self._ledger.row(
            f"SELECT d.key, d.endpoint, coalesce(k.bucket, 0), {COLUMNS} FROM deliveries d"
            " LEFT JOIN order_keys k ON k.id = d.key LEFT JOIN views v ON v.id = d.key << 12 | d.endpoint"
            " WHERE d.id = ?",
            (delivery,),
        )
        key, endpoint, bucket, *rest = row or (0, 0, 0, None)
        return view_of(tuple(rest), bucket) if rest[0] is not None else View(key=key, endpoint=endpoint, bucket=bucket)

    def put(self, view: View) -> None:
        """Write a view."""
        self._ledger.later(_PUT, _values(view), view.key)

    def drop(self, view: View) -> None:
        """Remove a view, and its state from the endpoint's digest."""
        digest = packing.digest_of(view.accepted_uid, view.accepted_value)
        self._state.sums.digest(view.endpoint, view.bucket, by=-digest)
        self._ledger.run("DELETE FROM views WHERE id = ?", (packing.combined(view.key, view.endpoint),))

    def open(self, view: View, delivery: int) -> model.DeliveryState:
        """Count a delivery as open; return its state: it waits if another one of the object is open."""
        view.open += 1
        if view.ready or view.open > 1:
            return model.DeliveryState.QUEUED
        view.ready = delivery
        return model.DeliveryState.READY

    def close(self, view: View, delivery: int, now_us: int) -> None:
        """Count a delivery as no longer open, and promote the object's next one."""
        view.open = max(0, view.open - 1)
        if view.ready == delivery:
            view.ready = 0
        if view.open and not view.ready:
            self._promote(view, now_us)

    def accept(self, view: View, delivery: int) -> None:
        """Record that the endpoint accepted a delivery, unless it accepted a later event of the object before.

        The written state is that of the last event, unless another cluster has made it absent.
        """
        sequence = delivery >> packing.ENDPOINT_BITS
        if sequence <= view.accepted:
            return
        before = packing.digest_of(view.accepted_uid, view.accepted_value)
        view.accepted = sequence
        if view.written == sequence and view.written_uid is not None:
            view.accepted_uid, view.accepted_value = view.written_uid, view.written_value
        else:
            view.accepted_uid, view.accepted_value = self.state_in(sequence)
        after = packing.digest_of(view.accepted_uid, view.accepted_value)
        if before != after:
            self._state.sums.digest(view.endpoint, view.bucket, by=after - before)

    def state_in(self, sequence: int) -> tuple[packing.Packed | None, str | None]:
        """Return the object's state as of an event."""
        row = self._ledger.row(
            "SELECT uid, coalesce(json_extract(data, '$.resource.annotationValue'), '') FROM events"
            " WHERE sequence = ? AND type <> 'deleted'",
            (sequence,),
        )
        return (row[0], row[1]) if row else (None, None)

    def _promote(self, view: View, now_us: int) -> None:
        """Make the object's next delivery ready, in the order of the events; one that was overtaken fails."""
        while following := self._ledger.row(
            "SELECT id, generation, out_of_order FROM deliveries WHERE key = ? AND endpoint = ? AND state = 'queued'"
            " ORDER BY id LIMIT 1",
            (view.key, view.endpoint),
        ):
            delivery, generation, out_of_order = following
            if not generation or out_of_order or not is_overtaken(view, delivery):
                self._ledger.run(
                    "UPDATE deliveries SET state = 'ready', next_attempt_us = ? WHERE id = ?", (now_us, delivery)
                )
                self._state.sums.delivery_moved(view.endpoint, "queued", "ready")
                view.ready = delivery
                return
            self._ledger.run(
                "UPDATE deliveries SET state = 'failed', next_attempt_us = 0, settled_us = ?, reason = ? WHERE id = ?",
                (now_us, OVERTAKEN, delivery),
            )
            self._state.sums.delivery_moved(view.endpoint, "queued", "failed")
            view.open -= 1


OVERTAKEN = "a later event of the object has been delivered"
COLUMNS = (
    "v.id, v.written, v.written_uid, v.written_value, v.accepted, v.accepted_uid, v.accepted_value, v.open, v.ready"
)
_PUT = "INSERT OR REPLACE INTO views VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
OF_KEY = "v.id BETWEEN {key} << 12 AND {key} << 12 | 4095"


def is_overtaken(view: View, delivery: int) -> bool:
    """Return True if the endpoint has accepted a later event of the object."""
    return view.accepted > delivery >> packing.ENDPOINT_BITS


def _values(view: View) -> database.Values:
    return (
        packing.combined(view.key, view.endpoint),
        view.written,
        view.written_uid,
        view.written_value,
        view.accepted,
        view.accepted_uid,
        view.accepted_value,
        view.open,
        view.ready,
    )


def view_of(row: database.Row, bucket: int) -> View:
    """Return the view in a row of `COLUMNS`."""
    return View(
        key=row[0] >> packing.ENDPOINT_BITS,
        endpoint=row[0] & packing.LAST_ENDPOINT,
        bucket=bucket,
        written=row[1],
        written_uid=row[2],
        written_value=row[3],
        accepted=row[4],
        accepted_uid=row[5],
        accepted_value=row[6],
        open=row[7],
        ready=row[8],
    )


def order_of(key: int, bucket: int, rows: Iterable[database.Row]) -> Order:
    """Return an order key with its views from rows of `COLUMNS`, whose columns are NULL where there is no view."""
    found = [view_of(row, bucket) for row in rows if row[0] is not None]
    return Order(key=key, bucket=bucket, views={view.endpoint: view for view in found})


class OrderKeys:
    """The table `order_keys`."""

    def __init__(self, ledger: database.Database) -> None:
        """Work on the given ledger."""
        self._ledger = ledger

    def find(self, group: str, kind: str, namespace: str, name: str) -> Order | None:
        """Return the order key of an object, None if the ledger knows no object of that name."""
        place = (group, kind, namespace, name)
        if self._ledger.is_touched(place):
            self._ledger.write_later()
        rows = self._ledger.rows_beside(
            "SELECT id, bucket FROM order_keys WHERE api_group = ? AND kind = ? AND namespace = ? AND name = ?", place
        )
        return Order(key=rows[0][0], bucket=rows[0][1]) if rows else None

    def create(self, group: str, kind: str, namespace: str, name: str) -> Order:
        """Write the order key of an object that has none."""
        bucket = packing.bucket_of(group, kind, namespace, name)
        key = self._ledger.next_number("order_keys", "SELECT coalesce(max(id), 0) FROM order_keys")
        self._ledger.later(_INSERT_KEY, (key, group, kind, namespace, name, bucket), (group, kind, namespace, name))
        self._ledger.touch(key)
        return Order(key=key, bucket=bucket, views={})


_INSERT_KEY = "INSERT INTO order_keys (id, api_group, kind, namespace, name, bucket) VALUES (?, ?, ?, ?, ?, ?)"
