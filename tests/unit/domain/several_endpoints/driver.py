"""Random histories of the model: a cluster, other configurations, kills, operators; then quiet, and the proof.

`play` runs one seed. Each seed uses only some of the kinds of steps, so that short histories with few of them occur.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from tests.unit.domain.several_endpoints.ledger import TYPES, Config, Endpoint, Ledger, Settlement
from tests.unit.domain.several_endpoints.receivers import Receiver, Request, State, Violation
from tests.unit.domain.several_endpoints.rules import Rule

KEYS = ("x", "y", "z")
NAMES = ("a", "b", "c")
URLS = ("https://one", "https://two")
SOME_TYPES = (
    TYPES,
    TYPES,
    frozenset({"created", "deleted"}),
    frozenset({"created"}),
    frozenset({"updated", "deleted"}),
)
WINDOW = 2
LONGEST_END = 400


@dataclass(frozen=True)
class Line:
    """A line of the cluster's log: what a key is from then on."""

    key: str
    object: State | None
    accepted: bool


@dataclass
class Flight:
    """A request under way. `result` is the endpoint's answer, None until it has one."""

    number: int
    generation: int
    ordinal: int
    request: Request
    result: str | None = None


@dataclass
class Notifier:
    """What dies with the process: its requests and settlements that are not acknowledged."""

    flights: list[Flight] = field(default_factory=list)
    unacknowledged: list[Settlement] = field(default_factory=list)

    def held(self) -> set[tuple[int, int]]:
        return {(one.number, one.request.sequence) for one in self.flights} | {
            (one.number, one.sequence) for one in self.unacknowledged
        }


class Driver:
    """One history. `faults` are the kinds of faults and changes that occur, some more often; random if empty."""

    def __init__(self, seed: int, without: Collection[Rule] = (), faults: Collection[str] = ()) -> None:
        self.random = random.Random(seed)
        self.ledger = Ledger(KEYS, without)
        self.notifier = Notifier()
        self.receivers: dict[str, Receiver] = {}
        self.truth: dict[str, Line] = {}
        self.log: list[Line] = []
        self.cursor = 0
        self.listing: tuple[int, list[Line]] | None = None
        self.uids = 0
        self.down: set[str] = set()
        self.faults = tuple(faults) or tuple(name for name in FAULTS if self.random.random() < 0.45)
        self.config = Config((self._endpoint("a"),))
        self._restart_with(self.config)

    # The history

    def play(self) -> None:
        """Run the history, then let everything become quiet.

        Raises:
            Violation: an invariant does not hold.
        """
        names = [*_USUAL, *(name for name in self.faults if name in _STEPS)]
        steps: list[Callable[[], None]] = [getattr(self, f"_{name}") for name in names]
        for _ in range(self.random.randint(10, 60)):
            self.random.choice(steps)()
        self._end_with_one_down()
        self._end()

    def _end_with_one_down(self) -> None:
        """Make one endpoint hang: the others get everything."""
        self._resume_all()
        live = self.ledger.configured()
        if len(live) > 1:
            self.down = {self.ledger.rows[self.random.choice(sorted(live))].name}
            self._settle_down(lambda: all(self.ledger.rows[number].name in self.down for number in self._busy()))
            self._check_all()
        self.down = set()

    def _end(self) -> None:
        if self.random.random() < 0.8:
            names = [one.name for one in self.config.endpoints] if self.random.random() < 0.5 else NAMES
            ends = [one for one in (self._last_known(name) for name in names) if one]
            self._restart_with(Config(tuple(ends) or self.config.endpoints))
        self._resume_all()
        self._settle_down(lambda: not self._busy())
        self._check_all()
        self._check_nothing_is_written_again()

    def _last_known(self, name: str) -> Endpoint | None:
        rows = [row for row in self.ledger.rows.values() if row.name == name]
        return replace(rows[0].settings, keys=frozenset(KEYS), types=TYPES) if rows else None

    def _settle_down(self, is_quiet: Callable[[], bool]) -> None:
        for _ in range(LONGEST_END):
            if self.cursor == len(self.log) and self.ledger.positioned and is_quiet() and not self._live_flights():
                return
            self._deliver()
        raise Violation("it does not become quiet")

    def _live_flights(self) -> bool:
        live = [one for one in self.notifier.flights if self.ledger.rows[one.number].name not in self.down]
        return bool(live or self.notifier.unacknowledged)

    def _busy(self) -> set[int]:
        live = self.ledger.configured()
        owed = {number for number, row in live.items() if row.owed}
        waiting = {
            number
            for (number, _), one in self.ledger.deliveries.items()
            if number in live and one.state in ("ready", "leased")
        }
        return owed | waiting

    # The cluster and the watcher

    def _change(self) -> None:
        key = self.random.choice(KEYS)
        old = self.truth.get(key)
        held = old.object if old else None
        self.uids += 1
        if held is None:
            line = Line(key, (f"u{self.uids}", self.uids), accepted=True)
        else:
            choices = [
                Line(key, (held[0], self.uids), accepted=True),
                Line(key, (f"u{self.uids}", self.uids), accepted=True),
                Line(key, held, accepted=not (old and old.accepted)),
                Line(key, None, accepted=False),
            ]
            line = self.random.choice(choices)
            if line.object is None or line.object[0] != held[0] or not line.accepted:
                self.ledger.ended.add(held[0])
        self.truth[key] = line
        self.log.append(line)

    def _watch(self) -> None:
        if self.ledger.positioned and self.cursor < len(self.log):
            line = self.log[self.cursor]
            self.ledger.observe(line.key, line.object, accepted=line.accepted)
            self.cursor += 1

    def _list(self) -> None:
        """Apply one page of a list, which shows all keys as they were when it began."""
        if self.ledger.positioned:
            return
        if self.listing is None:
            pages = [self.truth.get(key, Line(key, None, accepted=False)) for key in KEYS]
            self.random.shuffle(pages)
            self.listing = (len(self.log), pages)
        position, pages = self.listing
        if pages:
            line = pages.pop()
            self.ledger.observe(line.key, line.object, accepted=line.accepted)
        else:
            self.cursor, self.ledger.positioned, self.listing = position, True, None

    def _page(self) -> None:
        owing = [(number, key) for number, row in self.ledger.configured().items() for key in sorted(row.owed)]
        if owing:
            self.ledger.catch_up(*self.random.choice(owing))

    # The notifier

    def _claim(self) -> None:
        under_way = [one.number for one in self.notifier.flights]
        own = self.ledger.obeys(Rule.OWN_WINDOW)
        free = [
            number
            for number in self.ledger.open_rows()
            if (under_way.count(number) if own else len(under_way)) < WINDOW
        ]
        if free:
            number = self.random.choice(free)
            sequence = self.random.choice(self.ledger.leasable(number))
            delivery = self.ledger.deliveries[number, sequence]
            request = self.ledger.lease(number, sequence)
            self.notifier.flights.append(Flight(number, delivery.generation, delivery.requests + 1, request))
            if self.ledger.rows[number].receiver.paused:
                raise Violation(f"a request was begun to {self.ledger.rows[number].name}, which is paused")

    def _arrive(self) -> None:
        """Deliver a request to its endpoint, which accepts or refuses it."""
        waiting = [one for one in self.notifier.flights if one.result is None and self._name(one) not in self.down]
        if not waiting:
            return
        flight = self.random.choice(waiting)
        receiver = self.ledger.rows[flight.number].receiver
        new = flight.request.sequence not in receiver.received
        if new and "refuse" in self.faults and self.random.random() < 0.25:
            flight.result = "failed"
        else:
            receiver.receive(flight.request)
            receiver.unanswered.discard(flight.request.sequence)
            flight.result = "delivered"

    def _name(self, flight: Flight) -> str:
        return self.ledger.rows[flight.number].name

    def _answer(self) -> None:
        """Return an answer to the notifier, in any order."""
        answered = [one for one in self.notifier.flights if one.result]
        if answered:
            flight = self.random.choice(answered)
            self._finish(flight, flight.result or "retry")

    def _finish(self, flight: Flight, result: str) -> None:
        self.notifier.flights.remove(flight)
        self.notifier.unacknowledged.append(
            Settlement(flight.number, flight.request.sequence, flight.generation, flight.ordinal, result)
        )

    def _settle(self) -> None:
        """Commit a settlement; sometimes its acknowledgement is lost, so that it is sent again."""
        if self.notifier.unacknowledged:
            one = self.random.choice(self.notifier.unacknowledged)
            self.ledger.settle(one)
            if self.random.random() < 0.7:
                self.notifier.unacknowledged.remove(one)

    def _lose(self) -> None:
        """Lose an answer, or a request before it arrives: it is tried again."""
        if self.notifier.flights:
            flight = self.random.choice(self.notifier.flights)
            self._is_unanswered(flight)
            self._finish(flight, "retry")

    def _is_unanswered(self, flight: Flight) -> None:
        if flight.result == "delivered":
            self.ledger.rows[flight.number].receiver.unanswered.add(flight.request.sequence)

    def _kill_notifier(self) -> None:
        for flight in self.notifier.flights:
            self._is_unanswered(flight)
        for one in self.notifier.unacknowledged:
            if one.result == "delivered" and one.number in self.ledger.rows:
                self.ledger.rows[one.number].receiver.unanswered.add(one.sequence)
        self.notifier = Notifier()
        self.ledger.new_session()

    def _kill_store(self) -> None:
        """Restart the store: leases and running lists are forgotten, and requests that were not applied."""
        self.listing = None
        self.ledger.store_restarted(self.notifier.held())
        if not self.ledger.obeys(Rule.KEPT_SETTLEMENT):
            self.notifier.unacknowledged.clear()
        if not self.ledger.obeys(Rule.PAUSE_STORED):
            for row in self.ledger.rows.values():
                row.paused = False

    def _deliver(self) -> None:
        """Run the watcher and the notifier for a while without a fault."""
        steps = (self._watch, self._list, self._page, self._claim, self._arrive, self._answer, self._settle)
        for _ in range(self.random.choice((5, 20, 100))):
            self.random.choice(steps)()

    # Restarts

    def _restart(self) -> None:
        """Restart with another configuration."""
        names = self.random.sample(NAMES, self.random.choice((1, 1, 2, 3)))
        known = {one.name: one for one in self.config.endpoints}
        entries = [self._endpoint(name, known.get(name)) for name in names]
        updates = self.random.random() < 0.7 if "updates" in self.faults else True
        excluded = (
            frozenset(self.random.sample(KEYS, 1))
            if "rule" in self.faults and self.random.random() < 0.5
            else frozenset()
        )
        self._restart_with(Config(tuple(entries), updates, excluded))

    def _endpoint(self, name: str, before: Endpoint | None = None) -> Endpoint:
        if before and self.random.random() < 0.5:
            return before
        url = self.random.choice(URLS) if "urls" in self.faults else URLS[0]
        keys = self.random.sample(KEYS, self.random.choice((1, 2, 3, 3))) if "selection" in self.faults else KEYS
        types = self.random.choice(SOME_TYPES) if "types" in self.faults else TYPES
        return Endpoint(name, url, frozenset(keys), types, "now" in self.faults and self.random.random() < 0.5)

    def _restart_with(self, config: Config) -> None:
        self._kill_notifier()
        self._kill_store()
        self._move_receivers(config)
        self.config = config
        self.ledger.start(config, self.receivers)

    def _move_receivers(self, config: Config) -> None:
        """Find the receivers behind the names: a renamed endpoint is the same receiver, a new name is a new one."""
        before = list(self.ledger.configured().values())
        for one in config.endpoints:
            if one.name in self.receivers:
                continue
            renamed = len(before) == len(config.endpoints) == 1 and before[0].url == one.url
            self.receivers[one.name] = self.receivers.pop(before[0].name) if renamed else Receiver()

    # Operators, retention, damage

    def _pause(self) -> None:
        row = self.random.choice(list(self.ledger.configured().values()))
        row.paused = row.receiver.paused = True

    def _resume_all(self) -> None:
        for row in self.ledger.rows.values():
            row.paused = row.receiver.paused = False

    def _redeliver(self) -> None:
        failed = [place for place, one in self.ledger.deliveries.items() if one.state == "failed"]
        if failed:
            self.ledger.redeliver(*self.random.choice(sorted(failed)))

    def _discard(self) -> None:
        failed = [place for place, one in self.ledger.deliveries.items() if one.state == "failed"]
        if failed:
            self.ledger.discard(*self.random.choice(sorted(failed)))

    def _discard_removed(self) -> None:
        for number, row in self.ledger.rows.items():
            if row.removed_day is not None:
                self.ledger.discard_removed(number)

    def _prune(self) -> None:
        self.ledger.day += self.random.choice((1, 1, 40))
        over = {row.name for number, row in self.ledger.rows.items() if self._may_go(number)}
        self.ledger.prune()
        for name in over:
            del self.receivers[name]

    def _may_go(self, number: int) -> bool:
        removed = self.ledger.rows[number].removed_day
        states = [one.state for (owner, _), one in self.ledger.deliveries.items() if owner == number]
        settled = all(state in ("delivered", "discarded") for state in states)
        return removed is not None and self.ledger.day - removed >= 30 and settled

    def _rescue(self) -> None:
        self._kill_notifier()
        self._kill_store()
        objects = [uid for uid in self.ledger.objects if self.random.random() < 0.4]
        views = [place for place in self.ledger.views if self.random.random() < 0.3]
        lost = {view for view in views if self.random.random() < 0.5}
        deliveries = [place for place, one in self.ledger.deliveries.items() if (place[0], one.key) in lost]
        self.ledger.rescue(objects, views, deliveries)

    # The proof

    def _check_all(self) -> None:
        for number, row in self.ledger.configured().items():
            if row.name not in self.down:
                self._check_set(number)

    def _check_set(self, number: int) -> None:
        """Compare what a receiver holds with the tracked objects."""
        row = self.ledger.rows[number]
        if not {"created", "deleted"} <= row.settings.types:
            return
        for key in sorted(row.settings.keys - self.ledger.excluded):
            if key in row.receiver.lacks or self.ledger.is_unmanaged(key):
                continue
            line = self.truth.get(key)
            exists = line.object if line and line.accepted else None
            self._check_key(row.receiver, key, exists, values=self.ledger.updates and "updated" in row.settings.types)

    def _check_key(self, receiver: Receiver, key: str, exists: State | None, *, values: bool) -> None:
        held = receiver.holds.get(key)
        if exists is None:
            if held is not None and key not in receiver.unsure:
                raise Violation(f"a receiver holds {key} {held}, which is gone")
        elif held is None:
            if exists[0] not in receiver.withheld:
                raise Violation(f"a receiver lacks {key} {exists}")
        elif held[0] != exists[0] or (values and held[1] != exists[1]):
            raise Violation(f"a receiver holds {key} {held}, and {exists} exists")

    def _check_nothing_is_written_again(self) -> None:
        """Restart unchanged, then narrow the selection and widen it again: nothing may be written."""
        self.ledger.written.clear()
        whole = self.config
        narrow = tuple(replace(one, keys=one.keys - {"x"}) for one in whole.endpoints)
        for config in (whole, replace(whole, endpoints=narrow), whole):
            self._restart_with(config)
            self._settle_down(lambda: not self._busy())
        if self.ledger.written:
            raise Violation(f"written though nothing changed: {self.ledger.written}")


_USUAL = (
    "change",
    "change",
    "watch",
    "watch",
    "list",
    "page",
    "claim",
    "arrive",
    "answer",
    "settle",
    "deliver",
    "deliver",
)
_STEPS = (
    "lose", "kill_notifier", "kill_store", "restart", "pause", "redeliver", "discard", "discard_removed", "prune",
    "rescue",
)  # fmt: skip
FAULTS = (*_STEPS, "refuse", "updates", "rule", "urls", "selection", "types", "now")


def play(seed: int, without: Collection[Rule] = (), faults: Collection[str] = ()) -> None:
    """Run one history.

    Raises:
        Violation: an invariant does not hold.
    """
    Driver(seed, without, faults).play()
