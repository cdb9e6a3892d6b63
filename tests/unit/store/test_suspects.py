"""An event that kills: counted by the notifier's deaths, sent last and alone, cleared by any answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import wire
from beacon.domain import model
from beacon.store.verbs import suspects
from tests.unit.store import world

S = 1_000_000


class Notifiers:
    """One notifier after another, each of which may die with requests under way."""

    def __init__(self, store: world.World) -> None:
        self.store = store
        self.lives = 0
        self.number = 0
        self.held: tuple[int, ...] = ()

    def claim(self, *settlements: model.Outcome, want: int = 100, **changes: object) -> list[model.Delivery]:
        self.number += 1
        settled = {one.delivery for one in settlements}
        self.held = tuple(one for one in self.held if one not in settled)
        changes = {"held": self.held, "session": f"life-{self.lives}", "number": self.number, **changes}
        given = self.store.claim(want, *settlements, **changes)
        self.held += tuple(one.id for one in given.deliveries)
        return list(given.deliveries)

    def die(self, *under_way: model.Delivery, want: int = 100) -> list[model.Delivery]:
        """Die, and return what the next notifier gets at once."""
        died = f"life-{self.lives}"
        self.lives, self.number, self.held = self.lives + 1, 0, ()
        return self.claim(want=want, died=died, died_with=tuple(one.id for one in under_way))

    def suspected(self) -> list[str]:
        figures = self.store.ask(wire.Inspect()).endpoints[0]
        assert figures.suspected == len(figures.suspects)
        return sorted(one.name for one in figures.suspects)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    yield opened
    opened.ledger.close()


def change(store: world.World, *names: str) -> None:
    (cursor,) = store.ledger.rows("SELECT resource_version FROM cursors")[0]
    seen = [world.seen(name, cursor + step, value=f"v{cursor + step}") for step, name in enumerate(names, start=1)]
    assert store.observe(cursor, cursor + len(names), *seen).place is wire.ApplyResult.APPLIED


def by_name(given: list[model.Delivery], name: str) -> model.Delivery:
    (found,) = (one for one in given if one.name == name)
    return found


def names_of(given: list[model.Delivery]) -> list[str]:
    return [one.name for one in given]


def thrice(notifiers: Notifiers, *names: str) -> list[model.Delivery]:
    """Die three times with these under way; returns what the fourth notifier gets."""
    given = notifiers.claim()
    for _ in range(3):
        given = notifiers.die(*(by_name(given, name) for name in names))
    return given


def test_two_deaths_are_no_suspicion_and_the_third_sets_an_event_aside(store: world.World) -> None:
    change(store, "killer", "a", "b")
    notifiers = Notifiers(store)
    given = notifiers.claim()

    after_one = notifiers.die(by_name(given, "killer"))
    after_two = notifiers.die(by_name(given, "killer"))
    not_yet = notifiers.suspected()
    after_three = notifiers.die(by_name(given, "killer"))

    assert names_of(after_one) == names_of(after_two) == ["killer", "a", "b"]
    assert not_yet == []
    assert names_of(after_three) == ["a", "b"]
    assert notifiers.suspected() == ["killer"]


def test_a_response_in_between_resets_the_count(store: world.World) -> None:
    change(store, "slow", "a")
    notifiers = Notifiers(store)
    slow = by_name(notifiers.claim(), "slow")
    notifiers.die(slow)
    notifiers.die(slow)
    failed = model.Outcome(
        delivery=slow.id, generation=0, attempt=1, result=model.DeliveryResult.RETRY, code="timeout", delay_s=0.0
    )
    again = notifiers.claim(failed)

    given = notifiers.die(by_name(again, "slow"))

    assert sorted(names_of(given)) == ["a", "slow"]
    assert notifiers.suspected() == []


def test_a_suspect_waits_for_its_pause_and_for_all_others_and_goes_alone(store: world.World) -> None:
    change(store, "killer", "a", "b")
    notifiers = Notifiers(store)
    a, b = thrice(notifiers, "killer")

    before = notifiers.claim(world.delivered(a), world.delivered(b))
    store.clock.advance(5)
    change(store, "c")
    first_the_others = notifiers.claim()
    beside_it = notifiers.claim()
    then = notifiers.claim(world.delivered(by_name(first_the_others, "c")))
    change(store, "d")
    beside_the_suspect = notifiers.claim()
    after = notifiers.claim(world.delivered(by_name(then, "killer")))

    assert (before, names_of(first_the_others), beside_it) == ([], ["c"], [])
    assert names_of(then) == ["killer"]
    assert beside_the_suspect == []
    assert names_of(after) == ["d"]
    assert notifiers.suspected() == []


def test_the_pause_doubles_with_each_death_up_to_its_bound(store: world.World) -> None:
    change(store, "killer")
    notifiers = Notifiers(store)
    assert thrice(notifiers, "killer") == []
    pauses = []
    for _ in range(10):
        (row,) = store.ledger.rows("SELECT not_before_us FROM suspects")
        pauses.append((row[0] - store.clock()) / S)
        store.clock.advance(pauses[-1])
        notifiers.die(*notifiers.claim())

    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_of_all_that_were_under_way_the_innocent_are_cleared_one_by_one(store: world.World) -> None:
    names = [f"o{number:02}" for number in range(32)]
    change(store, *names)
    notifiers = Notifiers(store)
    others = thrice(notifiers, *names)
    delivered: list[str] = []
    deaths = 0

    for _ in range(200):
        given = notifiers.claim()
        if not given:
            store.clock.advance(5)
        elif names_of(given) == ["o03"]:
            notifiers.die(*given, want=0)
            deaths += 1
        else:
            assert len(given) == 1
            delivered += names_of(given)
            notifiers.claim(*map(world.delivered, given), want=0)

    assert others == []
    assert sorted(delivered) == [name for name in names if name != "o03"]
    assert notifiers.suspected() == ["o03"]
    assert deaths <= 9


def test_under_constant_load_a_suspect_gets_its_turn_within_a_minute_after_its_pause(store: world.World) -> None:
    change(store, "killer")
    notifiers = Notifiers(store)
    thrice(notifiers, "killer")
    change(store, "o")
    given = notifiers.claim()

    turns = 0
    while "killer" not in names_of(given) and turns < 200:
        store.clock.advance(1)
        change(store, f"n{turns}")
        given = notifiers.claim(*map(world.delivered, given))
        turns += 1

    assert names_of(given) == ["killer"]
    assert 60 <= turns <= 70


def test_the_story_of_a_suspected_object_names_the_deaths_and_the_pause(store: world.World) -> None:
    change(store, "killer", "a")
    notifiers = Notifiers(store)
    thrice(notifiers, "killer")

    killer, a = (
        store.ask(wire.Explain(kind="ConfigMap", namespace="ns", name=name)).events[0] for name in ("killer", "a")
    )

    assert (killer.deaths, killer.next_attempt_us) == (3, store.clock() + 5 * S)
    assert (a.deaths, a.next_attempt_us) == (0, store.clock())


def test_the_same_death_reported_twice_counts_once(store: world.World) -> None:
    change(store, "killer")
    notifiers = Notifiers(store)
    (killer,) = notifiers.claim()
    notifiers.die(killer)

    for _ in range(5):
        notifiers.claim(died="life-0", died_with=(killer.id,))

    assert store.ledger.rows("SELECT deaths FROM suspects") == [(1,)]


def test_the_count_outlives_the_store(store: world.World) -> None:
    change(store, "killer", "a")
    notifiers = Notifiers(store)
    given = notifiers.claim()
    for _ in range(3):
        store.restart()
        given = notifiers.die(*(one for one in given if one.name == "killer"))

    assert names_of(given) == ["a"]
    assert notifiers.suspected() == ["killer"]


def test_later_events_of_a_suspected_object_wait_for_it(store: world.World) -> None:
    change(store, "killer", "a")
    notifiers = Notifiers(store)
    (a,) = thrice(notifiers, "killer")
    change(store, "killer")

    nothing = notifiers.claim(world.delivered(a))
    store.clock.advance(5)
    (first,) = notifiers.claim()
    (second,) = notifiers.claim(world.delivered(first))

    assert nothing == []
    assert (first.name, second.name) == ("killer", "killer")
    assert second.previous == first.sequence


def test_a_probe_is_no_suspect_while_another_event_will_do(store: world.World) -> None:
    change(store, "killer", "a")
    notifiers = Notifiers(store)
    (a,) = thrice(notifiers, "killer")
    released = model.Outcome(
        delivery=a.id, generation=0, attempt=1, result=model.DeliveryResult.RELEASED, counted=False
    )
    store.clock.advance(3600)

    (probe,) = notifiers.claim(released, want=1, probe=True)
    fresh = notifiers.claim(world.delivered(probe), want=1, probe=True, fresh_only=True)
    last = notifiers.claim(want=1, probe=True)

    assert probe.name == "a"
    assert fresh == []
    assert names_of(last) == ["killer"]


def test_a_parked_claim_is_answered_when_the_pause_is_over(store: world.World) -> None:
    change(store, "killer")
    notifiers = Notifiers(store)
    thrice(notifiers, "killer")
    parked = wire.Claim(endpoint="default", session="life-3", number=2, want=10, wait_s=60.0)

    due_us = store.service._deliveries.next_due_us(parked)

    assert due_us == store.clock() + 5 * S


def test_nothing_is_waited_for_while_a_suspect_is_out(store: world.World) -> None:
    change(store, "killer", "a")
    notifiers = Notifiers(store)
    (a,) = thrice(notifiers, "killer")
    retry = model.Outcome(
        delivery=a.id, generation=0, attempt=1, result=model.DeliveryResult.RETRY, code="500", delay_s=6.0
    )
    notifiers.claim(retry)
    store.clock.advance(5)
    notifiers.claim()
    store.clock.advance(5)
    parked = wire.Claim(endpoint="default", session="life-3", number=9, want=10, wait_s=60.0)

    assert store.service._deliveries.next_due_us(parked) is None


def test_a_clock_that_is_set_moves_the_pause(store: world.World) -> None:
    change(store, "killer")
    notifiers = Notifiers(store)
    thrice(notifiers, "killer")
    store.clock.jump(-86_400)

    notifiers.claim()
    store.clock.advance(5)

    assert names_of(notifiers.claim()) == ["killer"]


SUSPECTS = st.lists(
    st.builds(
        suspects.Suspect,
        delivery=st.integers(1, 6),
        deaths=st.integers(3, 9),
        not_before_us=st.integers(0, 200 * S),
    ),
    max_size=5,
    unique_by=lambda one: one.delivery,
).map(lambda found: sorted(found, key=lambda one: (one.deaths, one.delivery)))


@given(SUSPECTS, st.frozensets(st.integers(1, 12), max_size=4), st.integers(0, 300 * S), st.booleans())
def test_a_suspect_never_has_company(
    found: list[suspects.Suspect], out: frozenset[int], now_us: int, probe: bool
) -> None:
    turn = suspects.turn(found, out, now_us, probe=probe)
    out_with_it = out & {one.delivery for one in found}

    assert not (out_with_it and (turn.others or turn.suspect))
    assert not (turn.suspect and out)
    assert turn.others or out_with_it or turn.suspect or out  # something goes on, or will when `out` is answered


@given(SUSPECTS, st.frozensets(st.integers(1, 12), max_size=4), st.integers(0, 300 * S))
def test_the_instant_at_which_the_turn_changes_lies_ahead(
    found: list[suspects.Suspect], out: frozenset[int], now_us: int
) -> None:
    instant_us = suspects.next_turn_us(found, out, now_us)

    assert instant_us is None or instant_us > now_us
