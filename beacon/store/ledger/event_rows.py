"""Events and their deliveries, numbered here and written together with others of the transaction.

Whether an event has the id of an earlier one shows only when it is written: then the transaction is applied again with
a look-up for each event, see `SessionState.is_careful`.
"""

from beacon.domain import model
from beacon.store.ledger import database, packing, session_state, views


class EventRows:
    """Writes rows of `events` and `deliveries`."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger, within the service's transaction."""
        self._ledger = ledger
        self._state = state
        self._views = views.Views(ledger, state)

    def next_sequence(self) -> int:
        """Return the sequence of the next event, which must be added."""
        return self._ledger.next_number("events", _LAST_SEQUENCE)

    def add(self, sequence: int, key: int, content: database.Values, *, endpoint: int = 0) -> None:
        """Write an event; `content` are the other columns, `endpoint` is the one that it is for alone."""
        self._ledger.later(_INSERT_EVENT, (sequence, key, endpoint, *content), key)

    def queue(
        self,
        view: views.View,
        sequence: int,
        after: tuple[packing.Packed | None, str | None],
        now_us: int,
        *,
        background: bool = False,
    ) -> model.DeliveryState:
        """Write the delivery of an event, and its view; `after` is the UID and the value of the object then.

        Only what may be sent at once yields to others: a queued delivery goes with the live ones.
        """
        delivery = packing.combined(sequence, view.endpoint)
        target = self._views.open(view, delivery)
        yields = background and target is model.DeliveryState.READY
        values = (delivery, view.endpoint, view.key, view.written, target, now_us, int(yields))
        self._ledger.later(_INSERT_DELIVERY, values, view.key)
        self._state.sums.delivery_moved(view.endpoint, None, target)
        view.written = sequence
        view.written_uid, view.written_value = after
        self._views.put(view)
        return target


CONTENT = "id, uid, api_version, type, cause, source, detected_us, committed_us, data"
_LAST_SEQUENCE = (
    "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),"
    " coalesce((SELECT max(sequence) FROM events), 0))"
)
_INSERT_EVENT = f"INSERT INTO events (sequence, key, endpoint, {CONTENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_DELIVERY = (
    "INSERT INTO deliveries (id, endpoint, key, previous, state, next_attempt_us, background)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
