"""A parked endpoint in the notifier: when it is probed, what is forgiven, and the number of a changed secret."""

import threading
from collections.abc import Sequence

import pytest

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, endpoint, parked, render, retry
from tests.unit.notifier import running, stores
from tests.unit.notifier.delivery import senders

CONFIG = parked.ParkingConfig(statuses=frozenset({401, 404}), longest_probe_s=300.0)


def test_the_first_probe_comes_after_a_second_and_the_interval_doubles() -> None:
    state = parked.ParkedEndpoint(config=CONFIG)
    state.take(0, "", 0.0)
    assert state.take(1, "unauthorized", 100.0)
    now, found = 100.0, []
    for _ in range(11):
        plan = state.plan(now)
        while plan.mode is not breaker.BreakerMode.PROBE:
            assert plan.until is not None
            now = plan.until
            plan = state.plan(now)
        found.append(now - 100.0)
        state.probe_sent(now)
        assert state.plan(now).mode is breaker.BreakerMode.PARKED
        state.probe_ended()

    intervals = [b - a for a, b in zip([0.0, *found], found, strict=False)]
    assert intervals == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]


def test_an_event_that_was_never_sent_waits_30_s_at_most() -> None:
    state = parked.ParkedEndpoint(config=CONFIG)
    state.take(0, "", 0.0)
    state.take(1, "gone", 0.0)
    for _ in range(9):
        state.probe_sent(0.0)
        state.probe_ended()

    assert state.plan(29.0) == breaker.ClaimPlan(mode=breaker.BreakerMode.PARKED, until=30.0)
    assert state.plan(30.0) == breaker.ClaimPlan(mode=breaker.BreakerMode.FRESH, until=300.0)
    assert state.plan(300.0) == breaker.ClaimPlan(mode=breaker.BreakerMode.PROBE)


def test_a_notifier_that_starts_probes_at_once() -> None:
    state = parked.ParkedEndpoint(config=CONFIG)

    state.take(4, "unauthorized", 100.0)

    assert state.plan(100.0).mode is breaker.BreakerMode.PROBE
    state.probe_sent(100.0)
    state.probe_ended()
    assert state.plan(100.0).until == 101.0


@pytest.mark.parametrize(
    ("status", "number", "cause", "expected"),
    [(401, 3, "", False), (401, 2, "", True), (401, 3, "gone", True), (422, 2, "gone", False), (200, 2, "", False)],
)
def test_a_refusal_of_a_request_with_an_older_number_or_while_parked_is_forgiven(
    status: int, number: int, cause: str, expected: bool
) -> None:
    state = parked.ParkedEndpoint(config=CONFIG, number=3, cause=cause)

    assert state.forgives(status, number) is expected


class World:
    """An endpoint whose replies of the store and of the receiver are the test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sender = senders.Sender()
        self.record = running.Recorder()
        config = endpoint.EndpointConfig(
            endpoint=stores.ENDPOINT,
            names=render.Names(source="/beacon", cluster="", type_prefix="test"),
            policy=retry.Policy(max_attempts=1, initial_s=1.0, max_s=8.0, multiplier=2.0, jitter=0.0),
            rules=breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=5.0, refusals=CONFIG.statuses),
            width=2,
            batch=10,
            poll_s=1.0,
            park=CONFIG,
        )
        self.served = endpoint.EndpointDelivery(
            config, self.sender, stop=threading.Event(), telemetry=self.record, clock=lambda: self.now
        )

    def claim(self) -> wire.Claim:
        claim, _ = self.served.next_claim(self.now)
        assert claim is not None
        return claim

    def reply(self, claim: wire.Claim, *keys: int, parking: int = 0, cause: str = "") -> None:
        given = tuple(map(stores.delivery, keys))
        reply = wire.Claimed(number=claim.number, deliveries=given, parking=parking, parked=cause)
        self.served.take_reply(claim, reply, ledger="ledger-1")


def results(outcomes: Sequence[model.Outcome]) -> list[tuple[int, str, bool, int]]:
    return [(one.delivery, one.result.value, one.counted, one.parking) for one in outcomes]


def test_what_is_queued_is_returned_when_the_endpoint_is_parked_and_only_a_probe_is_sent() -> None:
    world = World()
    world.reply(world.claim(), 1, 2, 3, 4, 5, 6)
    world.sender.answer(401)
    world.sender.answer(401)
    assert world.sender.sent == ["event-1", "event-2", "event-3", "event-4"]
    world.now += 0.1
    settling = world.claim()
    assert not settling.parked
    world.reply(settling, parking=1, cause="unauthorized")
    world.sender.answer(401)
    world.sender.answer(401)
    world.now += 0.1

    waiting = world.claim()
    assert (waiting.parked, waiting.probe, waiting.want) == (True, False, 1)
    assert results(waiting.settlements)[:2] == [(5, "released", False, 0), (6, "released", False, 0)]
    assert results(waiting.settlements)[2:] == [(3, "retry", False, 0), (4, "retry", False, 0)]
    world.now += 1.0
    probing = world.claim()
    assert (probing.parked, probing.probe, probing.want) == (True, True, 1)
    world.reply(probing, 9, parking=1, cause="unauthorized")

    assert world.sender.sent[-1] == "event-9"
    world.sender.answer(500)
    assert results(world.claim().settlements)[-1:] == [(9, "retry", False, 1)]
    assert "parked: unauthorized" in world.record.reported


def test_a_changed_secret_begins_a_number_that_the_request_is_sent_under_and_the_claim_reports() -> None:
    world = World()
    world.reply(world.claim(), parking=4)
    world.sender.secrets_version += 1

    world.reply(world.claim(), 1, parking=4)
    world.sender.answer(401)
    claim = world.claim()

    assert (claim.renewed, claim.parking) == (True, 5)
    assert results(claim.settlements) == [(1, "failed", True, 5)]


def test_a_changed_secret_is_noticed_while_nothing_is_sent() -> None:
    world = World()
    world.reply(world.claim(), parking=4)
    world.reply(world.claim(), parking=4)
    world.sender.secrets_version += 1
    world.now += 2.0

    world.served.check(world.now, renewed_at=0.0)

    assert world.sender.checks == 1
    assert world.claim().renewed


def test_a_claim_that_was_not_answered_reports_the_changed_secret_again() -> None:
    world = World()
    world.reply(world.claim(), parking=4)
    world.sender.secrets_version += 1
    world.served.check(world.now, renewed_at=0.0)
    assert world.claim().renewed

    world.served.renew()

    assert world.claim().renewed
