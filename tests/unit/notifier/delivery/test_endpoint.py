"""One endpoint's deliveries, with a sender and a clock of the test."""

import threading

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, endpoint, render, retry
from tests.unit.notifier import running, stores
from tests.unit.notifier.delivery import senders


class World:
    """An endpoint with a number of deliveries, leased at once."""

    def __init__(self, *, deliveries: int, width: int = 4, rate: float = 0.0) -> None:
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
            rate=rate,
        )
        self.served = endpoint.EndpointDelivery(
            config, self.sender, stop=threading.Event(), telemetry=self.record, clock=lambda: self.now
        )
        self.first = self.claim()
        self.reply(self.first, deliveries=tuple(stores.delivery(key) for key in range(1, deliveries + 1)))

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


def test_nothing_is_claimed_before_the_credentials_can_be_read() -> None:
    world = World(deliveries=1)
    world.sender.answer()
    world.sender.missing = "auth.bearer.tokenFile /t can't be read: No such file or directory"
    world.now += 10.0

    claims = [world.served.next_claim(world.now) for _ in range(2)]

    assert [claim.want if claim else 0 for claim, _ in claims] == [0, 0]
    assert world.record.reported.count(f"held back: {world.sender.missing}") == 1
    world.sender.missing = ""
    world.now += 1.0
    for claim in (claim for claim, _ in claims if claim):
        world.reply(claim)
    assert world.claim().want > 0


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


# --- the rate


def test_an_endpoint_gets_no_more_requests_in_a_second_than_its_rate() -> None:
    world = World(deliveries=30, width=30, rate=20.0)
    assert len(world.sender.sent) == 2

    _, again_s = world.served.next_claim(world.now)
    assert 0.0 < again_s <= 0.05
    for _ in range(20):
        world.now += 0.05
        world.served.check(world.now, renewed_at=0.0)

    assert len(world.sender.sent) == 22


def test_an_endpoint_with_a_rate_leases_no_more_than_it_gets_in_a_second() -> None:
    assert World(deliveries=100, rate=3.0).first.want == 3
    assert World(deliveries=100).first.want == 100


def test_probes_keep_to_the_rate() -> None:
    world = World(deliveries=6, rate=0.1)
    for _ in range(5):
        if world.sender.waiting:
            world.sender.answer(503)
        world.now += 11.0
        world.served.check(world.now, renewed_at=0.0)
    world.now += 1.0
    begun = len(world.sender.sent)

    for _ in range(40):
        world.now += 0.5
        claim, _ = world.served.next_claim(world.now)
        if claim is not None:
            probes = (stores.delivery(100 + len(world.sender.sent)),) if claim.probe or claim.fresh_only else ()
            world.reply(claim, deliveries=probes)
        if world.sender.waiting:
            world.sender.answer(503)

    assert len(world.sender.sent) - begun <= 3


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


# --- an endpoint that fails for some events, or for all


def test_without_answers_the_queue_is_sent_one_by_one_and_goes_back_when_the_endpoint_is_down() -> None:
    world = World(deliveries=100)
    for _ in range(5):
        world.sender.answer(0)
    for _ in range(3):
        world.sender.answer(0)
    sent = len(world.sender.sent)
    assert not world.sender.waiting

    _, again_s = world.served.next_claim(world.now)
    assert 0 < again_s <= 0.05
    world.now += 0.05
    world.served.check(world.now, renewed_at=0.0)
    assert len(world.sender.sent) == sent + 1

    world.now += 0.45
    world.served.check(world.now, renewed_at=0.0)
    assert world.record.reported[-1] == "opened"
    released = [one for one in world.claim().settlements if one.result is model.DeliveryResult.RELEASED]
    assert len(released) == 100 - sent - 1


def test_a_down_endpoint_is_noticed_in_time_when_all_events_were_sent() -> None:
    world = World(deliveries=5, width=5)
    for _ in range(5):
        world.sender.answer(503)
    world.claim()
    _, again_s = world.served.next_claim(world.now)
    assert again_s == 0.5

    world.now += again_s
    world.served.check(world.now, renewed_at=0.0)
    assert world.record.reported[-1] == "opened"


def test_the_wait_that_a_503_asks_for_is_its_own_events_while_others_are_answered() -> None:
    world = World(deliveries=100)
    world.sender.answer(204)
    before = len(world.sender.sent)
    world.sender.answer(503, retry_after="60")
    assert len(world.sender.sent) == before + 1

    world.now += 0.5
    world.sender.answer(503, retry_after="60")
    assert len(world.sender.sent) == before + 1


def test_the_wait_that_a_429_asks_for_pauses_the_endpoint() -> None:
    world = World(deliveries=100)
    world.sender.answer(204)
    before = len(world.sender.sent)

    world.sender.answer(429, retry_after="60")

    assert len(world.sender.sent) == before
