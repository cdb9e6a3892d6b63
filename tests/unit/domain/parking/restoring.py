"""Refusals, parks, restores and kills, with the order of each object's events as the receiver sees it.

One step is 50 ms of simulated time. Each rule can be left out. What remains open, as Beacon's guarantees say: an event
that stays failed because a later one of its object was in flight when a process ended, or was not answered.
"""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

AFTER, SECOND, MOST_RESTORES, PAGE = 3, 20, 3, 2
OPEN = ("queued", "ready")


class Rule(StrEnum):
    """A rule of restoring."""

    NUMBERS = "a refusal with an older parking number, or while parked, is forgiven"
    LATER_OUT = "a failed event is not restored before a later one that is in flight"
    UNKNOWN = "nor before a later one whose request was not answered"
    CURED = "a changed secret restores what was refused, parked or not"
    LIMIT = "an event is restored three times at most"
    RENEWED = "a changed secret begins a new number"
    SECOND_LOOK = "the store looks again when the second without a proper answer is over"
    PROBES = "a parked endpoint is probed"
    HELD = "nothing is sent before the last page of what was refused is restored"


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event of an object."""

    object: str
    state: str = "queued"
    failed_at: int = -1
    restores: int = 0
    why: str = ""
    unknown: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request in flight, or its answer."""

    number: int
    parking: int
    sent_at: int
    status: int
    answered_at: int = 0


@dataclass(slots=True, kw_only=True)
class World:
    """A store, a notifier, an endpoint that accepts one secret, and what it accepted."""

    rng: random.Random
    without: Collection[Rule]
    faults: Collection[str]
    objects: str = "uvwxyz"
    now: int = 0
    wrong: bool = False  # the endpoint refuses the secret
    rightly: str = ""  # an object that it always refuses
    parking: int = 0
    parked_at: int | None = None
    proper_sent: int = -99
    proper_at: int = -99
    probe_at: int = 0
    interval: int = SECOND
    rows: dict[int, Delivery] = field(default_factory=dict)
    flying: list[Request] = field(default_factory=list)
    answers: list[Request] = field(default_factory=list)
    got: Counter[int] = field(default_factory=Counter)
    latest: dict[str, int] = field(default_factory=dict)
    refused_in: dict[int, int] = field(default_factory=dict)  # event -> number of its last refusal
    owed: int | None = None  # refusals since then are being restored

    # --- the endpoint and the notifier

    def emit(self) -> None:
        """Write an event."""
        number, object_ = len(self.rows) + 1, self.rng.choice(self.objects)
        self.rows[number] = Delivery(object=object_)
        self.promote(object_)

    def send(self) -> None:
        """Send what may be sent: all that is ready, or a probe."""
        ready = [number for number, row in self.rows.items() if row.state == "ready" and number not in self.out()]
        is_held = self.owed is not None and Rule.HELD not in self.without
        if not ready or len(self.flying) >= 3 or is_held:
            return
        if self.parked_at is None:
            self.request(ready[0])
        elif Rule.PROBES not in self.without and self.now >= self.probe_at and not self.flying:
            self.interval = min(2 * self.interval, 200)
            self.probe_at = self.now + self.interval
            self.request(self.rng.choice(ready))

    def request(self, number: int) -> None:
        """Begin a request; the receiver applies it at once, and its answer may get lost."""
        object_ = self.rows[number].object
        if any(self.rows[one].object == object_ and one < number for one in self.to_restore()):
            raise Violation(f"{number} of {object_} is sent before an earlier one that is to be restored")
        status = 401 if self.wrong or object_ == self.rightly else 200
        if status == 200:
            if self.latest.get(object_, 0) > number and not self.got[number]:
                raise Violation(f"{number} of {object_} after {self.latest[object_]}")
            self.got[number] += 1
            self.latest[object_] = max(number, self.latest.get(object_, 0))
        if "unanswered" in self.faults and self.rng.random() < 0.05:
            status = 0
        self.flying.append(Request(number=number, parking=self.parking, sent_at=self.now, status=status))

    def out(self) -> set[int]:
        """Return the deliveries in flight."""
        return {one.number for one in (*self.flying, *self.answers)}

    def answer(self) -> None:
        """Answer one request."""
        if self.flying:
            request = self.flying.pop(self.rng.randrange(len(self.flying)))
            self.answers.append(replace(request, answered_at=self.now))

    def kill(self) -> None:
        """Terminate the notifier: its marks keep what was in flight; what waits stays failed."""
        for number in self.out():
            self.rows[number].unknown = True
        for row in self.rows.values():
            if row.waits:
                row.waits, row.why = False, "unknown"
        self.flying.clear()
        self.answers.clear()
        self.probe_at = self.now

    def cure(self) -> None:
        """Exchange the secret for one that the endpoint accepts."""
        self.wrong = False
        if Rule.RENEWED not in self.without:
            self.parking += 1
        self.parked_at = None
        if Rule.CURED not in self.without:
            self.restore_all()

    # --- the store

    def settle(self) -> None:
        """Apply the oldest answer."""
        if not self.answers:
            return
        request = self.answers.pop(0)
        row = self.rows[request.number]
        forgiven = Rule.NUMBERS not in self.without and (self.parked_at is not None or request.parking < self.parking)
        if request.status == 200:
            row.state = "delivered"
            self.proper_sent = max(self.proper_sent, request.sent_at)
            self.proper_at = max(self.proper_at, request.answered_at)
            if self.parked_at is not None and request.sent_at >= self.parked_at:
                self.parked_at = None
        elif request.status == 401 and not forgiven:
            row.state, row.failed_at = "failed", request.answered_at
            self.refused_in[request.number] = self.parking
        elif request.status == 0:
            row.unknown = True
        self.come_back(request)
        self.promote(row.object)
        self.look()

    def come_back(self, request: Request) -> None:
        """Restore, or give up, what waited for this event."""
        object_ = self.rows[request.number].object
        for number, row in sorted(self.rows.items()):
            if row.waits and row.object == object_ and number < request.number:
                row.waits = False
                row.why = "" if request.status == 401 else "unknown"
                if request.status == 401:
                    self.restore(number)

    def promote(self, object_: str) -> None:
        """Make the object's next event ready."""
        waiting = [number for number, row in self.rows.items() if row.object == object_ and row.state in OPEN]
        if waiting and not any(self.rows[number].state == "ready" for number in waiting):
            self.rows[min(waiting)].state = "ready"

    def look(self) -> None:
        """Park the endpoint if enough objects were refused in a row, and no proper answer has come for a second."""
        if self.parked_at is not None or self.now - self.proper_at < SECOND:
            return
        if len(self.row()) >= AFTER:
            self.parking += 1
            self.parked_at, self.interval = self.now, SECOND
            self.probe_at = self.now + SECOND
            self.restore_all()

    def row(self) -> set[str]:
        """Return the objects that were refused in a row under the current number."""
        return {
            one.object
            for number, one in self.rows.items()
            if one.state == "failed" and one.failed_at > self.proper_sent and self.refused_in[number] == self.parking
        }

    def restore_all(self) -> None:
        """Begin to restore what was refused since the latest proper answer."""
        self.owed = self.proper_sent + 1 if self.owed is None else self.owed
        self.restore_page()

    def restore_page(self) -> None:
        """Restore the next events, in a transaction of their own: a kill may come before the following ones."""
        if self.owed is None:
            return
        page = sorted((self.rows[number].failed_at, number) for number in self.to_restore())[:PAGE]
        for _, number in sorted(page, key=lambda one: one[1]):
            self.restore(number)
        self.owed = page[-1][0] if len(page) == PAGE else None

    def to_restore(self) -> list[int]:
        """Return the events of which the last page has not come yet."""
        if self.owed is None:
            return []
        return [
            number
            for number, row in self.rows.items()
            if row.state == "failed" and row.failed_at >= self.owed and not (row.waits or row.why)
            if row.restores < MOST_RESTORES or Rule.LIMIT in self.without
        ]

    def restore(self, number: int) -> None:
        """Send an event again, first of its object."""
        row = self.rows[number]
        later = [one for key, one in self.rows.items() if one.object == row.object and key > number]
        if row.restores >= MOST_RESTORES and Rule.LIMIT not in self.without:
            return
        if any(one.state == "delivered" for one in later):
            row.failed_at = -1
            return
        if row.why == "unknown" or (any(one.unknown for one in later) and Rule.UNKNOWN not in self.without):
            row.why = "unknown"
            return
        is_out = any(self.rows[key].object == row.object and key > number for key in self.out())
        if is_out and Rule.LATER_OUT not in self.without:
            row.waits = True
            return
        for one in later:
            one.state = "queued" if one.state == "ready" else one.state
        row.state, row.failed_at, row.restores = "queued", -1, row.restores + 1
        self.promote(row.object)
        if row.restores > MOST_RESTORES:
            raise Violation(f"{number} is restored for ever")


def play(seed: int, without: Collection[Rule] = (), faults: Collection[str] = ()) -> int:
    """Play a history, let the endpoint be well at its end, check it; return how often the endpoint was parked."""
    rng = random.Random(seed)
    world = World(rng=rng, without=without, faults=faults, objects="uvwxyz"[: rng.choice((2, 3, 4, 6))])
    world.rightly = rng.choice(world.objects) if "rightly" in faults and rng.random() < 0.5 else ""
    for _ in range(60 + seed % 240):
        step(world, rng)
    if "silent" in faults:
        fall_silent(world)
    world.wrong = False
    if "cured" in faults:
        world.cure()
    before = {number for number, row in world.rows.items() if row.state == "failed"}
    settle_down(world)
    check(world, before if "cured" in faults else set(world.rows))
    return world.parking


def fall_silent(world: World) -> None:
    """Settle all requests without new ones, and require that the endpoint is parked if enough objects were refused."""
    while world.out():
        world.answer()
        world.settle()
    world.now += 2 * SECOND
    if Rule.SECOND_LOOK not in world.without:
        world.look()
    if world.parked_at is None and len(world.row()) >= AFTER:
        raise Violation("enough objects were refused, and the endpoint is not parked")


def step(world: World, rng: random.Random) -> None:
    """Make one thing happen."""
    world.now += 1 if rng.random() < 0.97 else rng.choice((5, 30, 200))
    look(world, pages=rng.random() < 0.3)
    chance = rng.random()
    if chance < 0.16:
        world.emit()
    elif chance < 0.5:
        world.send()
    elif chance < 0.72:
        world.answer()
    elif chance < 0.93:
        world.settle()
    elif chance < 0.95 and "kill" in world.faults:
        world.kill()
    elif chance < 0.98:
        turn(world, rng)


def look(world: World, *, pages: bool = True) -> None:
    """Do what the store does by itself."""
    if Rule.SECOND_LOOK not in world.without:
        world.look()
    if pages:
        world.restore_page()


def turn(world: World, rng: random.Random) -> None:
    """Make the endpoint refuse everything, or accept again, by itself or because the secret is exchanged here."""
    if not world.wrong:
        world.wrong = True
    elif rng.random() < 0.5:
        world.cure()
    else:
        world.wrong = False


def settle_down(world: World) -> None:
    """Send and settle until nothing is open, or nothing changes any more."""
    for _ in range(3000):
        world.now += 1
        look(world)
        world.send()
        world.answer()
        world.settle()
        is_open = any(row.state in OPEN for row in world.rows.values())
        if not is_open and not world.out():
            return


def check(world: World, failed: Collection[int]) -> None:
    """Check what must hold when all is quiet; `failed` are the events that may have failed."""
    for number, row in world.rows.items():
        if row.object == world.rightly:
            continue
        if row.state in OPEN:
            raise Violation(f"{number} stays open")
        if row.state == "delivered" and not world.got[number]:
            raise Violation(f"{number} counts as delivered and was not accepted")
        if row.state == "failed" and number not in failed:
            raise Violation(f"{number} failed although the secret had been exchanged")
        if row.state == "failed" and row.restores < MOST_RESTORES and not row.why and is_cured(world, number, failed):
            raise Violation(f"{number} stays failed although the secret was exchanged")
        if world.got[number] > 1 and not row.unknown:
            raise Violation(f"{number} was accepted twice")


def is_cured(world: World, number: int, failed: Collection[int]) -> bool:
    """Return True if the exchange of the secret must have restored an event."""
    return len(failed) < len(world.rows) and world.rows[number].failed_at > world.proper_sent
