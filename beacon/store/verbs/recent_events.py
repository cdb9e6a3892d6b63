"""Serves `follow`: recent events and completed requests, by number. Only the latest are kept, and only in memory."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from beacon import codec, wire
from beacon.store.ledger import database, event_notes
from beacon.store.verbs import deliveries, delivery_search

_KEPT = 5000
_AT_ONCE = 100


class RecentEvents:
    """Keeps the latest committed entries."""

    def __init__(self, ledger: database.Database) -> None:
        """Start empty; the details of an entry are read from the ledger."""
        self._ledger = ledger
        self._recent: deque[tuple[int | str, int, int]] = deque(maxlen=_KEPT)
        self._count = 0

    def committed(self, notes: Iterable[object]) -> None:
        """Record the notifications of a committed transaction."""
        for note in notes:
            if isinstance(note, event_notes.EventRecorded):
                self._add((note.id, 0, 0))
            elif isinstance(note, deliveries.Settled):
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

    def _add(self, change: tuple[int | str, int, int]) -> None:
        self._recent.append(change)
        self._count += 1

    def _shown(self, recent: list[tuple[int | str, int, int]]) -> tuple[wire.RecentEvent, ...]:
        """Read the details of the entries; entries whose rows were pruned are left out.

        An event has an entry for each of its deliveries.
        """
        named = codec.encode([one for one, *_ in recent if isinstance(one, str)]).decode()
        of_event: dict[str, list[int]] = {}
        for identity, delivery in self._ledger.rows(
            "SELECT chosen.value, d.id FROM json_each(?) chosen JOIN events e ON e.id = packed(chosen.value)"
            " JOIN deliveries d ON d.id BETWEEN e.sequence << 12 AND e.sequence << 12 | 4095 ORDER BY d.id",
            (named,),
        ):
            of_event.setdefault(identity, []).append(delivery)
        entries = [
            (delivery, generation, attempt)
            for one, generation, attempt in recent
            for delivery in (of_event.get(one, []) if isinstance(one, str) else [one])
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
