"""Parking as models: they keep their invariants, and each of their rules is necessary.

`BEACON_MODEL_SEEDS=100000` in the environment plays more histories than the gate does, `BEACON_MODEL_DAY=1` the whole
day at every rate, 8.64 million events at 100/s; the gate stops after 100,000.
"""

import os

import pytest

from beacon.domain import parking
from tests.unit.domain.parking import refusing, restoring

SEEDS = int(os.environ.get("BEACON_MODEL_SEEDS", "600"))
ALL = ("kill", "unanswered", "rightly", "cured")
# The faults that make a rule matter.
FAULTS: dict[restoring.Rule, tuple[str, ...]] = {
    restoring.Rule.NUMBERS: ("cured",),
    restoring.Rule.LATER_OUT: (),
    restoring.Rule.UNKNOWN: ("kill", "unanswered"),
    restoring.Rule.CURED: ("cured",),
    restoring.Rule.LIMIT: ("rightly",),
    restoring.Rule.RENEWED: ("cured",),
    restoring.Rule.SECOND_LOOK: ("silent",),
    restoring.Rule.PROBES: (),
    restoring.Rule.HELD: ("cured",),
}


def violates(seed: int, rule: restoring.Rule) -> bool:
    try:
        restoring.play(seed, (rule,), FAULTS[rule])
    except restoring.Violation:
        return True
    return False


@pytest.mark.parametrize("faults", [(), ("cured",), ("kill",), ("unanswered",), ("rightly",), ("silent",), ALL])
def test_no_restore_inverts_an_order_and_nothing_stays_open(faults: tuple[str, ...]) -> None:
    parks = sum(restoring.play(seed, (), faults) for seed in range(SEEDS))

    assert parks > SEEDS / 10


@pytest.mark.parametrize("rule", FAULTS)
def test_each_rule_of_restoring_is_necessary(rule: restoring.Rule) -> None:
    assert any(violates(seed, rule) for seed in range(4000))


RATES = (0.01, 0.1, 1.0, 10.0, 100.0)
DAY_S = 86_400
MOST = None if os.environ.get("BEACON_MODEL_DAY") else 100_000  # events


def refuse(number: int, rate: float, churn: float, *without: refusing.Rule) -> refusing.Receiver:
    receiver = refusing.Receiver(without=without)
    receiver.play(refusing.arrivals(rate, number=number, objects=200, churn=churn))
    return receiver


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("churn", [0.0, 0.02, 0.3, 1.0])
def test_a_receiver_that_rightly_refuses_one_object_in_five_is_never_parked_in_a_day(rate: float, churn: float) -> None:
    number = round(rate * DAY_S)

    assert refuse(min(number, MOST or number), rate, churn).parks == 0


@pytest.mark.parametrize(
    ("rule", "rate", "churn"),
    [
        (refusing.Rule.SILENCE, 100.0, 0.3),
        (refusing.Rule.FIRST, 1.0, 0.0),
        (refusing.Rule.STRANGERS, 0.1, 1.0),
    ],
)
def test_each_rule_against_false_parks_is_necessary(rule: refusing.Rule, rate: float, churn: float) -> None:
    without = (rule, refusing.Rule.STRANGERS) if rule is not refusing.Rule.STRANGERS else (rule,)

    assert refuse(6000, rate, churn, *without).parks > 0


def waits(*without: refusing.Rule) -> tuple[float, int]:
    """Return the wait that 99 % of the good events stay below among 1000 refused deletions, and how many came."""
    receiver = refusing.Receiver(without=without)
    receiver.play(refusing.deletions(1000))
    delays = sorted(receiver.delays)
    return (delays[int(len(delays) * 0.99)] if delays else 0.0), len(delays)


def test_good_events_wait_little_among_1000_deletions_that_are_refused() -> None:
    delay, came = waits()

    assert delay <= 30.0
    assert came == 199


def test_the_newest_event_must_be_probed_first() -> None:
    delay, came = waits(refusing.Rule.NEWEST)

    assert delay > 300.0 or came < 199


def test_the_rules_say_the_same_as_the_model() -> None:
    def refused(key: int, status: int, *, accepted: bool) -> parking.RefusedObject:
        return parking.RefusedObject(key=key, status=status, answered_us=key, accepted=accepted)

    rules = parking.ParkingRules()
    assert not parking.is_enough(rules, [refused(1, 401, accepted=False)] * 5)
    assert parking.is_enough(rules, [refused(key, 401, accepted=False) for key in range(3)])
    assert not parking.is_enough(rules, [refused(key, 404, accepted=False) for key in range(19)])
    assert parking.is_enough(rules, [refused(key, 404, accepted=False) for key in range(20)])
    assert parking.is_enough(rules, [refused(key, 404, accepted=True) for key in range(3)])
    assert parking.park_at_us(5, [refused(2_000_000, 401, accepted=True)]) == 2_000_000
    assert [parking.cause_of(status) for status in (401, 407, 418)] == ["unauthorized", "proxy-auth", "status-418"]
