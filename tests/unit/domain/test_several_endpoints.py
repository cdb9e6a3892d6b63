"""The protocol of several endpoints as a model: it keeps its invariants, and each of its rules is necessary.

`BEACON_MODEL_SEEDS=100000` in the environment plays more histories than the gate does.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from tests.unit.domain.several_endpoints import driver
from tests.unit.domain.several_endpoints.ledger import Config, Endpoint, Ledger, Settlement
from tests.unit.domain.several_endpoints.receivers import Receiver, Violation
from tests.unit.domain.several_endpoints.rules import Rule

SEEDS = int(os.environ.get("BEACON_MODEL_SEEDS", "3000"))
BATCHES = 4
MOST_SEEDS = 6000

# The faults that make the rule matter; without an entry random ones find it within a few seeds.
FAULTS: dict[Rule, tuple[str, ...]] = {
    Rule.REJOIN: ("restart", "rule"),
    Rule.UNMANAGED: ("restart", "rule"),
    Rule.RETURN: ("restart",),
    Rule.TYPES: ("restart", "types"),
    Rule.OTHER_UID: ("restart", "restart", "restart", "prune", "prune", "prune", "rule"),
    Rule.DELETED_OTHER: ("restart", "rescue", "prune"),
    Rule.POSITION: ("restart", "rescue", "prune"),
    Rule.ROW_GONE: ("restart", "prune"),
    Rule.KEEP_PRESENT: ("restart", "prune"),
    Rule.KEEP_OTHER_ROW: ("prune",),
    Rule.KEEP_REMOVED: ("restart", "prune"),
    Rule.DISCARD_BACK: ("restart", "refuse", "discard_removed"),
    Rule.DISCARD_OWN: ("restart", "refuse", "discard_removed", "now", "pause"),
    Rule.RENAME: ("restart",),
    Rule.RENAME_URL: ("restart", "urls"),
    Rule.RENAME_NEW: ("restart",),
    Rule.PRUNE_SETTLED: ("restart", "prune", "prune"),
    Rule.PRUNE_LAST: ("refuse", "refuse", "prune", "prune", "rescue", "rescue"),
    Rule.RESCUED_VIEWS: ("restart", "rescue", "now"),
    Rule.RESCUED_OBJECTS: ("rescue",),
    Rule.RESCUED_ALL: ("rescue",),
    Rule.ORDINAL: ("refuse", "redeliver", "kill_notifier", "lose"),
    Rule.ASKED_FIRST: ("refuse", "redeliver", "kill_notifier", "lose"),
    Rule.LEASE_FREED: ("kill_notifier",),
    Rule.LEASE_HELD: ("kill_store",),
    Rule.KEPT_SETTLEMENT: ("kill_store",),
    Rule.GENERATION: ("refuse", "redeliver"),
    Rule.OVERTAKEN: ("refuse", "redeliver"),
    Rule.PAUSE_STORED: ("pause", "kill_store"),
}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_each_endpoint_gets_everything_once_in_order_and_nothing_false(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        driver.play(seed)


def violates(seed: int, without: Collection[Rule], faults: Collection[str]) -> bool:
    try:
        driver.play(seed, without, faults)
    except Violation:
        return True
    return False


def returns_while_its_deletion_is_open(without: Collection[Rule]) -> None:
    """Play a history that is too rare to be found: a name returns, and the object's row was pruned meanwhile."""
    ledger, both, receivers = two_endpoints(without)
    ledger.prune()
    ledger.start(both, receivers)

    ledger.catch_up(2, "x")
    ledger.prune()
    ledger.observe("x", ("u2", 2), accepted=True)
    deliver_all(ledger)


def returns_while_the_object_is_unmanaged(without: Collection[Rule]) -> None:
    """Play a rare history: a name returns with an older object, while the newer one is unmanaged; that one ends."""
    ledger, both, receivers = two_endpoints(without)
    ledger.observe("x", ("u2", 2), accepted=True)
    ledger.start(replace(both, excluded=frozenset("x")), receivers)
    ledger.observe("x", ("u2", 2), accepted=True)
    ledger.positioned = True

    ledger.catch_up(2, "x")
    ledger.observe("x", None, accepted=False)
    deliver_all(ledger)

    assert all(not receiver.holds for receiver in receivers.values())


def two_endpoints(without: Collection[Rule]) -> tuple[Ledger, Config, dict[str, Receiver]]:
    """Return a ledger with two endpoints that have an object; it was deleted while the second one is removed."""
    both = Config(tuple(Endpoint(name, f"https://{name}", frozenset("x")) for name in ("one", "two")))
    receivers = {"one": Receiver(), "two": Receiver()}
    ledger = Ledger("x", without)
    ledger.ended |= {"u1", "u2"}
    ledger.start(both, receivers)
    ledger.observe("x", ("u1", 1), accepted=True)
    deliver_all(ledger)
    ledger.start(Config(both.endpoints[:1]), receivers)
    ledger.observe("x", None, accepted=False)
    deliver_all(ledger)
    return ledger, both, receivers


RARE = {
    Rule.KEEP_OPEN: returns_while_its_deletion_is_open,
    Rule.DELETED_COMPARED: returns_while_the_object_is_unmanaged,
}


def deliver_all(ledger: Ledger) -> None:
    while waiting := list(ledger.open_rows()):
        for number in waiting:
            for sequence in ledger.leasable(number):
                delivery = ledger.deliveries[number, sequence]
                ledger.rows[number].receiver.receive(ledger.lease(number, sequence))
                ledger.settle(Settlement(number, sequence, 0, delivery.requests + 1, "delivered"))


@pytest.mark.parametrize(("rule", "play"), RARE.items(), ids=lambda value: getattr(value, "name", ""))
def test_without_the_rule_a_rare_history_goes_wrong(rule: Rule, play: Callable[[Collection[Rule]], None]) -> None:
    play([])

    with pytest.raises(AssertionError):
        play([rule])


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule not in RARE], ids=lambda rule: rule.name)
def test_without_the_rule_an_invariant_does_not_hold(rule: Rule) -> None:
    faults = FAULTS.get(rule, ())

    seed = next((seed for seed in range(MOST_SEEDS) if violates(seed, [rule], faults)), None)

    assert seed is not None, f"no history needs the rule: {rule}"
    driver.play(seed, faults=faults)
