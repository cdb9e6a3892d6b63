"""Outages and poison events: which failures count, the cost of an outage, and how soon delivery resumes."""

import socket
import threading
import time

import pytest

from beacon.domain import model
from beacon.notifier.delivery import breaker, retry
from tests.unit.notifier import endpoints, running, stores

DELIVERED = model.DeliveryState.DELIVERED
SLOW_RETRY = retry.Policy(max_attempts=3, initial_s=1800.0, max_s=3600.0, multiplier=2.0, jitter=0.0)
SOON_S = 100.0  # long before a retry of SLOW_RETRY or a timeout of LONG_S would come by
LONG_S = 1800.0
RULES = breaker.BreakerRules(threshold=5, probe_interval_s=0.3, timeout_s=0.5)
NO_TIMEOUT = breaker.BreakerRules(threshold=5, probe_interval_s=0.3, timeout_s=LONG_S)


def fill(store: stores.Store, count: int, *, prefix: str = "web") -> list[int]:
    return [store.add(f"{prefix}-{index}")[0] for index in range(count)]


def hang(_request: endpoints.Received, line: socket.socket) -> None:
    line.recv(1)


def fail(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
    return endpoints.Reply(503, headers={"Retry-After": "120"})


def succeed(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
    return endpoints.Reply()


def test_an_endpoint_that_comes_back_gets_everything_soon_and_no_attempt_was_used_up(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.down()
    keys = fill(store, 30)

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=NO_TIMEOUT) as notifier:
        running.wait_for(lambda: "opened" in notifier.record.reported)
        running.wait_for(lambda: len(notifier.record.outcomes) >= 8)
        endpoint.up()
        running.wait_for(lambda: store.count(DELIVERED) == 30, within_s=SOON_S)

    assert {store.rows[key].attempts for key in keys} == {1}
    reported = [what for what in notifier.record.reported if what != "silent"]  # a busy store
    assert reported == ["claimed", "opened", "closed"]


@pytest.mark.parametrize("behave", [hang, fail])
def test_delivery_resumes_when_an_endpoint_answers_again_that_had(
    behave: endpoints.Behaviour, store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = behave
    keys = fill(store, 20)

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=RULES) as notifier:
        running.wait_for(lambda: "opened" in notifier.record.reported)
        running.wait_for(lambda: len(notifier.record.outcomes) >= 7)
        endpoint.behave = succeed
        running.wait_for(lambda: store.count(DELIVERED) == 20, within_s=SOON_S)

    assert {store.rows[key].attempts for key in keys} == {1}


def test_delivery_resumes_soon_after_a_hang_that_was_shorter_than_the_timeout(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    rules = breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=LONG_S)
    fill(store, 3, prefix="before")

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=rules) as notifier:
        running.wait_for(lambda: store.count(DELIVERED) == 3)
        endpoint.behave = hang
        keys = fill(store, 20)
        running.wait_for(lambda: "opened" in notifier.record.reported, within_s=SOON_S)
        endpoint.behave = succeed
        running.wait_for(lambda: store.count(DELIVERED) == 23, within_s=SOON_S)

    assert {store.rows[key].attempts for key in keys} == {1}


def test_one_probe_at_a_time_is_sent_and_unsent_deliveries_are_released(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = hang
    fill(store, 50)

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=RULES) as notifier:
        running.wait_for(lambda: "opened" in notifier.record.reported)
        running.wait_for(lambda: not store.held)
        running.wait_for(lambda: endpoint.in_flight <= 1)
        endpoint.most_in_flight = 0
        before = len(endpoint.received)
        running.wait_for(lambda: len(endpoint.received) >= before + 4)

        began, first = time.monotonic(), len(endpoint.received)
        running.wait_for(lambda: len(endpoint.received) >= first + 4)
        ended = time.monotonic()

    assert ended - began > 3 * RULES.probe_interval_s  # between five of them, if the last of those before came late
    assert endpoint.most_in_flight <= 2  # the endpoint may see the end of a probe after the begin of the next one


def test_an_outage_without_anything_to_send_sends_nothing(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    endpoint.behave = hang
    fill(store, 5)

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=RULES) as notifier:
        running.wait_for(lambda: "opened" in notifier.record.reported)
        for row in store.rows.values():
            row.state = model.DeliveryState.DISCARDED
        running.wait_for(lambda: not store.held and store.parked is not None)
        before = len(endpoint.received)
        notifier.stop.wait(0.8)
        assert len(endpoint.received) <= before + 1
        endpoint.behave = succeed
        (key,) = store.add("late")
        running.wait_for(lambda: store.state(key) is DELIVERED, within_s=SOON_S)


def test_probes_go_to_never_attempted_events_first_after_a_complete_503(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda request, _line: endpoints.Reply(503 if request.subject.startswith("bad") else 204)
    fill(store, 40, prefix="bad")
    good = fill(store, 5, prefix="good")

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=NO_TIMEOUT, width=2, batch=5):
        running.wait_for(lambda: all(store.state(key) is DELIVERED for key in good), within_s=SOON_S)

    first, last = endpoint.received[0].at, endpoint.received[-1].at
    assert last - first > 1.0, "more than 20 probes a second"
    tried = [request.subject for request in endpoint.received]
    assert len(set(tried)) == 45


def test_events_that_always_get_500_do_not_hold_up_the_others(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda request, _line: endpoints.Reply(500 if request.subject.startswith("bad") else 204)
    policy = retry.Policy(max_attempts=10, initial_s=0.05, max_s=5.0, multiplier=2.0, jitter=0.1)
    fill(store, 200, prefix="bad")

    with running.Notifier(store, endpoint, policy=policy, rules=NO_TIMEOUT) as notifier:
        running.wait_for(lambda: len(notifier.record.outcomes) > 100)
        good = fill(store, 20, prefix="good")
        running.wait_for(lambda: all(store.state(key) is DELIVERED for key in good), within_s=SOON_S)

    assert "opened" not in notifier.record.reported


def test_a_refusal_in_an_outage_closes_the_breaker(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    endpoint.behave = hang
    fill(store, 10)

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=RULES) as notifier:
        running.wait_for(lambda: "opened" in notifier.record.reported)
        endpoint.behave = lambda _request, _line: endpoints.Reply(404)
        running.wait_for(lambda: store.count(model.DeliveryState.FAILED) == 10, within_s=SOON_S)

    assert notifier.record.reported[-1] == "closed"


def test_with_the_breaker_disabled_every_failure_counts(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(503)
    rules = breaker.BreakerRules(threshold=0, probe_interval_s=1.0, timeout_s=1.0)
    policy = retry.Policy(max_attempts=2, initial_s=0.05, max_s=1.0, multiplier=1.0, jitter=0.0)
    fill(store, 10)

    with running.Notifier(store, endpoint, policy=policy, rules=rules) as notifier:
        running.wait_for(lambda: store.count(model.DeliveryState.FAILED) == 10)

    assert len(endpoint.received) == 20
    assert "opened" not in notifier.record.reported


def test_a_request_that_hangs_since_before_the_outage_does_not_hold_up_probes(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    release = threading.Event()

    def behave(request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        if request.subject == "stuck-0":
            release.wait(300)
        return endpoints.Reply(503)

    endpoint.behave = behave
    rules = breaker.BreakerRules(threshold=5, probe_interval_s=0.2, timeout_s=LONG_S)
    fill(store, 1, prefix="stuck")

    with running.Notifier(store, endpoint, policy=SLOW_RETRY, rules=rules, width=2) as notifier:
        running.wait_for(lambda: len(endpoint.received) == 1)
        fill(store, 8)
        running.wait_for(lambda: "opened" in notifier.record.reported)
        before = len(endpoint.received)
        running.wait_for(lambda: len(endpoint.received) >= before + 3)
        release.set()
