"""The notifier with nginx, HAProxy and Envoy: every event arrives, in order for its object."""

import itertools
import threading
from collections import defaultdict

from beacon.domain import model
from beacon.notifier.delivery import breaker, retry
from tests.endpoints import proxies
from tests.unit.notifier import endpoints, running, stores

DELIVERED = model.DeliveryState.DELIVERED
FAILED = model.DeliveryState.FAILED
PATIENT = retry.Policy(max_attempts=10, initial_s=0.05, max_s=2.0, multiplier=2.0, jitter=0.1)
FEW_TRIES = retry.Policy(max_attempts=3, initial_s=0.02, max_s=0.2, multiplier=2.0, jitter=0.1)
WITHIN_S = 60.0


def all_delivered(store: stores.Store) -> None:
    running.wait_for(lambda: store.count(DELIVERED) == len(store.rows), within_s=WITHIN_S)


def arrived_so_far(receiver: endpoints.Endpoint, count: int) -> None:
    running.wait_for(lambda: len(receiver.received) > count, within_s=WITHIN_S)


def first_arrivals(receiver: endpoints.Endpoint) -> dict[str, list[int]]:
    """Return the numbers of the events by object, in the order of their first arrival."""
    found: dict[str, list[int]] = defaultdict(list)
    for request in list(receiver.received):
        number = int(request.headers["x-beacon-event-id"].removeprefix("event-"))
        if number not in found[request.subject]:
            found[request.subject].append(number)
    return found


def test_restarts_under_load_lose_nothing_and_keep_the_order(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    with running.Notifier(store, receiver, url=proxy.url()):
        for name in ("a", "b", "c", "d"):
            store.add(name, count=100)
        for share in (40, 200):
            arrived_so_far(receiver, share)
            proxy.restart()
        all_delivered(store)

    arrived = first_arrivals(receiver)
    assert sum(map(len, arrived.values())) == 400
    assert all(numbers == sorted(numbers) for numbers in arrived.values())
    assert store.count(FAILED) == 0


def test_events_at_the_pace_of_the_idle_time_out_all_arrive(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    pause = threading.Event()

    with running.Notifier(store, receiver, url=proxy.url(port="idle"), policy=FEW_TRIES) as at_work:
        for number, late_ms in enumerate(itertools.islice(itertools.cycle((-4, -2, -1, 0, 1, 2)), 9)):
            store.add(f"o{number}")
            all_delivered(store)
            pause.wait((proxies.IDLE_MS + late_ms) / 1000)

    assert len(first_arrivals(receiver)) == 9
    assert "opened" not in at_work.record.reported


def test_a_rate_limit_delays_events_but_fails_none(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    with running.Notifier(store, receiver, url=proxy.url("/limited"), policy=PATIENT) as at_work:
        while "429" not in {outcome.code for outcome in at_work.record.outcomes}:
            for _ in range(4):
                store.add(f"o{len(store.rows)}")
            all_delivered(store)

    assert {outcome.code for outcome in at_work.record.outcomes} == {"204", "429"}
    assert len(receiver.received) == len(store.rows)
    assert at_work.record.gave_up_on == []


def test_a_stopped_receiver_is_an_outage_that_uses_no_attempts(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    rules = breaker.BreakerRules(threshold=2, probe_interval_s=0.05, timeout_s=30.0)
    receiver.down()
    for number in range(10):
        store.add(f"o{number}")

    with running.Notifier(store, receiver, url=proxy.url(), policy=FEW_TRIES, rules=rules) as at_work:
        running.wait_for(lambda: "opened" in at_work.record.reported, within_s=WITHIN_S)
        running.wait_for(lambda: len(at_work.record.outcomes) > 6, within_s=WITHIN_S)  # more than were ever allowed
        receiver.up()
        all_delivered(store)

    assert {outcome.code for outcome in at_work.record.outcomes} == {"204", str(proxy.kind.unreachable)}
    assert at_work.record.reported[-1] == "closed"
    assert store.count(FAILED) == 0


def test_a_stopped_proxy_is_an_outage_too(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    rules = breaker.BreakerRules(threshold=2, probe_interval_s=0.05, timeout_s=30.0)
    for number in range(10):
        store.add(f"o{number}")
    proxy.stop()

    with running.Notifier(store, receiver, url=proxy.url(), policy=FEW_TRIES, rules=rules) as at_work:
        running.wait_for(lambda: "opened" in at_work.record.reported, within_s=WITHIN_S)
        proxy.start()
        all_delivered(store)

    assert {outcome.code for outcome in at_work.record.outcomes} <= {"204", "network"}
    assert len(receiver.received) == 10


def test_an_event_over_the_size_limit_fails_and_delays_no_other(
    store: stores.Store, receiver: endpoints.Endpoint, proxy: proxies.Proxy
) -> None:
    (large,) = store.add("x" * proxies.SMALL * 2)
    (small,) = store.add("o")

    with running.Notifier(store, receiver, url=proxy.url("/small")):
        running.wait_for(lambda: (store.state(large), store.state(small)) == (FAILED, DELIVERED), within_s=WITHIN_S)

    (outcome,) = store.rows[large].outcomes
    assert outcome.code == "413"
