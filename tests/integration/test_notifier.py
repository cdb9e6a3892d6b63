"""The notifier between a store and an endpoint on real sockets: claims, order, concurrency, retries, stopping."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from beacon import bus
from beacon.domain import model
from beacon.notifier.delivery import breaker, retry
from tests.unit.notifier import endpoints, running, stores

DELIVERED = model.DeliveryState.DELIVERED
FAILED = model.DeliveryState.FAILED
ONE_TRY = retry.Policy(max_attempts=1, initial_s=0.05, max_s=0.1, multiplier=2.0, jitter=0.0)
NO_BREAKER = breaker.BreakerRules(threshold=0, probe_interval_s=1.0, timeout_s=5.0)


def names(endpoint: endpoints.Endpoint) -> list[str]:
    return [request.subject for request in list(endpoint.received)]


def test_an_event_is_delivered_while_a_claim_is_parked(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    with running.Notifier(store, endpoint):
        running.wait_for(lambda: store.parked is not None)
        (key,) = store.add("web")
        running.wait_for(lambda: store.state(key) is DELIVERED)

    (request,) = endpoint.received
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert request.headers["user-agent"] == "beacon/test"
    assert request.headers["x-beacon-event-id"] == "event-1"
    assert json.loads(request.body)["ledgerid"] == "ledger-1"


def test_a_settlement_does_not_wait_for_the_end_of_a_long_poll(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    with running.Notifier(store, endpoint, poll_s=3600.0):
        running.wait_for(lambda: store.parked is not None)
        (key,) = store.add("web")
        running.wait_for(lambda: len(endpoint.received) == 1)

        running.wait_for(lambda: store.state(key) is DELIVERED)


def test_events_of_one_object_go_out_in_order_one_at_a_time(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    store.add("web", count=20)

    with running.Notifier(store, endpoint, width=8):
        running.wait_for(lambda: store.count(DELIVERED) == 20)

    assert [request.headers["x-beacon-event-id"] for request in endpoint.received] == [
        f"event-{n}" for n in range(1, 21)
    ]
    assert endpoint.most_in_flight == 1


def test_objects_do_not_wait_for_each_other(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    release = threading.Event()

    def behave(request: endpoints.Received, _: socket.socket) -> endpoints.Reply:
        if request.subject == "slow":
            release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    (slow,) = store.add("slow")
    with running.Notifier(store, endpoint, width=2):
        running.wait_for(lambda: names(endpoint) == ["slow"])
        for index in range(10):
            store.add(f"web-{index}")
        running.wait_for(lambda: store.count(DELIVERED) == 10)
        assert store.state(slow) is stores.READY
        release.set()
        running.wait_for(lambda: store.state(slow) is DELIVERED)


def held(endpoint: endpoints.Endpoint) -> threading.Event:
    """Delay all answers until the returned event is set."""
    release = threading.Event()

    def behave(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    return release


def test_a_slow_endpoint_is_served_at_full_width_at_once(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    release = held(endpoint)
    for index in range(32):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=32):
        running.wait_for(lambda: endpoint.most_in_flight == 32)
        release.set()
        running.wait_for(lambda: store.count(DELIVERED) == 32)


def test_full_width_is_reached_in_batches_of_one(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    release = held(endpoint)
    for index in range(16):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=8, batch=1):
        running.wait_for(lambda: endpoint.most_in_flight == 8)
        release.set()


def test_width_grows_again_when_a_fast_endpoint_turns_slow(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    for index in range(200):
        store.add(f"web-{index}")
    with running.Notifier(store, endpoint, width=16):
        running.wait_for(lambda: store.count(DELIVERED) == 200)
        release = held(endpoint)
        endpoint.most_in_flight = 0
        for index in range(16):
            store.add(f"slow-{index}")

        running.wait_for(lambda: endpoint.most_in_flight == 16)
        release.set()


def test_more_requests_than_the_width_are_never_under_way(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    release = held(endpoint)
    for index in range(100):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=3):
        running.wait_for(lambda: endpoint.most_in_flight == 3)
        release.set()
        running.wait_for(lambda: store.count(DELIVERED) == 100)

    assert endpoint.most_in_flight == 3


def test_a_retry_comes_with_the_same_event_id_and_a_new_request_id(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    answers = iter([500, 503, 204])
    endpoint.behave = lambda _request, _line: endpoints.Reply(next(answers))
    (key,) = store.add("web")

    with running.Notifier(store, endpoint):
        running.wait_for(lambda: store.state(key) is DELIVERED)

    assert {request.headers["x-beacon-event-id"] for request in endpoint.received} == {"event-1"}
    assert len({request.headers["x-request-id"] for request in endpoint.received}) == 3
    assert [outcome.code for outcome in store.rows[key].outcomes] == ["500", "503", "204"]
    assert [outcome.attempt for outcome in store.rows[key].outcomes] == [1, 2, 3]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_a_refused_event_fails_at_once_and_the_objects_next_event_goes(
    store: stores.Store, endpoint: endpoints.Endpoint, status: int
) -> None:
    answers = iter([status, 204])
    endpoint.behave = lambda _request, _line: endpoints.Reply(next(answers), b"no", {"Location": "/elsewhere"})
    first, second = store.add("web", count=2)

    with running.Notifier(store, endpoint) as notifier:
        running.wait_for(lambda: store.state(second) is DELIVERED)

    assert store.state(first) is FAILED
    assert len(endpoint.received) == 2
    assert not notifier.record.gave_up_on


def test_an_event_fails_when_its_attempts_are_exhausted(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(500)
    policy = retry.Policy(max_attempts=3, initial_s=0.01, max_s=0.02, multiplier=1.0, jitter=0.0)
    (key,) = store.add("web")

    with running.Notifier(store, endpoint, policy=policy) as notifier:
        running.wait_for(lambda: store.state(key) is FAILED)

    assert len(endpoint.received) == 3
    assert len(notifier.record.gave_up_on) == 1


def test_an_event_that_alone_gets_503_fails_after_exactly_its_attempts(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda request, _line: endpoints.Reply(503 if request.subject == "bad" else 204)
    policy = retry.Policy(max_attempts=3, initial_s=3600.0, max_s=3600.0, multiplier=1.0, jitter=0.0)
    (bad,) = store.add("bad")

    with running.Notifier(store, endpoint, policy=policy) as notifier:
        for attempt in range(1, 4):
            running.wait_for(lambda attempt=attempt: store.rows[bad].requests == attempt)  # type: ignore[misc]
            assert store.rows[bad].attempts == attempt - 1  # forgiven as long as no other event is answered
            (good,) = store.add(f"good-{attempt}")
            running.wait_for(lambda key=good: store.state(key) is DELIVERED)  # type: ignore[misc]
            running.wait_for(lambda attempt=attempt: store.rows[bad].attempts == attempt)  # type: ignore[misc]
            store.rows[bad].next_at = 0.0  # only now is it due again
        running.wait_for(lambda: store.state(bad) is FAILED)

    assert names(endpoint).count("bad") == 3
    assert len(notifier.record.gave_up_on) == 1


def test_an_event_that_gets_503_is_given_up_once_however_often_it_is_sent_before_another_is_answered(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda request, _line: endpoints.Reply(503 if request.subject == "bad" else 204)
    policy = retry.Policy(max_attempts=2, initial_s=0.001, max_s=0.001, multiplier=1.0, jitter=0.0)
    rules = replace(running.RULES, threshold=1_000_000)
    (bad,) = store.add("bad")

    with running.Notifier(store, endpoint, policy=policy, rules=rules) as notifier:
        running.wait_for(lambda: store.rows[bad].requests >= 4)  # none of them counts yet
        assert store.rows[bad].attempts == 0
        store.add("good")
        running.wait_for(lambda: store.state(bad) is FAILED)
        sent = names(endpoint).count("bad")
        store.add("later")
        running.wait_for(lambda: store.count(DELIVERED) == 2)

    assert names(endpoint).count("bad") == sent
    assert len(notifier.record.gave_up_on) == 1


def test_a_retry_after_pauses_the_whole_endpoint(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    answers = iter([endpoints.Reply(429, headers={"Retry-After": "1"})])
    endpoint.behave = lambda _request, _line: next(answers, endpoints.Reply())
    policy = retry.Policy(max_attempts=5, initial_s=0.05, max_s=5.0, multiplier=2.0, jitter=0.0)
    store.add("first")

    with running.Notifier(store, endpoint, policy=policy):
        running.wait_for(lambda: len(endpoint.received) == 1)
        running.wait_for(lambda: bool(store.rows[1].outcomes))
        store.add("second")
        running.wait_for(lambda: store.count(DELIVERED) == 2)

    pause_s = endpoint.received[1].at - endpoint.received[0].at
    assert pause_s >= 1.0
    assert store.rows[1].outcomes[0].delay_s == 1.0


def test_a_lost_reply_repeats_nothing(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    lost: set[int] = set()

    def lose(claim: object) -> bool:
        number = claim.number  # type: ignore[attr-defined]
        if number % 3 == 0 and number not in lost:
            lost.add(number)
            return True
        return False

    store.lose = lose
    for index in range(30):
        store.add(f"web-{index % 10}")

    with running.Notifier(store, endpoint, batch=4, poll_s=0.1):
        running.wait_for(lambda: store.count(DELIVERED) == 30)

    assert lost
    assert sorted(request.headers["x-beacon-event-id"] for request in endpoint.received) == sorted(
        f"event-{key}" for key in range(1, 31)
    )


def test_a_restarted_store_repeats_nothing_that_is_under_way(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=0.3)
    for index in range(20):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=5, batch=10):
        running.wait_for(lambda: len(endpoint.received) >= 5)
        store.restart()
        running.wait_for(lambda: store.count(DELIVERED) == 20)

    assert len(endpoint.received) == 20


def test_a_fenced_notifier_completes_the_deliveries_that_it_holds(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=0.2)
    for index in range(8):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=4):
        running.wait_for(lambda: len(endpoint.received) >= 4)
        store.fence()
        running.wait_for(lambda: store.count(DELIVERED) == 8)

    assert len(endpoint.received) == 8
    assert len({claim.session for claim in store.claims}) == 2


def waits_for(condition: Callable[[], bool]) -> bool:
    """Return True if a condition holds within half a second."""
    try:
        running.wait_for(condition, within_s=0.5)
    except AssertionError:
        return False
    return True


def test_leases_of_another_ledger_are_dropped(store: stores.Store, endpoint: endpoints.Endpoint) -> None:
    release = threading.Event()

    def behave(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    store.add("old")
    with running.Notifier(store, endpoint):
        running.wait_for(lambda: len(endpoint.received) == 1)
        store.stop()
        store.ledger, store.rows = "ledger-2", {}
        store.restart()
        (key,) = store.add("new")
        running.wait_for(lambda: len(endpoint.received) == 2)
        release.set()
        running.wait_for(lambda: store.state(key) is DELIVERED)

    assert json.loads(endpoint.received[-1].body)["ledgerid"] == "ledger-2"
    assert len(store.rows[key].outcomes) == 1


def test_without_a_store_no_more_is_sent_than_a_crash_may_repeat(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    release = threading.Event()

    def behave(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        release.wait(300)
        return endpoints.Reply(delay_s=0.03)  # longer than a settlement is fresh

    endpoint.behave = behave
    for index in range(90):
        store.add(f"web-{index}")
    with running.Notifier(store, endpoint, width=5) as notifier:
        running.wait_for(lambda: len(endpoint.received) == 5)
        store.stop()
        release.set()
        running.wait_for(lambda: len(notifier.record.outcomes) >= 32)
        running.wait_for(lambda: endpoint.in_flight == 0)
        # A notifier that still sends would have sent all of it by the next round trip.
        assert not waits_for(lambda: len(endpoint.received) > 32 + 5)

        store.restart()
        running.wait_for(lambda: store.count(DELIVERED) == 90)
    assert len(endpoint.received) == 90


def test_a_changed_configuration_ends_the_notifier_after_it_has_settled(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=0.5)
    (key,) = store.add("web")

    with running.Notifier(store, endpoint) as notifier:
        running.wait_for(lambda: len(endpoint.received) == 1)
        store.stop()
        store.settings = "settings-2"
        store.restart()
        running.wait_for(lambda: bool(notifier.failures))

    assert isinstance(notifier.failures[0], bus.SettingsChanged)
    assert store.state(key) is DELIVERED
    assert len(endpoint.received) == 1


def test_nothing_is_settled_with_another_ledger_that_comes_with_another_configuration(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    sent, release = threading.Event(), threading.Event()

    def behave(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        sent.set()
        release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    (key,) = store.add("web")
    with running.Notifier(store, endpoint) as notifier:
        assert sent.wait(60)
        store.stop()
        store.rows.clear()  # the same number is an event that was never sent
        assert store.add("other") == [key]
        store.ledger, store.settings = "ledger-2", "settings-2"
        store.restart()
        running.wait_for(lambda: len(store.claims) > 1)
        release.set()
        running.wait_for(lambda: bool(notifier.failures))

    assert isinstance(notifier.failures[0], bus.SettingsChanged)
    assert store.state(key) is not DELIVERED
    assert not store.rows[key].outcomes


def test_a_stop_lets_requests_in_flight_finish_and_sends_nothing_more(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    release = held(endpoint)
    for index in range(20):
        store.add(f"web-{index}")

    with running.Notifier(store, endpoint, width=5) as notifier:
        running.wait_for(lambda: endpoint.most_in_flight == 5)
        notifier.stop.set()
        release.set()

    assert len(endpoint.received) == 5
    assert store.count(DELIVERED) == 5
    assert not any(outcome.code != "204" for row in store.rows.values() for outcome in row.outcomes)


def test_a_stop_cancels_a_hanging_request_and_its_delivery_stays_pending(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    rules = breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=3600.0)
    hang = threading.Event()
    endpoint.behave = lambda _request, _line: endpoints.Reply() if hang.wait(3600) else None
    (key,) = store.add("web")

    with running.Notifier(store, endpoint, rules=rules, finish_s=0.5):
        running.wait_for(lambda: len(endpoint.received) == 1)
    hang.set()

    assert store.state(key) is stores.READY
    (outcome,) = store.rows[key].outcomes
    assert outcome.result is model.DeliveryResult.RETRY
    assert not outcome.counted


def test_an_idle_notifier_claims_no_more_often_than_its_poll_interval(
    store: stores.Store, endpoint: endpoints.Endpoint
) -> None:
    with running.Notifier(store, endpoint, poll_s=0.2):
        running.wait_for(lambda: store.parked is not None)
        began = time.monotonic()
        before = len(store.claims)
        running.wait_for(lambda: len(store.claims) >= before + 6)
        ended = time.monotonic()

    assert ended - began > 4.5 * 0.2
