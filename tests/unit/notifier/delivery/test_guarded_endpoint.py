"""An unexpected error while one endpoint is served: it is that endpoint's, and the endpoint goes on after a pause."""

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from beacon import errors, wire
from beacon.notifier.delivery import (
    breaker,
    claim_session,
    dispatch,
    endpoint,
    guarded_endpoint,
    in_flight_marks,
    render,
)
from beacon.notifier.transport import event_loop
from tests.unit.notifier import running, stores
from tests.unit.notifier.delivery import senders


class World:
    """A guarded endpoint, a clock and a sender of the test."""

    def __init__(self, name: str = stores.ENDPOINT) -> None:
        self.now = 1000.0
        self.sender = senders.Sender()
        self.record = running.Recorder()
        config = endpoint.EndpointConfig(
            endpoint=name,
            names=render.Names(source="/beacon", cluster="", type_prefix="test"),
            policy=running.POLICY,
            rules=running.RULES,
            width=2,
            batch=10,
            poll_s=1.0,
        )
        self.served = endpoint.EndpointDelivery(
            config,
            self.sender,
            stop=threading.Event(),
            telemetry=self.record,
            marks=in_flight_marks.Marks(None, most=20),
            clock=lambda: self.now,
        )
        self.guarded = guarded_endpoint.GuardedEndpoint(self.served, telemetry=self.record, clock=lambda: self.now)

    @property
    def session(self) -> claim_session.ClaimSession:
        return self.served._session

    def claim(self) -> wire.Claim:
        claim, _ = self.guarded.next_claim(self.now)
        assert claim is not None
        return claim

    def lease(self, *deliveries: int) -> wire.Claim:
        claim = self.claim()
        reply = wire.Claimed(number=claim.number, deliveries=tuple(stores.delivery(key) for key in deliveries))
        self.guarded.take_reply(claim, reply, ledger="ledger-1")
        return claim

    @property
    def broken(self) -> int:
        return sum(line.startswith("broken") for line in self.record.reported)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("of the test")


@pytest.fixture
def world() -> World:
    return World()


def test_an_error_in_the_breaker_pauses_the_endpoint_which_then_starts_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.lease(1, 2, 3).session
    monkeypatch.setattr(breaker.CircuitBreaker, "accepted", fail)
    with pytest.raises(RuntimeError) as raised:
        world.sender.answer()
    world.sender.broke(raised.value)  # as the loop's share does
    monkeypatch.undo()

    assert world.broken == 1
    assert world.sender.resets == 1
    assert world.guarded.next_claim(world.now) == (None, 1.0)
    world.now += 1.0
    claim = world.claim()
    assert claim.session != before
    assert claim.held == ()
    assert set(claim.died_with) == {1, 2}  # those in flight, not the queued one


def test_an_error_in_the_claim_session_is_not_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = world.claim()
    monkeypatch.setattr(claim_session.ClaimSession, "take", fail)

    world.guarded.take_reply(claim, wire.Claimed(number=claim.number), ledger="ledger-1")

    assert world.broken == 1


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("next_claim", lambda one: one.next_claim(1000.0)),
        ("check", lambda one: one.check(1000.0, renewed_at=0.0)),
        ("renew", lambda one: one.renew()),
        ("forget", lambda one: one.forget("other")),
        ("finish", lambda one: one.finish()),
        ("cancel", lambda one: one.cancel()),
    ],
)
def test_no_method_raises(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    call: Callable[[guarded_endpoint.GuardedEndpoint], object],
) -> None:
    monkeypatch.setattr(endpoint.EndpointDelivery, method, fail)

    call(world.guarded)

    assert world.broken == 1


def test_the_pauses_double_up_to_a_minute_and_begin_anew_after_a_long_time_without_an_error(
    world: World,
) -> None:
    pauses = []
    for _ in range(9):
        world.guarded.failed(RuntimeError("of the test"))
        pauses.append(world.guarded.next_claim(world.now)[1])
        world.now += pauses[-1]

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    world.now += 1000.0
    world.guarded.failed(RuntimeError("of the test"))
    assert world.guarded.next_claim(world.now) == (None, 1.0)


def test_settlements_survive_an_error_but_not_two_in_a_row(world: World) -> None:
    world.lease(1)
    world.sender.answer()
    world.guarded.failed(RuntimeError("of the test"))
    assert [outcome.delivery for outcome in world.session.outbox] == [1]

    world.guarded.failed(RuntimeError("of the test"))

    assert world.session.outbox == []
    world.now += 10.0
    assert world.claim().died_with == (1,)


def test_an_answer_of_the_store_in_between_makes_settlements_survive_again(world: World) -> None:
    world.guarded.failed(RuntimeError("of the test"))
    world.now += 10.0
    world.lease(1)
    world.sender.answer()

    world.guarded.failed(RuntimeError("of the test"))

    assert [outcome.delivery for outcome in world.session.outbox] == [1]


def test_what_can_not_start_over_is_tried_again_and_never_raises(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint.EndpointDelivery, "start_over", fail)
    world.guarded.failed(RuntimeError("of the test"))
    assert world.guarded.next_claim(world.now) == (None, 60.0)
    monkeypatch.undo()
    world.now += 60.0

    assert world.claim().held == ()


def test_a_stop_does_not_wait_for_an_endpoint_that_fails_while_it_finishes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lease(1)
    world.guarded.finish()
    assert not world.guarded.finished
    monkeypatch.setattr(claim_session.ClaimSession, "claim", fail)
    world.sender.answer()

    assert world.guarded.next_claim(world.now)[0] is None
    assert world.guarded.finished


def test_a_stop_does_not_wait_for_the_end_of_a_pause(world: World) -> None:
    world.lease(1)
    world.sender.answer()
    world.guarded.failed(RuntimeError("of the test"))

    world.guarded.finish()

    assert [outcome.delivery for outcome in world.claim().settlements] == [1]


# --- several endpoints in one loop


class Two:
    """Two endpoints in one loop, and a bus of the test."""

    def __init__(self, loop: event_loop.EventLoop) -> None:
        self.first, self.second = World("first"), World("second")
        self.bus = Bus()
        self.dispatcher = dispatch.Dispatcher(
            [self.first.guarded, self.second.guarded],
            loop=loop,
            connect=lambda: self.bus,  # type: ignore[arg-type, return-value]
            stop=threading.Event(),
        )

    def round(self) -> None:
        self.dispatcher._round(self.bus, 0.0)  # type: ignore[arg-type]


class Bus:
    """A bus client whose answers are the test's."""

    def __init__(self) -> None:
        self.ledger = "ledger-1"
        self.renewed_at = 0.0
        self.patience_s = 0.0
        self.has_input = True
        self.descriptors: tuple[int, ...] = ()
        self.submitted: list[wire.Claim] = []
        self.answers: list[tuple[int, wire.AnyRequest, wire.Reply | errors.PermanentError]] = []

    def submit(self, claim: wire.Claim, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.submitted.append(claim)

    def gather(self, _timeout_s: float) -> list[tuple[int, wire.AnyRequest, wire.Reply | errors.PermanentError]]:
        answers, self.answers = self.answers, []
        return answers


@pytest.fixture
def loop() -> Iterator[event_loop.EventLoop]:
    made = event_loop.EventLoop()
    yield made
    made.close()


def test_a_failing_endpoint_does_not_hold_up_the_other_one(loop: event_loop.EventLoop) -> None:
    two = Two(loop)
    two.round()
    first, second = two.bus.submitted
    two.first.served.take_reply = fail  # type: ignore[method-assign]
    for claim in (first, second):
        two.bus.answers.append((1, claim, wire.Claimed(number=1, deliveries=(stores.delivery(7),))))

    two.round()

    assert (two.first.broken, two.second.broken) == (1, 0)
    assert two.second.sender.sent == ["event-7"]


def test_a_claim_that_the_store_refuses_is_an_error_of_its_endpoint_alone(loop: event_loop.EventLoop) -> None:
    two = Two(loop)
    two.round()
    first, second = two.bus.submitted
    two.bus.answers.append((1, first, errors.PermanentError("refused")))
    two.bus.answers.append((2, second, wire.Claimed(number=1, deliveries=(stores.delivery(7),))))

    two.round()

    assert (two.first.broken, two.second.broken) == (1, 0)
    assert two.second.sender.sent == ["event-7"]


def test_a_ledger_of_another_cluster_ends_the_process(loop: event_loop.EventLoop) -> None:
    two = Two(loop)
    two.round()
    two.bus.answers.append((1, two.bus.submitted[0], errors.ForeignClusterError("of another cluster")))

    with pytest.raises(errors.ForeignClusterError):
        two.round()


def test_new_descriptors_of_the_bus_are_watched_even_if_they_have_the_old_numbers(loop: event_loop.EventLoop) -> None:
    two = Two(loop)
    two.bus.has_input = False
    before, other = socket.socketpair()
    number = before.fileno()
    two.bus.descriptors = (number,)
    two.round()
    mine, theirs = socket.socketpair()
    before.close()
    with other, mine, theirs:
        os.dup2(mine.fileno(), number)
        two.bus.descriptors = tuple([number])  # noqa: C409  another tuple, as after a reconnection
        two.round()
        claim = next(claim for claim in two.bus.submitted if claim.endpoint == "first")
        two.bus.answers.append((1, claim, wire.Claimed(number=1, deliveries=(stores.delivery(7),))))
        two.bus.patience_s, two.dispatcher._collect_at = 3600.0, float("inf")

        theirs.send(b"x")
        two.round()
        os.close(number)

    assert two.first.sender.sent == ["event-7"]
