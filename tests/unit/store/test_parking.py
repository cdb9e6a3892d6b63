"""Parking in the store: when an endpoint is parked, what is restored, and what a parking number forgives."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model, parking
from beacon.store.ledger import endpoints
from beacon.store.verbs import parking as restores
from tests.unit.store import world

RULES = parking.ParkingRules()
ENDPOINT = endpoints.LedgerEndpoint(name="default", url_digest=b"url", park=RULES)


class Notifier:
    """One notifier's claims; the answers are those of the endpoint at the store's time."""

    def __init__(self, store: world.World, session: str = "s") -> None:
        self.store = store
        self.session = session
        self.number = 0
        self.held: dict[int, tuple[model.Delivery, int]] = {}
        self.reply = wire.Claimed(number=0)

    def claim(self, *outcomes: model.Outcome, want: int = 100, **changes: Any) -> list[str]:
        """Settle outcomes and lease; return the names of the leased objects."""
        self.number += 1
        for outcome in outcomes:
            self.held.pop(outcome.delivery, None)
        request = wire.Claim(
            endpoint="default",
            session=self.session,
            number=self.number,
            want=want,
            wait_s=0.0,
            settlements=outcomes,
            held=tuple(self.held),
            parked=bool(self.reply.parked),
        )
        self.reply = self.store.ask(replace(request, **changes))
        assert isinstance(self.reply, wire.Claimed), self.reply
        for one in self.reply.deliveries:
            self.held[one.id] = one, self.reply.parking
        return [one.name for one in self.reply.deliveries]

    def answer(self, name: str, status: int, **changes: Any) -> model.Outcome:
        """Return the outcome of an answer to the held delivery of an object, which took a millisecond."""
        delivery, number = next(pair for pair in self.held.values() if pair[0].name == name)
        self.store.clock.advance(0.002)
        result = model.DeliveryResult.FAILED if 300 <= status < 500 else model.DeliveryResult.RETRY
        outcome = model.Outcome(
            delivery=delivery.id,
            generation=delivery.generation,
            attempt=delivery.requests + 1,
            result=model.DeliveryResult.DELIVERED if 200 <= status < 300 else result,
            code=str(status) if status else "timeout",
            status=status,
            counted=result is model.DeliveryResult.FAILED,
            started_us=self.store.clock.us - 1000,
            duration_s=0.001,
            parking=number,
        )
        return replace(outcome, **changes)

    def release(self, name: str) -> model.Outcome:
        return self.answer(name, 0, result=model.DeliveryResult.RELEASED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True, endpoints_=(ENDPOINT,))
    opened.open()
    opened.relist(10)
    yield opened
    opened.ledger.close()


def states(store: world.World) -> str:
    """Return the states of all deliveries in their order, by their first letters."""
    return "".join(state[0] for (state,) in store.ledger.rows("SELECT state FROM deliveries ORDER BY id"))


def parked(store: world.World) -> tuple[int, str]:
    found = store.ledger.row("SELECT parking, parked_cause FROM endpoints")
    assert found is not None
    return found[0], found[1]


def accept(store: world.World, notifier: Notifier, *names: str) -> None:
    """Settle an accepted event of each object, and advance the clock by more than a second."""
    world.emit(store, *names)
    notifier.claim()
    notifier.claim(*[notifier.answer(name, 200) for name in names], want=0)
    store.clock.advance(1.5)


def refuse(store: world.World, notifier: Notifier, *names: str, status: int = 401) -> None:
    world.emit(store, *names)
    notifier.claim()
    notifier.claim(*[notifier.answer(name, status) for name in names], want=0)


def probe(notifier: Notifier, **changes: Any) -> list[str]:
    return notifier.claim(want=1, probe=True, **changes)


def test_three_objects_in_a_row_park_the_endpoint_and_are_restored(store: world.World) -> None:
    notifier = Notifier(store)
    accept(store, notifier, "a")

    refuse(store, notifier, "a", "b", "c")

    assert parked(store) == (1, "unauthorized")
    assert notifier.reply.parked == "unauthorized"
    assert states(store) == "drrr"
    assert notifier.claim() == []
    (statistics,) = store.ask(wire.Inspect()).endpoints
    assert (statistics.parked_cause, statistics.failed, statistics.parked_us > 0) == ("unauthorized", 0, True)


def test_a_restored_delivery_is_the_next_generation_without_attempts_and_not_marked(store: world.World) -> None:
    notifier = Notifier(store)

    refuse(store, notifier, "a", "b", "c")
    probe(notifier)

    (delivery,) = notifier.reply.deliveries
    assert (delivery.generation, delivery.attempts, delivery.requests, delivery.redelivered) == (1, 0, 1, False)
    assert [row[0] for row in store.ledger.rows("SELECT action FROM actions")] == ["restored"] * 3


def test_fewer_objects_never_park_it(store: world.World) -> None:
    notifier = Notifier(store)
    for _ in range(10):
        refuse(store, notifier, "a", "b")
        store.clock.advance(5.0)
    store.service.process([])

    assert parked(store) == (0, "")
    assert set(states(store)) == {"f"}


def test_it_is_parked_when_no_proper_answer_has_come_for_a_second(store: world.World) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "b", "c", "d")
    notifier.claim()
    outcomes = [notifier.answer(name, status) for name, status in (("d", 200), ("a", 401), ("b", 401), ("c", 401))]
    notifier.claim(*outcomes, want=0)
    assert parked(store) == (0, "")

    store.clock.advance(0.9)
    store.service.process([])
    assert parked(store) == (0, "")
    store.clock.advance(0.2)
    store.service.process([])

    assert parked(store) == (1, "unauthorized")
    assert states(store) == "rrrd"


def test_a_proper_answer_says_nothing_about_what_came_back_after_it_was_sent(store: world.World) -> None:
    notifier = Notifier(store)
    accept(store, notifier, "d")
    world.emit(store, "a", "b", "c", "d")
    notifier.claim()
    slow = notifier.answer("d", 200)
    refused = [notifier.answer(name, 401) for name in "abc"]
    slow = replace(slow, duration_s=0.006)
    notifier.claim(*refused, slow, want=0)
    store.clock.advance(1.1)
    store.service.process([])

    assert parked(store) == (1, "unauthorized")


def test_a_proper_answer_ends_the_row(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    accept(store, notifier, "d")

    refuse(store, notifier, "c", "e")
    store.service.process([])

    assert parked(store) == (0, "")


@pytest.mark.parametrize("status", [500, 503, 408, 429, 0])
def test_other_answers_neither_end_nor_lengthen_the_row(store: world.World, status: int) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    world.emit(store, "x")
    notifier.claim()
    retry = {"result": model.DeliveryResult.RETRY, "delay_s": 60.0}
    notifier.claim(notifier.answer("x", status, **retry), want=0)
    store.service.process([])
    assert parked(store) == (0, "")

    refuse(store, notifier, "c")

    assert parked(store) == (1, "unauthorized")


def test_an_object_counts_only_with_its_first_refusal(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    accept(store, notifier, "d")
    refuse(store, notifier, "a", "b", "c")
    store.service.process([])
    assert parked(store) == (0, "")

    refuse(store, notifier, "d", "e")

    assert parked(store) == (1, "unauthorized")


def test_objects_of_which_nothing_was_accepted_count_only_when_there_are_20(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, *(f"x{number}" for number in range(19)), status=404)
    store.service.process([])
    assert parked(store) == (0, "")

    refuse(store, notifier, "y", status=404)

    assert parked(store) == (1, "not-found")
    assert set(states(store)) == {"r"}


def test_while_parked_a_probe_is_the_newest_event_that_was_never_sent_then_the_least_recently_tried(
    store: world.World,
) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b", "c")
    world.emit(store, "x", "y")
    found = []
    for _ in range(6):
        (name,) = probe(notifier)
        found.append(name)
        notifier.claim(notifier.answer(name, 401), want=0)

    assert found == ["y", "x", "a", "b", "c", "y"]
    assert parked(store) == (1, "unauthorized")
    assert set(states(store)) == {"r"}
    assert store.ledger.rows("SELECT DISTINCT attempts FROM deliveries") == [(0,)]


def test_a_proper_answer_to_a_probe_ends_it_and_all_goes_on(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b", "c")
    (name,) = probe(notifier)

    notifier.claim(notifier.answer(name, 200), want=0)

    assert parked(store) == (1, "")
    assert sorted([name, *notifier.claim()]) == ["a", "b", "c"]


def test_an_answer_to_a_request_that_was_sent_before_does_not_end_it(store: world.World) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "b", "c", "d")
    notifier.claim()
    early = notifier.answer("d", 200)
    notifier.claim(*[notifier.answer(name, 401) for name in "abc"], want=0)

    notifier.claim(early, want=0)

    assert parked(store) == (1, "unauthorized")


def test_a_refusal_of_a_request_with_an_older_number_is_forgiven(store: world.World) -> None:
    notifier = Notifier(store)
    world.emit(store, "d")
    notifier.claim()
    refuse(store, notifier, "a", "b", "c")
    (name,) = probe(notifier)
    notifier.claim(notifier.answer(name, 200), want=0)

    notifier.claim(notifier.answer("d", 401), want=0)

    assert store.ledger.row("SELECT state, attempts, requests FROM deliveries WHERE id >> 12 = 1") == ("ready", 0, 1)


def test_a_changed_secret_ends_it_restores_and_forgives_what_was_sent_with_the_old_one(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    world.emit(store, "c")
    notifier.claim()

    notifier.claim(notifier.answer("c", 401), want=0, renewed=True, parking=1)

    assert parked(store) == (1, "")
    assert states(store) == "rrr"


def test_a_store_that_lags_behind_takes_the_number_of_the_notifier(store: world.World) -> None:
    notifier = Notifier(store)

    notifier.claim(parking=7)

    assert (parked(store), notifier.reply.parking) == ((7, ""), 7)


def report_answer(store: world.World, status: int) -> None:
    """Report the answer to a test event."""
    result = wire.TestEventResult(
        id="e", type="t", endpoint="default", code=str(status), status=status, error="", seconds=0.1, request_id=""
    )
    store.ask(wire.ReportTestEvent(id="x", result=result))


@pytest.mark.parametrize(("status", "is_parked"), [(200, False), (422, False), (401, True), (503, True), (0, True)])
def test_a_proper_answer_to_a_test_event_ends_it(store: world.World, status: int, is_parked: bool) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b", "c")
    store.clock.advance(5.0)

    report_answer(store, status)

    assert bool(parked(store)[1]) is is_parked


def test_a_test_event_that_was_sent_before_does_not_end_it(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b", "c")

    report_answer(store, 200)

    assert parked(store) == (1, "unauthorized")


def test_resume_ends_it_and_restores(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    reply = store.ask(wire.ResumeEndpoint(endpoint="default"))
    assert (reply.changed, reply.restored, parked(store)) == (True, 2, (1, ""))
    notifier.claim()
    notifier.claim(*[notifier.answer(name, 401) for name in "ab"], want=0)
    refuse(store, notifier, "c")
    assert parked(store) == (2, "unauthorized")

    reply = store.ask(wire.ResumeEndpoint(endpoint="default"))

    assert (reply.parked, reply.changed, parked(store)) == ("unauthorized", True, (3, ""))


def test_an_event_is_restored_three_times_at_most(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a")
    for _ in range(5):
        store.ask(wire.ResumeEndpoint(endpoint="default"))
        if notifier.claim():
            notifier.claim(notifier.answer("a", 401), want=0)

    assert states(store) == "f"
    assert store.ledger.row("SELECT generation, restores FROM deliveries") == (3, 3)


def test_what_was_discarded_or_overtaken_is_not_restored(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    (first, second) = [row[0] for row in store.ledger.rows("SELECT id FROM deliveries ORDER BY id")]
    store.ask(wire.Discard(deliveries=((first, 0),), reason=""))
    world.emit(store, "b")
    notifier.claim()
    notifier.claim(notifier.answer("b", 200, started_us=1, duration_s=0.0), want=0)

    store.ask(wire.ResumeEndpoint(endpoint="default"))

    assert states(store) == "dfd"
    assert second


def test_a_failed_event_waits_for_a_later_one_in_flight_and_goes_first_when_that_is_refused(
    store: world.World,
) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "a")
    notifier.claim()
    notifier.claim(notifier.answer("a", 401))
    assert len(notifier.held) == 1
    refuse(store, notifier, "b", "c")
    assert parked(store) == (1, "unauthorized")
    assert states(store) == "frrr"

    notifier.claim(notifier.answer("a", 401), want=0)

    assert states(store) == "rqrr"


@pytest.mark.parametrize(("status", "expected"), [(200, "fdrr"), (0, "frrr")])
def test_it_stays_failed_when_the_later_one_is_accepted_or_not_answered(
    store: world.World, status: int, expected: str
) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "a")
    notifier.claim()
    notifier.claim(notifier.answer("a", 401))
    refuse(store, notifier, "b", "c")

    notifier.claim(notifier.answer("a", status), want=0)
    store.ask(wire.ResumeEndpoint(endpoint="default"))

    assert states(store) == expected
    assert "in flight" in str(store.ledger.row("SELECT reason FROM deliveries WHERE id >> 12 = 1"))


def test_it_is_restored_when_the_later_one_comes_back_unsent(store: world.World) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "a")
    notifier.claim()
    notifier.claim(notifier.answer("a", 401))
    refuse(store, notifier, "b", "c")

    notifier.claim(notifier.release("a"), want=0)

    assert states(store) == "rqrr"


@pytest.mark.parametrize("killed", ["store", "notifier"])
def test_it_stays_failed_when_a_process_dies_in_between(store: world.World, killed: str) -> None:
    notifier = Notifier(store)
    world.emit(store, "a", "a")
    notifier.claim()
    notifier.claim(notifier.answer("a", 401))
    refuse(store, notifier, "b", "c")
    if killed == "store":
        store.restart()
    else:
        notifier = Notifier(store, session="other")
        notifier.reply = wire.Claimed(number=0, parked="unauthorized")
        notifier.claim()
    store.ask(wire.ResumeEndpoint(endpoint="default"))
    notifier.claim()
    notifier.claim()

    assert states(store)[0] == "f"


def test_it_survives_a_restart_with_its_row(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    store.restart()
    store.open()
    notifier = Notifier(store, session="other")

    notifier.claim(want=0)
    refuse(store, notifier, "c")
    assert parked(store) == (1, "unauthorized")
    store.restart()

    notifier = Notifier(store, session="third")
    assert notifier.claim() == []
    assert notifier.reply.parked == "unauthorized"


def test_a_changed_url_ends_it_and_restores_once_a_notifier_says_what_is_in_flight(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b")
    store.restart(endpoints_=(replace(ENDPOINT, url_digest=b"other"),))
    assert (parked(store), states(store)) == ((1, ""), "ff")

    notifier = Notifier(store, session="other")

    assert sorted(notifier.claim()) == ["a", "b"]


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restores, "AT_ONCE", 2)


@pytest.mark.usefixtures("pages_of_two")
def test_many_are_restored_in_pages_and_nothing_is_leased_before_the_last_one(store: world.World) -> None:
    notifier = Notifier(store)
    for _ in range(4):
        refuse(store, notifier, "a", "b")
    world.emit(store, "a", "b", "x")
    reply = store.ask(wire.ResumeEndpoint(endpoint="default"))
    assert (reply.restored, reply.left) == (2, 6)
    found = [states(store)]

    while "f" in states(store):
        assert notifier.claim(want=100) == []
        found.append(states(store))

    assert len(found) > 1
    assert states(store) == "rrqqqqqqqqr"
    assert sorted(notifier.claim()) == ["a", "b", "x"]
    assert parked(store) == (1, "")


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("pages", [1, 2])
def test_a_store_that_ends_between_two_pages_goes_on_with_the_next_one(store: world.World, pages: int) -> None:
    notifier = Notifier(store)
    for _ in range(4):
        refuse(store, notifier, "a", "b")
    store.ask(wire.ResumeEndpoint(endpoint="default"))
    for _ in range(pages - 1):
        store.service.process([])
    before = states(store)
    assert "f" in before
    store.restart()
    notifier = Notifier(store, session="other")

    while "f" in states(store):
        assert notifier.claim() == []

    assert sorted(notifier.claim()) == ["a", "b"]
    assert states(store) == "rrqqqqqq"
    assert parked(store) == (1, "")
    assert store.ledger.row("SELECT restoring FROM endpoints") == (0,)


@pytest.mark.usefixtures("pages_of_two")
def test_many_that_wait_for_a_later_one_are_restored_in_pages(store: world.World) -> None:
    notifier = Notifier(store)
    for _ in range(5):
        refuse(store, notifier, "a")
    world.emit(store, "a")
    notifier.claim()
    store.ask(wire.ResumeEndpoint(endpoint="default"))
    for _ in range(3):
        store.service.process([])
    assert states(store) == "fffffr"

    notifier.claim(notifier.answer("a", 401), want=0)
    for _ in range(3):
        store.service.process([])

    assert states(store) == "rqqqqq"


@pytest.mark.usefixtures("pages_of_two")
def test_what_was_overtaken_is_looked_at_once(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, *"abcde", status=404)
    world.emit(store, *"abcde")
    notifier.claim()
    notifier.claim(*[notifier.answer(name, 200, started_us=1, duration_s=0.0) for name in "abcde"], want=0)

    assert store.ask(wire.ResumeEndpoint(endpoint="default")).left == 3
    for _ in range(3):
        store.service.process([])

    assert store.ledger.row("SELECT restoring FROM endpoints") == (0,)
    assert states(store) == "fffffddddd"


def test_without_a_notifier_resume_says_what_it_will_restore(store: world.World) -> None:
    refuse(store, Notifier(store), "a", "b")
    store.restart()

    replies = [store.ask(wire.ResumeEndpoint(endpoint="default")) for _ in range(2)]

    assert [(one.changed, one.restored, one.left) for one in replies] == [(True, 0, 2)] * 2
    assert sorted(Notifier(store, session="other").claim()) == ["a", "b"]


def test_an_endpoint_without_rules_is_never_parked(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10)
    notifier = Notifier(store)
    for _ in range(3):
        refuse(store, notifier, *"abcdefghijklmnopqrstuvwxyz")
        store.clock.advance(2.0)
    store.service.process([])
    store.ask(wire.ResumeEndpoint(endpoint="default"))

    assert set(states(store)) == {"f"}
    assert parked(store)[1] == ""
    store.ledger.close()


def test_an_operators_pause_holds_the_probes_too(store: world.World) -> None:
    notifier = Notifier(store)
    refuse(store, notifier, "a", "b", "c")
    store.ask(wire.PauseEndpoint(endpoint="default"))

    assert probe(notifier) == []
    store.ask(wire.ResumeEndpoint(endpoint="default"))
    notifier.claim()
    assert not notifier.reply.parked
