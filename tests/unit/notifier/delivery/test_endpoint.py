"""One endpoint's deliveries, with a sender and a clock of the test."""

import threading

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, endpoint, render, retry
from tests.unit.notifier import running, stores
from tests.unit.notifier.delivery import senders


class World:
    """An endpoint with a number of deliveries, leased at once."""

    def __init__(self, *, deliveries: int, width: int = 4) -> None:
        self.now = 1000.0
        self.sender = senders.Sender()
        self.record = running.Recorder()
        config = endpoint.EndpointConfig(
            endpoint=stores.ENDPOINT,
            names=render.Names(source="/beacon", cluster="", type_prefix="test"),
            policy=retry.Policy(max_attempts=3, initial_s=1.0, max_s=8.0, multiplier=2.0, jitter=0.0),
            rules=breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=5.0),
            width=width,
            batch=deliveries,
            poll_s=1.0,
        )
        self.served = endpoint.EndpointDelivery(
            config, self.sender, stop=threading.Event(), telemetry=self.record, clock=lambda: self.now
        )
        self.reply(self.claim(), deliveries=tuple(stores.delivery(key) for key in range(1, deliveries + 1)))

    def claim(self) -> wire.Claim:
        claim, _ = self.served.next_claim(self.now)
        assert claim is not None
        return claim

    def reply(self, claim: wire.Claim, *, deliveries: tuple[model.Delivery, ...] = ()) -> None:
        self.served.take_reply(claim, wire.Claimed(number=claim.number, deliveries=deliveries), ledger="ledger-1")

    def answer_all(self, *, every_s: float) -> None:
        """Answer all requests, also those that follow, with a pause before each answer."""
        while self.sender.waiting:
            self.now += every_s
            self.sender.answer()


def test_as_many_requests_as_configured_are_under_way() -> None:
    world = World(deliveries=10)
    assert world.sender.sent == [f"event-{key}" for key in range(1, 5)]

    world.sender.answer()

    assert world.sender.sent[4:] == ["event-5"]


def test_a_fast_endpoint_gets_256_requests_before_the_store_confirms() -> None:
    world = World(deliveries=400)

    world.answer_all(every_s=0.00005)

    assert len(world.sender.sent) == 256 + 4 - 1  # those under way when the window was full were answered, too


def test_no_more_is_unconfirmed_than_was_answered_within_20_ms() -> None:
    world = World(deliveries=400)

    world.answer_all(every_s=0.0004)  # 50 answers in 20 ms

    assert 50 <= len(world.sender.sent) <= 50 + 4 + 1


def test_a_slow_endpoint_gets_32_requests_before_the_store_confirms() -> None:
    world = World(deliveries=400)

    world.answer_all(every_s=0.01)

    assert len(world.sender.sent) == 32 + 4 - 1


def test_a_confirmation_continues_the_sending() -> None:
    world = World(deliveries=400)
    world.answer_all(every_s=0.01)
    before = len(world.sender.sent)

    world.reply(world.claim())

    assert len(world.sender.sent) == before + 4


# --- attempts of an event that gets 503 while others are answered


class Attempts:
    """An event that has been sent twice, both times in vain, with three attempts at most; and another event."""

    def __init__(self, *, width: int = 1) -> None:
        self.world = World(deliveries=0, width=width)
        self.lease(1, attempts=2, requests=2)
        self.world.sender.answer(503)  # forgiven so far

    def lease(self, key: int, *, attempts: int = 0, requests: int = 0) -> None:
        delivery = stores.delivery(key, attempts=attempts, requests=requests)
        self.world.now += 1.0
        self.world.reply(self.world.claim(), deliveries=(delivery,))

    def outcomes(self, key: int) -> list[tuple[model.DeliveryResult, int, bool]]:
        claim = self.world.claim()
        self.world.reply(claim)
        return [(one.result, one.attempt, one.counted) for one in claim.settlements if one.delivery == key]


RETRY, CHARGED, FAILED = model.DeliveryResult.RETRY, model.DeliveryResult.CHARGED, model.DeliveryResult.FAILED


def test_an_event_fails_when_another_one_is_answered_after_its_last_attempt() -> None:
    bad = Attempts()
    bad.lease(2)
    bad.world.sender.answer()

    assert bad.outcomes(1) == [(CHARGED, 3, True), (FAILED, 3, True)]


def test_an_event_that_is_queued_again_when_its_last_attempt_is_counted_fails_unsent() -> None:
    bad = Attempts()
    bad.lease(2)  # occupies the only place
    bad.lease(1, attempts=2, requests=3)
    bad.world.sender.answer()

    assert bad.world.sender.sent == ["event-1", "event-2"]
    assert bad.outcomes(1) == [(CHARGED, 3, True), (FAILED, 3, True)]
    assert bad.world.record.gave_up_on == [(model.EventType.CREATED, True)]


def test_an_event_that_is_sent_again_when_its_last_attempt_is_counted_fails_with_the_next_failure() -> None:
    bad = Attempts(width=2)
    bad.lease(2)
    bad.lease(1, attempts=2, requests=3)
    bad.world.sender.answer()
    assert bad.outcomes(1) == [(CHARGED, 3, True)]

    bad.world.sender.answer(503)

    assert bad.outcomes(1) == [(FAILED, 4, False)]
    assert bad.world.record.gave_up_on == [(model.EventType.CREATED, False)]
    bad.lease(3)
    bad.world.sender.answer()
    assert bad.outcomes(1) == []  # nothing more counts against it


def test_nothing_counts_against_an_event_that_was_delivered_meanwhile() -> None:
    bad = Attempts()
    bad.lease(1, attempts=2, requests=3)
    bad.world.sender.answer()
    bad.lease(2)
    bad.world.sender.answer()

    assert bad.outcomes(1) == []
    assert bad.world.record.gave_up_on == []


def test_an_event_whose_requests_count_late_all_at_once_is_given_up_once() -> None:
    bad = Attempts()
    for requests in (3, 4):
        bad.lease(1, attempts=2, requests=requests)
        bad.world.sender.answer(503)
    bad.lease(2)
    bad.world.sender.answer()

    assert bad.outcomes(1) == [(CHARGED, 3, True), (CHARGED, 4, True), (CHARGED, 5, True), (FAILED, 5, True)]
    assert len(bad.world.record.gave_up_on) == 1


def test_an_own_failure_between_forgiven_ones_and_their_counting_is_counted_too() -> None:
    bad = Attempts()
    bad.lease(1, attempts=1, requests=3)
    bad.world.sender.answer(500)
    bad.lease(2)
    bad.world.sender.answer()

    assert bad.outcomes(1) == [(CHARGED, 3, True), (FAILED, 4, True)]
