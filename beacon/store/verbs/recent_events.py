"""Serves `follow`: recent events and completed requests, by number. Only the latest are kept, and only in memory."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from beacon import codec, wire
from beacon.store.ledger import database, event_notes
from beacon.store.verbs import delivery_search, settlements

_KEPT = 5000
_AT_ONCE = 100
_EVENT = -1  # instead of a generation: the number is the sequence of an event
_Entry = tuple[int, int, int]  # delivery, generation, attempt


class RecentEvents:
    """Keeps the latest committed entries."""

    def __init__(self, ledger: database.Database) -> None:
        """Start empty; the details of an entry are read from the ledger."""
        self._ledger = ledger
        self._recent: deque[_Entry] = deque(maxlen=_KEPT)
        self._count = 0

    def committed(self, notes: Iterable[object]) -> None:
        """Record the notifications of a committed transaction."""
        for note in notes:
            if isinstance(note, event_notes.EventRecorded):
                self._add((note.sequence, _EVENT, 0))
            elif isinstance(note, settlements.Settled):
                self._add((note.delivery, note.generation, note.attempt))

    def page(self, request: wire.Follow) -> wire.RecentEventPage:
        """Return the entries after a number, some at a time."""
        if request.after < 0 or request.after > self._count:
            return wire.RecentEventPage(happenings=(), after=self._count, anew=request.after > self._count)
        first = self._count - len(self._recent)
        start = max(request.after, first)
        recent = list(islice(self._recent, start - first, start - first + _AT_ONCE))
        return wire.RecentEventPage(
            happenings=self._shown(recent), after=start + len(recent), missed=max(0, start - request.after)
        )

    def _add(self, change: _Entry) -> None:
        self._recent.append(change)
        self._count += 1

    def _shown(self, recent: list[_Entry]) -> tuple[wire.RecentEvent, ...]:
        """Read the details of the entries; entries whose rows were pruned are left out.

        An event has an entry for each of its deliveries.
        """
        chosen = [number for number, generation, _ in recent if generation == _EVENT]
        of_event: dict[int, list[int]] = {}
        for sequence, delivery in self._ledger.rows(
            "SELECT chosen.value, d.id FROM json_each(?) chosen"
            " CROSS JOIN deliveries d ON d.id BETWEEN chosen.value << 12 AND chosen.value << 12 | 4095 ORDER BY d.id",
            (codec.encode(chosen).decode(),),
        ):
            of_event.setdefault(sequence, []).append(delivery)
        entries = [
            (delivery, max(0, generation), attempt)
            for number, generation, attempt in recent
            for delivery in (of_event.get(number, []) if generation == _EVENT else [number])
        ]
        read = delivery_search.read(self._ledger, [delivery for delivery, *_ in entries])
        listed = {one.delivery: one for one in read}
        return tuple(
            self._recent_event(listed[delivery], generation, attempt)
            for delivery, generation, attempt in entries
            if delivery in listed
        )

    def _recent_event(self, of: wire.DeliverySummary, generation: int, attempt: int) -> wire.RecentEvent:
        row = attempt and self._ledger.row(
            "SELECT started_us, duration_us, code, error FROM readable_attempts"
            " WHERE delivery = ? AND generation = ? AND attempt = ?",
            (of.delivery, generation, attempt),
        )
        if not row:
            return wire.RecentEvent(of=of, generation=generation, attempt=attempt)
        started_us, duration_us, code, error = row
        return wire.RecentEvent(
            of=of,
            generation=generation,
            attempt=attempt,
            started_us=started_us,
            duration_us=duration_us,
            code=code,
            error=error,
        )
