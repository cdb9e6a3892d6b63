"""A receiver that rightly refuses some objects, or cleans up by itself: how often it is parked, how long others wait.

Time is simulated, in seconds. Each rule can be left out.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

AFTER, STRANGERS, LATENCY_S = 3, 20, 0.05


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
    sent: int = 0
    restores: int = 0


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
    _interval: float = 1.0

    def play(self, arrivals: list[Event]) -> None:
        """Send events at their times, and look at each second between them that may park or probe."""
        for number, event in enumerate(arrivals):
            self._waiting.append(event)
            self._send_due(event.at)
            following = arrivals[number + 1].at if number + 1 < len(arrivals) else event.at + 1000.0
            self._pass(event.at, following)

    def _pass(self, now: float, until: float) -> None:
        """Do what is due before the next event arrives."""
        if not self.parked and self._row and self._proper_at + 1.0 < until:
            self._look(max(now, self._proper_at + 1.0))
        while self.parked and self._waiting and (at := max(now, self._probe_at())) < until:
            self._probe(at)
            self._send_due(at)

    def _send_due(self, now: float) -> None:
        while not self.parked and self._waiting:
            self._attempt(self._waiting.pop(0), now + LATENCY_S * self.rng.random())

    def _probe_at(self) -> float:
        is_fresh = Rule.FRESH not in self.without and any(not event.sent for event in self._waiting)
        return self._probed_at + (min(self._interval, 30.0) if is_fresh else self._interval)

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
            self._row.append(event)
            self._look(now)

    def _look(self, now: float) -> None:
        objects = {event.object for event in self._row}
        known = objects if Rule.STRANGERS in self.without else objects & self._accepted
        is_enough = len(known) >= AFTER or len(objects) >= STRANGERS
        is_silent = Rule.SILENCE in self.without or now - self._proper_at >= 1.0
        if not (is_enough and is_silent):
            return
        self.parked, self.parks = True, self.parks + 1
        self._probed_at, self._interval = now, 1.0
        for event in self._row:
            if event.restores < 3:
                event.restores += 1
                self._refused.discard(event.object)
                self._waiting.append(event)
        self._row.clear()


def arrivals(rate: float, *, number: int, objects: int, churn: float, seed: int = 1) -> list[Event]:
    """Return events of a receiver that refuses one object in five; `churn` is the share that is of new objects."""
    rng, now, known, made = random.Random(seed), 0.0, [(one, one % 5 != 0) for one in range(objects)], objects
    events = []
    for _ in range(number):
        now += rng.expovariate(rate)
        place = rng.randrange(objects)
        if rng.random() < churn:
            known[place] = made, rng.random() > 0.2
            made += 1
        object_, good = known[place]
        events.append(Event(at=now, object=object_, good=good))
    return events


def deletions(number: int) -> list[Event]:
    """Return the deletions, all at once, of objects that the receiver has removed already, and good events later."""
    gone = [Event(at=2.0, object=one, good=False) for one in range(number)]
    return gone + [Event(at=10.0 * one, object=10_000 + one, good=True) for one in range(1, 200)]
