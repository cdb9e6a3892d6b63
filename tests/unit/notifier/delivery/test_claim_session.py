import math
from itertools import count

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, in_flight_marks
from tests.unit.notifier import stores

FULL = claim_session.ClaimRequest(mode=breaker.BreakerMode.FULL, want=10, wait_s=5.0)
HELD = claim_session.ClaimRequest(mode=breaker.BreakerMode.HELD)


def begin() -> claim_session.ClaimSession:
    names = count(1)
    return claim_session.ClaimSession(endpoint="default", new_name=lambda: f"s{next(names)}")


def outcome(delivery: int, result: model.DeliveryResult = model.DeliveryResult.DELIVERED) -> model.Outcome:
    return model.Outcome(delivery=delivery, generation=0, attempt=1, result=result)


def give(state: claim_session.ClaimSession, claim: wire.Claim, *deliveries: int) -> list[int]:
    reply = wire.Claimed(number=claim.number, deliveries=tuple(stores.delivery(key) for key in deliveries))
    taken = state.take(claim, reply, ledger="l")
    assert taken is not None
    return [job.delivery.id for job in taken[1]]


def test_claims_are_numbered_and_list_the_leased_deliveries() -> None:
    state = begin()

    first = state.claim(FULL)
    give(state, first, 1, 2)
    second = state.claim(FULL)

    assert (first.number, first.seen, first.held) == (1, 0, ())
    assert (second.number, second.seen) == (2, 1)
    assert second.held == (1, 2)


def test_a_settlement_travels_with_the_next_claim_while_the_one_before_is_parked() -> None:
    state = begin()
    give(state, state.claim(FULL), 1)
    state.claim(FULL)

    state.settle(outcome(1))
    assert state.needs_claim(FULL)
    claim = state.claim(FULL)

    assert claim.settlements == (outcome(1),)
    assert claim.held == ()
    assert claim.seen == 1


def test_only_the_first_claim_of_a_session_is_not_parked() -> None:
    state = begin()

    first = state.claim(FULL)
    give(state, first)
    second = state.claim(FULL)

    assert (first.wait_s, second.wait_s) == (0.0, 5.0)


def test_at_most_two_claims_are_unanswered() -> None:
    state = begin()
    state.claim(FULL)
    state.settle(outcome(1))
    state.claim(FULL)
    state.settle(outcome(2))

    assert not state.needs_claim(FULL)


def test_a_parked_claim_is_not_repeated_while_nothing_changes() -> None:
    state = begin()
    state.claim(FULL)

    assert not state.needs_claim(FULL)


def test_a_parked_claim_is_replaced_when_the_breaker_changes_state() -> None:
    state = begin()
    state.claim(FULL)

    assert state.needs_claim(HELD)
    state.claim(HELD)
    assert not state.needs_claim(HELD)


def test_a_fenced_session_is_renewed_with_its_leases_and_unconfirmed_settlements() -> None:
    state = begin()
    give(state, state.claim(FULL), 1, 2)
    state.settle(outcome(1))
    state.resume = True
    carrying = state.claim(FULL)

    taken = state.take(carrying, wire.Claimed(number=carrying.number, fenced=True), ledger="l")
    claim = state.claim(FULL)

    assert taken is None
    assert (claim.session, claim.number) == ("s2", 1)
    assert claim.settlements == (outcome(1),)
    assert claim.resume
    assert claim.held == (2,)


def test_a_late_reply_to_an_earlier_session_is_dropped() -> None:
    state = begin()
    first = state.claim(FULL)
    second = state.claim(HELD)
    state.take(first, wire.Claimed(number=1, fenced=True), ledger="l")

    late = state.take(second, wire.Claimed(number=2, deliveries=(stores.delivery(1),)), ledger="l")

    assert late is None
    assert not state.held


def test_a_delivery_that_is_leased_already_is_not_taken_twice() -> None:
    state = begin()
    give(state, state.claim(FULL), 1)

    assert give(state, state.claim(FULL), 1, 2) == [2]


def test_a_delivery_with_an_unconfirmed_failure_is_not_taken_again() -> None:
    state = begin()
    parked = state.claim(FULL)
    state.amend(outcome(1, model.DeliveryResult.FAILED))

    assert give(state, parked, 1, 2) == [2]


def test_a_charge_that_the_store_did_not_know_is_counted() -> None:
    state = begin()
    parked = state.claim(FULL)
    state.amend(outcome(1, model.DeliveryResult.CHARGED))
    state.claim(FULL)
    state.amend(outcome(1, model.DeliveryResult.CHARGED))

    give(state, parked, 1)

    assert state.held[1].charged == 2


def test_a_charge_that_the_store_knew_is_not_counted_twice() -> None:
    state = begin()
    state.amend(outcome(1, model.DeliveryResult.CHARGED))

    give(state, state.claim(FULL), 1)

    assert state.held[1].charged == 0


def test_a_retry_that_comes_back_is_taken() -> None:
    state = begin()
    give(state, state.claim(FULL), 1)
    state.settle(outcome(1, model.DeliveryResult.RETRY))

    assert give(state, state.claim(FULL), 1) == [1]


def test_a_replaced_ledger_voids_all_leases_and_settlements() -> None:
    state = begin()
    give(state, state.claim(FULL), 1)
    state.settle(outcome(1))
    state.claim(FULL)

    state.forget()

    assert state.flushed
    assert not state.held
    assert state.claim(FULL).session == "s2"


def test_all_is_flushed_only_when_the_store_has_answered() -> None:
    state = begin()
    give(state, state.claim(FULL), 1)
    state.settle(outcome(1))
    claim = state.claim(HELD)
    assert not state.flushed

    give(state, claim)

    assert state.flushed


def test_a_death_is_reported_with_every_claim_until_one_is_answered() -> None:
    state = claim_session.ClaimSession(endpoint="default", died=in_flight_marks.Died(life="former", deliveries=(3, 4)))

    assert state.needs_claim(HELD)
    first, second = state.claim(FULL), state.claim(FULL)
    state.renew()
    third = state.claim(FULL)
    give(state, third)
    fourth = state.claim(FULL)

    assert [(one.died, one.died_with) for one in (first, second, third)] == [("former", (3, 4))] * 3
    assert (fourth.died, fourth.died_with) == ("", ())


def test_a_settlement_counts_as_unsettled_until_the_store_confirms_it() -> None:
    state = begin()
    give(state, state.claim(FULL), 1, 2)
    state.settle(outcome(1))
    before = state.unsettled
    carrying = state.claim(FULL)
    during = state.unsettled
    give(state, carrying)

    assert (before, during, state.unsettled) == ({1, 2}, {1, 2}, {2})


def test_the_age_of_unconfirmed_settlements_is_that_of_the_oldest_one() -> None:
    now = 1.0
    state = claim_session.ClaimSession(endpoint="default", clock=lambda: now)
    assert state.unconfirmed_since == math.inf
    state.settle(outcome(1))
    first = state.claim(FULL)
    now = 2.0
    state.settle(outcome(2))
    now = 3.0
    state.settle(outcome(3))
    assert state.unconfirmed_since == 1.0

    give(state, first)
    assert state.unconfirmed_since == 2.0
    give(state, state.claim(FULL))

    assert state.unconfirmed_since == math.inf


def test_a_renewed_session_keeps_the_age_of_its_settlements() -> None:
    now = 1.0
    state = claim_session.ClaimSession(endpoint="default", clock=lambda: now)
    state.settle(outcome(1))
    state.claim(FULL)
    now = 2.0

    state.renew()
    assert state.unconfirmed_since == 1.0
    give(state, state.claim(FULL))

    assert state.unconfirmed_since == math.inf
