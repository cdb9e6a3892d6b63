"""One endpoint's deliveries, with a sender and a clock of the test."""

import threading
from collections.abc import Callable

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, endpoint, render, retry
from beacon.notifier.transport import answer
from tests.unit.notifier import running, stores

Done = Callable[[answer.EndpointAnswer], None]


class Sender:
    """Keeps the requests until the test answers them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.waiting: list[Done] = []

    def send(self, _body: bytes, *, event_id: str, timeout_s: float, done: Done) -> None:
        assert timeout_s > 0
        self.sent.append(event_id)
        self.waiting.append(done)

    def expire(self, before: float) -> None:
        pass

    def cancel_all(self) -> None:
        pass

    def answer(self, status: int = 204) -> None:
        """Answer the oldest request."""
        self.waiting.pop(0)(answer.EndpointAnswer(code=str(status), status=status))


class World:
    """An endpoint with a number of deliveries, leased at once."""

    def __init__(self, *, deliveries: int, width: int = 4) -> None:
        self.now = 1000.0
        self.sender = Sender()
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
