"""One client for many threads: calls wait for their own reply, and a new ledger voids what links know."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon import bus, errors, wire
from tests.integration.test_bus import PONG, Serving, place

__all__ = ["place"]
POSITION = wire.PositionReply(place=wire.ApplyResult.APPLIED)


@contextmanager
def driven(where: Path) -> Iterator[tuple[bus.SharedClient, threading.Event, list[BaseException]]]:
    """Drive a shared client in a thread."""
    stop, failures = threading.Event(), list[BaseException]()
    with bus.Client(bus.address(where), stop=stop) as client:
        shared = bus.SharedClient(client, stop=stop)

        def drive() -> None:
            try:
                while not stop.is_set():
                    shared.exchange(0.2)
            except errors.BeaconError as error:
                failures.append(error)

        thread = threading.Thread(target=drive)
        thread.start()
        yield shared, stop, failures
        stop.set()
        thread.join()


def test_each_thread_gets_the_reply_to_its_own_request(place: Path) -> None:
    def answer(request: wire.AnyRequest) -> wire.Reply:
        assert isinstance(request, wire.Hello)
        return wire.HelloReply(settings={"of": request.process})

    got: dict[str, object] = {}
    with Serving(place, answer), driven(place) as (shared, _, _):

        def ask(name: str) -> None:
            link = bus.Link(shared, beat=lambda: None)
            for _ in range(20):
                got[name] = link.call(wire.Hello(process=name)).settings["of"]
                assert got[name] == name

        threads = [threading.Thread(target=ask, args=(f"t{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert got == {f"t{number}": f"t{number}" for number in range(8)}


def test_a_refusal_reaches_the_thread_that_asked_and_no_other(place: Path) -> None:
    refused = wire.Refused(code=wire.Refusal.FAILED, message="no")
    with (
        Serving(place, lambda request: refused if isinstance(request, wire.Hello) else PONG),
        driven(place) as (shared, _, _),
    ):
        link = bus.Link(shared, beat=lambda: None)
        with pytest.raises(errors.PermanentError, match="no"):
            link.call(wire.Hello(process="a"))

        assert link.call(wire.Ping()) == PONG


def test_a_wait_for_a_silent_store_beats_and_ends_when_the_process_must_stop(place: Path) -> None:
    beats: list[int] = []
    with Serving(place, lambda _: None), driven(place) as (shared, stop, _):

        def beat() -> None:
            beats.append(1)
            if len(beats) == 2:
                stop.set()

        link = bus.Link(shared, beat=beat)
        with pytest.raises(errors.Stopping):
            link.call(wire.Ping())

    assert len(beats) == 2


def test_another_ledger_ends_calls_and_voids_links_until_they_are_renewed(place: Path) -> None:
    with Serving(place) as store, driven(place) as (shared, _, _):
        link = bus.Link(shared, beat=lambda: None)
        other = bus.Link(shared, beat=lambda: None)
        link.call(wire.Ping())
        store._identity["ledger"] = "another"

        with pytest.raises(bus.LedgerChanged):
            link.call(wire.Ping())
        with pytest.raises(bus.LedgerChanged):
            other.call(wire.Ping())
        other.renew()
        assert other.call(wire.Ping()) == PONG


def test_another_configuration_ends_the_calls_and_the_driver(place: Path) -> None:
    with Serving(place) as store, driven(place) as (shared, _, failures):
        link = bus.Link(shared, beat=lambda: None)
        link.call(wire.Ping())
        store._identity["settings"] = "another"

        with pytest.raises(bus.SettingsChanged):
            link.call(wire.Ping())

    assert [type(failure) for failure in failures] == [bus.SettingsChanged]
