"""A receiver that rightly refuses some objects, or cleans up by itself: how often it is parked, how long others wait.

Time is simulated, in seconds. `beacon.domain.parking` decides, as in the store; each rule can be left out.
"""

import random
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from beacon.domain import parking

LATENCY_S, STATUS = 0.05, 404
RULES = parking.ParkingRules()
_SILENCE_S = parking.SILENCE_US / 1_000_000


class Rule(StrEnum):
    """A rule of parking that has to do with rightly refused objects."""

    SILENCE = "an endpoint is parked only if no proper answer has come for a second"
    FIRST = "an object counts only with its first refusal since something of it was accepted"
    STRANGERS = "objects of which nothing was accepted count only when 20 are in a row"
    NEWEST = "the newest event that was never sent is the next probe"
    FRESH = "an event that was never sent waits at most 30 s for its probe"


@dataclass(slots=True, kw_only=True)
class Event:
    """One event of an object; `good` objects are accepted."""

    at: float
    object: int
    good: bool
    gone: int = -1  # an object of which no further event comes
    sent: int = 0
    restores: int = 0
    refused_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class Receiver:
    """One endpoint and what the store knows about it."""

    without: Collection[Rule] = ()
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    parks: int = 0
    delays: list[float] = field(default_factory=list)
    parked: bool = False
    _waiting: list[Event] = field(default_factory=list)
    _row: list[Event] = field(default_factory=list)
    _refused: set[int] = field(default_factory=set)
    _accepted: set[int] = field(default_factory=set)
    _proper_at: float = -10.0
    _probed_at: float = 0.0
    _interval: float = parking.FIRST_PROBE_S

    def play(self, arrivals: Iterable[Event]) -> None:
        """Send events at their times, and look at each second between them that may park or probe."""
        now = 0.0
        for event in arrivals:
            self._pass(now, event.at)
            now = event.at
            self._waiting.append(event)
            self._send_due(now)
            self._accepted.discard(event.gone)
            self._refused.discard(event.gone)
        self._pass(now, now + 1000.0)

    def _pass(self, now: float, until: float) -> None:
        """Do what is due before the next event arrives."""
        if not self.parked and self._row and self._proper_at + _SILENCE_S < until:
            self._look(max(now, self._proper_at + _SILENCE_S))
        while self.parked and self._waiting and (at := max(now, self._probe_at())) < until:
            self._probe(at)
            self._send_due(at)

    def _send_due(self, now: float) -> None:
        while not self.parked and self._waiting:
            self._attempt(self._waiting.pop(0), now + LATENCY_S * self.rng.random())

    def _probe_at(self) -> float:
        is_fresh = Rule.FRESH not in self.without and any(not event.sent for event in self._waiting)
        return self._probed_at + (min(self._interval, parking.LONGEST_FRESH_S) if is_fresh else self._interval)

    def _probe(self, now: float) -> None:
        fresh = [event for event in self._waiting if not event.sent]
        newest = fresh[0 if Rule.NEWEST in self.without else -1] if fresh else None
        event = newest or min(self._waiting, key=lambda one: one.sent)
        self._waiting.remove(event)
        self._probed_at, self._interval = now, min(2 * self._interval, 300.0)
        self._attempt(event, now)

    def _attempt(self, event: Event, now: float) -> None:
        event.sent += 1
        if event.good:
            self.delays.append(now - event.at)
            self._accepted.add(event.object)
            self._refused.discard(event.object)
            self._proper_at, self.parked = now, False
            self._row.clear()
        elif self.parked:
            self._waiting.append(event)
        elif Rule.FIRST in self.without or event.object not in self._refused:
            self._refused.add(event.object)
            event.refused_at = now
            self._row.append(event)
            self._look(now)

    def _look(self, now: float) -> None:
        if Rule.SILENCE not in self.without and now - self._proper_at < _SILENCE_S:
            return  # what `park_at_us` would say, for less: nearly every look of a busy receiver ends here
        all_known = Rule.STRANGERS in self.without
        row = [
            parking.RefusedObject(
                key=event.object,
                status=STATUS,
                answered_us=_micros(event.refused_at),
                accepted=all_known or event.object in self._accepted,
            )
            for event in self._row
        ]
        if not parking.is_enough(RULES, row):
            return
        if Rule.SILENCE not in self.without and parking.park_at_us(_micros(self._proper_at), row) > _micros(now):
            return
        self.parked, self.parks = True, self.parks + 1
        self._probed_at, self._interval = now, parking.FIRST_PROBE_S
        for event in self._row:
            if event.restores < parking.MOST_RESTORES:
                event.restores += 1
                self._refused.discard(event.object)
                self._waiting.append(event)
        self._row.clear()


def arrivals(rate: float, *, number: int, objects: int, churn: float, seed: int = 1) -> Iterator[Event]:
    """Return events of a receiver that refuses one object in five; `churn` is the share that is of new objects."""
    rng, now, known, made = random.Random(seed), 0.0, [(one, one % 5 != 0) for one in range(objects)], objects
    for _ in range(number):
        now += rng.expovariate(rate)
        place, gone = int(rng.random() * objects), -1
        if churn and rng.random() < churn:
            gone = known[place][0]
            known[place] = made, rng.random() > 0.2
            made += 1
        object_, good = known[place]
        yield Event(at=now, object=object_, good=good, gone=gone)


def deletions(number: int) -> list[Event]:
    """Return the deletions, all at once, of objects that the receiver has removed already, and good events later."""
    gone = [Event(at=2.0, object=one, good=False) for one in range(number)]
    return gone + [Event(at=10.0 * one, object=10_000 + one, good=True) for one in range(1, 200)]


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
