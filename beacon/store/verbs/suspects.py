"""Deliveries that may terminate the notifier: counted at its deaths, sent last and alone, cleared by any response.

A request in flight at one death means little: other requests were in flight, too. After `SUSPECTED_AFTER` deaths
without a response in between, its delivery is a suspect. It is leased when nothing else is due or in flight, after a
pause that doubles with each further death, and nothing is leased beside it. So harmless suspects are delivered one by
one, and a harmful one terminates the notifier alone and ever more rarely. No delivery is discarded, and the order per
object is kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from beacon import wire
from beacon.store.ledger import clock, database, packing, session_state

SUSPECTED_AFTER = 3  # deaths without a response in between
_FIRST_PAUSE_S = 5.0  # longer than supervisord's startsecs, so that it keeps restarting the notifier
_PATIENCE_S = 60.0  # after its pause, while others are due; then the others wait until it was sent
_NAMED = 20  # in the statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A suspected delivery, and the instant from which it may be leased."""

    delivery: int
    deaths: int
    not_before_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """The notifier died again with this delivery in flight: for the log, after the commit."""

    delivery: int
    deaths: int
    pause_s: float
    event: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The deliveries that may be leased now: others, or if there are none, this suspect (0: none)."""

    others: bool
    suspect: int = 0


def pause_s(deaths: int) -> float:
    """Return the pause after the given number of deaths."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(deaths - SUSPECTED_AFTER, 20), clock.LONGEST_PAUSE_S)


def turn(suspects: Sequence[Suspect], in_flight: Collection[int], now_us: int, *, probe: bool) -> Turn:
    """Decide which deliveries may be leased; `suspects` are ordered by their deaths.

    A probe is sent whatever else is in flight, so that no suspect delays it.
    """
    if any(one.delivery in in_flight for one in suspects):
        return Turn(others=False)
    due = [one for one in suspects if one.not_before_us <= now_us]
    overdue = any(one.not_before_us + _micros(_PATIENCE_S) <= now_us for one in due) and not probe
    first = due[0].delivery if due and not in_flight else 0
    return Turn(others=not overdue, suspect=first)


def next_turn_us(suspects: Sequence[Suspect], in_flight: Collection[int], now_us: int) -> int | None:
    """Return the instant at which `turn` changes without an event; None: it does not."""
    wait_us = _micros(_PATIENCE_S) if in_flight else 0
    return min((at for one in suspects if (at := one.not_before_us + wait_us) > now_us), default=None)


class Suspects:
    """The table `suspects`; every change is part of the claim's transaction."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger."""
        self._ledger = ledger
        self._state = state
        self._is_empty = False  # known to be; False: not known

    def record(self, claim: wire.Claim, now_us: int) -> None:
        """Count the death that a claim reports, once."""
        for delivery in claim.died_with:
            row = self._ledger.row(
                "SELECT d.generation, s.generation, s.deaths, s.life, e.id, k.kind, k.namespace, k.name"
                " FROM deliveries d CROSS JOIN events e ON e.sequence = d.id >> 12"
                " CROSS JOIN order_keys k ON k.id = d.key CROSS JOIN endpoints p ON p.id = d.endpoint"
                " LEFT JOIN suspects s ON s.delivery = d.id WHERE d.id = ? AND p.name = ? AND d.state = 'ready'",
                (delivery, claim.endpoint),
            )
            if row is not None and row[3] != claim.died:
                self._count(delivery, claim.died, now_us, row)

    def _count(self, delivery: int, life: str, now_us: int, row: database.Row) -> None:
        generation, counted_generation, before, _, event, kind, namespace, name = row
        self._is_empty = False
        deaths = 1 + (before if counted_generation == generation else 0)
        pause = pause_s(deaths)
        self._ledger.run(
            "INSERT INTO suspects (delivery, generation, deaths, life, not_before_us) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (delivery) DO UPDATE SET generation = excluded.generation, deaths = excluded.deaths,"
            " life = excluded.life, not_before_us = excluded.not_before_us",
            (delivery, generation, deaths, life, now_us + _micros(pause)),
        )
        if deaths >= SUSPECTED_AFTER:
            self._state.note(
                Suspected(
                    delivery=delivery,
                    deaths=deaths,
                    pause_s=pause,
                    event=packing.unpacked(event),
                    kind=kind,
                    namespace=namespace,
                    name=name,
                )
            )

    def clear(self, delivery: int) -> None:
        """Clear a delivery: its request ended without terminating the notifier."""
        if self._is_empty:
            return
        self._ledger.run("DELETE FROM suspects WHERE delivery = ?", (delivery,))

    def look(self) -> None:
        """Remember whether there is any row, which is rare: then nothing must be looked up."""
        if not self._is_empty:
            self._is_empty = self._ledger.row("SELECT 1 FROM suspects LIMIT 1") is None

    def of(self, endpoint: str) -> list[Suspect]:
        """Return the open suspected deliveries of an endpoint, those with the fewest deaths first."""
        if self._is_empty:
            return []
        rows = self._ledger.rows(
            f"SELECT s.delivery, s.deaths, s.not_before_us {_OPEN} ORDER BY s.deaths, s.delivery",
            (SUSPECTED_AFTER, endpoint),
        )
        return [Suspect(delivery=row[0], deaths=row[1], not_before_us=row[2]) for row in rows]

    def statistics(self, endpoint: str) -> tuple[wire.SuspectedDelivery, ...]:
        """Return the suspected deliveries for display, those with the most deaths first; at most 20."""
        rows = self._ledger.rows(
            f"SELECT s.delivery, e.id, k.kind, k.namespace, k.name, s.deaths, s.not_before_us {_OPEN}"
            f" ORDER BY s.deaths DESC, s.delivery LIMIT {_NAMED}",
            (SUSPECTED_AFTER, endpoint),
        )
        names = ("delivery", "event", "kind", "namespace", "name", "deaths", "not_before_us")
        shown = [(row[0], packing.unpacked(row[1]), *row[2:]) for row in rows]
        return tuple(wire.SuspectedDelivery(**dict(zip(names, row, strict=True))) for row in shown)


_OPEN = (
    "FROM suspects s CROSS JOIN deliveries d ON d.id = s.delivery AND d.generation = s.generation"
    " CROSS JOIN events e ON e.sequence = d.id >> 12 CROSS JOIN order_keys k ON k.id = d.key"
    " CROSS JOIN endpoints p ON p.id = d.endpoint WHERE s.deaths >= ? AND p.name = ? AND d.state = 'ready'"
)


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
