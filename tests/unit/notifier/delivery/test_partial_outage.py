"""A model of an endpoint that fails for some events or for all, on the real breaker: each rule is shown to be needed.

Time is simulated. The store is reduced to what a claim may choose: never-attempted events first, and at least one due
retry in five.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from beacon.domain import model
from beacon.notifier.delivery import breaker, retry, suspicion

POLICY = retry.Policy(max_attempts=10, initial_s=1.0, max_s=300.0, multiplier=2.0, jitter=0.2)
RULES = breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=30.0)
WIDTH = 5


@dataclass(slots=True, kw_only=True)
class Event:
    number: int
    is_good: bool
    created_s: float
    attempts: int = 0
    requests: int = 0
    due_s: float = 0.0
    delivered_s: float | None = None
    failed: bool = False
    is_out: bool = False


@dataclass(slots=True)
class World:
    """One endpoint, whose answer to an event at a time is `answer`: its status, 0 for none, and how long it takes."""

    answer: Callable[[Event, float], tuple[int, float]]
    seed: int = 1
    now: float = 0.0
    sent: int = 0
    events: list[Event] = field(default_factory=list)
    state: breaker.CircuitBreaker = field(default_factory=lambda: breaker.CircuitBreaker(rules=RULES))
    _open: list[Event] = field(default_factory=list)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _under_way: int = 0
    _turn: int = 0
    _looks_at: float = -1.0

    def create(self, at_s: float, *, good: bool) -> None:
        event = Event(number=len(self.events) + 1, is_good=good, created_s=at_s, due_s=at_s)
        self.events.append(event)
        self._open.append(event)
        self._at(at_s, lambda: None)

    def run(self, until_s: float) -> None:
        while self._agenda and self._agenda[0][0] <= until_s:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
            self._send()
        self.now = until_s

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._numbers), act))

    def _look_again(self, at_s: float) -> None:
        self._at(max(at_s, self.now + 1e-6), lambda: None)

    def _send(self) -> None:
        while (event := self._next()) is not None:
            plan = self.state.plan(self.now)
            if plan.mode is not breaker.BreakerMode.FULL:
                self.state.probe_sent(self.now)
            self._begin(event, probe=plan.mode is not breaker.BreakerMode.FULL)

    def _next(self) -> Event | None:
        self.state.detect_outage(self.now)
        plan = self.state.plan(self.now)
        if plan.until is not None:
            self._look_again(plan.until)
        match plan.mode:
            case breaker.BreakerMode.FULL:
                return self._next_at_full_width()
            case breaker.BreakerMode.FRESH:
                return self._newest()
            case breaker.BreakerMode.PROBE:
                return self._newest() or min(self._waiting(), key=lambda one: one.due_s, default=None)
            case _:
                return None

    def _next_at_full_width(self) -> Event | None:
        at = self.state.next_request_at(under_way=self._under_way)
        if at is None or self._under_way >= WIDTH:
            return None
        if at > self.now:
            self._look_again(at)
            return None
        due = [one for one in self._waiting() if one.requests and one.due_s <= self.now]
        retried = min(due, key=lambda one: one.due_s, default=None)
        fresh = next((one for one in self._waiting() if not one.requests), None)
        self._turn += 1
        return retried if fresh is None or (retried is not None and self._turn % 5 == 0) else fresh

    def _newest(self) -> Event | None:
        return next((one for one in reversed(self._waiting()) if not one.requests), None)

    def _waiting(self) -> list[Event]:
        self._open = [one for one in self._open if one.delivered_s is None and not one.failed]
        return [one for one in self._open if not one.is_out and one.created_s <= self.now]

    def _begin(self, event: Event, *, probe: bool) -> None:
        self.sent += 1
        event.is_out = True
        self._under_way += not probe
        self.state.begun(self.now)
        status, seconds = self.answer(event, self.now)
        self._at(self.now + seconds, lambda: self._answered(event, status, seconds, probe=probe))

    def _answered(self, event: Event, status: int, seconds: float, *, probe: bool) -> None:
        event.is_out = False
        self._under_way -= not probe
        event.requests += 1
        request = suspicion.MadeRequest(
            delivery=event.number,
            generation=0,
            attempt=event.requests,
            counted=event.attempts,
            type=model.EventType.CREATED,
            status=status,
        )
        verdict = self.state.answered(request, duration_s=seconds, now=self.now, probe=probe)
        if retry.meaning(status) is retry.Meaning.DELIVERED:
            event.delivered_s = self.now
            self.state.finished(event.number)
        else:
            event.attempts += verdict.counted
            roll = random.Random(self.seed + self.sent).uniform(-1, 1)
            event.due_s = self.now + retry.backoff_s(POLICY, event.requests - 1, roll=roll)
            self._look_again(event.due_s)
        for charged in verdict.charged:
            blamed = self.events[charged.delivery - 1]
            blamed.attempts += 1
            assert blamed.attempts == charged.counted + 1
            blamed.failed = blamed.failed or (retry.exhausted(POLICY, blamed.attempts) and blamed.delivered_s is None)
        if verdict.closed:
            for one in self.events:
                one.due_s = min(one.due_s, self.now)
            self._look_again(self.now)

    def delays_s(self) -> list[float]:
        return sorted((one.delivered_s or self.now) - one.created_s for one in self.events if one.is_good)


def some_always_503(event: Event, _now: float) -> tuple[int, float]:
    return (200 if event.is_good else 503), 0.005


def good_among_bad(seed: int, *, together: bool) -> World:
    """Mix 50 good objects with 1000 that always get 503: all created at once, or the good ones later."""
    world, chance = World(some_always_503, seed=seed), random.Random(seed)
    kinds = [False] * 1000 + [True] * 50
    if together:
        chance.shuffle(kinds)
    else:
        world.create(0.0, good=True)
    for good in kinds:
        world.create(0.1 if good is False or together else chance.uniform(1, 60), good=good)
    world.run(65)
    return world


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("seed", range(1))
def test_good_events_among_many_that_always_get_503_arrive_within_2_s(seed: int, together: bool) -> None:
    delays = good_among_bad(seed, together=together).delays_s()

    assert delays[int(len(delays) * 0.99)] <= 2.0


def test_without_a_look_at_proper_answers_they_wait_for_most_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_ALIVE_S", 0.0)

    delays = good_among_bad(1, together=True).delays_s()

    assert delays[int(len(delays) * 0.99)] > 10.0


def outage(status: int, *, slow_s: float) -> World:
    """Run an endpoint that takes up to `slow_s` for an event, and is down from second 10 to 30."""

    def answer(event: Event, now: float) -> tuple[int, float]:
        if 10 <= now < 30:
            return status, 0.002
        return 200, slow_s if event.number % 7 == 0 else 0.005

    world = World(answer)
    for number in range(600):
        world.create(number * 0.05, good=True)
    world.run(60)
    return world


@pytest.mark.parametrize("status", [0, 503, 520, 530])
@pytest.mark.parametrize("slow_s", [0.005, 0.3])
def test_an_outage_costs_no_attempt_and_few_requests_and_all_is_delivered_after_it(status: int, slow_s: float) -> None:
    world = outage(status, slow_s=slow_s)

    assert {one.attempts for one in world.events} == {0}
    assert all(one.delivered_s is not None for one in world.events)
    assert max(one.delivered_s - 30 for one in world.events if one.delivered_s) < 5
    assert world.sent - 600 <= 20 * 20 + 100  # 20 a second; the first half second goes at full width


def test_an_answer_to_an_earlier_request_would_charge_what_failed_while_it_was_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    charge = suspicion.Suspicions.charge
    monkeypatch.setattr(
        suspicion.Suspicions, "charge", lambda self, *, sent_at, own: charge(self, sent_at=sent_at + 1e9, own=own)
    )

    assert {one.attempts for one in outage(0, slow_s=0.3).events} > {0}


def test_an_endpoint_that_is_down_is_noticed_with_two_events_waiting() -> None:
    world = World(lambda _event, _now: (503, 0.005))
    world.create(0.0, good=True)
    world.create(0.0, good=True)
    world.run(60)

    assert world.state.open
    assert {one.attempts for one in world.events} == {0}


def test_an_event_that_always_fails_is_given_up_after_exactly_its_attempts() -> None:
    world = World(some_always_503)
    world.create(0.0, good=False)
    for number in range(800):
        world.create(number, good=True)
    world.run(800)

    bad = world.events[0]
    assert bad.failed
    assert bad.attempts == POLICY.max_attempts
    assert world.delays_s()[-1] < 0.1


def test_an_endpoint_without_answers_gets_one_request_at_a_time_until_it_counts_as_down() -> None:
    world = World(lambda _event, now: (200, 0.005) if now < 1 else (0, 0.001))
    for number in range(1000):
        world.create(0.9 + number * 0.001, good=True)
    world.run(1.0)
    before = world.sent
    world.run(1.45)

    assert not world.state.open
    assert world.sent - before <= WIDTH + RULES.threshold + 0.45 * breaker.FRESH_PROBES_PER_S + 1
    world.run(1.7)
    assert world.state.open
