"""Polls over a real bus: they have a timeout, and concurrent requests share them."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon import bus
from beacon.exporter import store_poller
from beacon.runtime import stop_flag
from tests.unit.exporter import stores

LIMIT_S = 100.0


@contextmanager
def asking(run_dir: Path) -> Iterator[tuple[store_poller.StorePoller, list[BaseException]]]:
    stop = threading.Event()
    made = store_poller.StorePoller(stop)
    ended: list[BaseException] = []

    def run() -> None:
        with bus.Client(bus.address(run_dir), stop=stop) as client:
            try:
                made.run(client, lambda: None)
            except bus.SettingsChanged as error:
                ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield made, ended
    stop.set()
    thread.join()


def heard(made: store_poller.StorePoller) -> store_poller.StoreAnswer:
    """Return the store's answer, with as much time as a busy machine needs."""
    deadline = time.monotonic() + LIMIT_S
    while (answer := made.ask().result(LIMIT_S)).state == "silent":
        assert time.monotonic() < deadline
    return answer


def test_a_serving_store_is_ready_with_statistics(short_dir: Path) -> None:
    with stores.serving(short_dir), asking(short_dir) as (made, _):
        answer = heard(made)

    assert (answer.state, answer.why) == ("ready", "")
    assert answer.statistics is not None
    assert answer.since_us > 0


def test_a_missing_store_is_silent_within_the_timeout(short_dir: Path) -> None:
    with asking(short_dir) as (made, _):
        answer = made.ask().result(LIMIT_S)

    assert answer.state == "silent"


def test_many_concurrent_requests_wait_at_most_two_polls(short_dir: Path) -> None:
    with asking(short_dir) as (made, _):
        futures: list[Future[store_poller.StoreAnswer]] = [made.ask() for _ in range(50)]
        states = {future.result(LIMIT_S).state for future in futures}

    assert states == {"silent"}


def test_a_store_that_is_starting_reports_its_state(short_dir: Path) -> None:
    with stores.serving(short_dir) as store, asking(short_dir) as (made, _):
        store.state = "checking the ledger"
        answer = heard(made)

    assert (answer.state, answer.statistics) == ("checking the ledger", None)


def test_a_store_that_comes_back_is_found_again(short_dir: Path) -> None:
    with asking(short_dir) as (made, _):
        with stores.serving(short_dir):
            assert heard(made).state == "ready"
        assert made.ask().result(LIMIT_S).state == "silent"
        with stores.serving(short_dir):
            assert heard(made).state == "ready"


def test_without_a_request_the_store_is_only_pinged(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_poller, "_IDLE_S", 0.01)
    with stores.serving(short_dir) as store, asking(short_dir) as (made, _):
        heard(made)
        inspected, pinged = store.asked.count("inspect"), store.asked.count("ping")

        deadline = time.monotonic() + LIMIT_S
        while store.asked.count("ping") < pinged + 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert store.asked.count("inspect") == inspected


def test_a_stop_ends_the_wait_for_the_next_poll(short_dir: Path) -> None:
    stop = stop_flag.StopFlag()
    made = store_poller.StorePoller(stop)
    stop.wakes(made.wake)
    with bus.Client(bus.address(short_dir), stop=stop) as client:
        beats: list[float] = []
        thread = threading.Thread(target=made.run, args=(client, lambda: beats.append(time.monotonic())))
        thread.start()
        stop.set()
        thread.join(LIMIT_S)

    assert not thread.is_alive()


def test_a_replaced_ledger_is_noticed_once_and_then_known(short_dir: Path) -> None:
    with stores.serving(short_dir) as store, asking(short_dir) as (made, _):
        heard(made)
        store.ledger = "another"

        assert heard(made).state == "replaced"
        assert heard(made).state == "ready"


def test_a_changed_configuration_ends_the_poller_without_a_request(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_poller, "_IDLE_S", 0.1)
    with stores.serving(short_dir) as store, asking(short_dir) as (made, ended):
        heard(made)

        store.settings = "another"

        deadline = time.monotonic() + LIMIT_S
        while not ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)
