"""The pace of claims: immediate at a low rate, together with the answers to come under load."""

import pytest

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, claims
from tests.unit.notifier import stores

FULL = claim_session.ClaimRequest(mode=breaker.BreakerMode.FULL, want=10, wait_s=5.0)
AT = 100.0
JUST_AFTER = AT + 0.001
LATER = AT + 0.0051
SUPPLIED = claim_session.ClaimRequest(mode=breaker.BreakerMode.FULL)


class Paced:
    """A session whose first claim was answered with a number of deliveries at the instant `AT`."""

    def __init__(self, deliveries: int, *, backlog: int = 0, took_s: float = 1.0) -> None:
        self.session = claim_session.ClaimSession(endpoint="default", clock=lambda: AT)
        self.claims = claims.Claims(self.session, poll_s=5.0, reply_s=5.0)
        first = self.next(AT - took_s)
        assert first is not None
        found = tuple(stores.delivery(number) for number in range(1, deliveries + 1))
        self.claims.take(first, wire.Claimed(number=first.number, deliveries=found, backlog=backlog), AT, ledger="l")

    def next(
        self, now: float, *, pressed: bool = False, request: claim_session.ClaimRequest = FULL
    ) -> wire.Claim | None:
        return self.claims.next(request, now, pressed=pressed)[0]

    def settle(self, *deliveries: int) -> None:
        for number in deliveries:
            self.session.settle(
                model.Outcome(delivery=number, generation=0, attempt=1, result=model.DeliveryResult.DELIVERED)
            )


def test_after_few_deliveries_the_next_claim_waits_at_the_store_at_once() -> None:
    paced = Paced(3)
    assert paced.next(AT) is not None


def test_answers_that_follow_it_are_settled_together() -> None:
    paced = Paced(3)
    paced.next(AT)
    paced.settle(1)

    assert paced.next(JUST_AFTER) is None
    later = paced.next(LATER)
    assert later is not None
    assert len(later.settlements) == 1


def test_of_a_backlog_the_next_deliveries_are_claimed_at_once() -> None:
    assert Paced(4, backlog=1).next(AT) is not None
    assert Paced(17).next(AT) is not None


def test_after_several_deliveries_the_next_claim_comes_with_their_answers() -> None:
    paced = Paced(4)
    paced.settle(1, 2, 3)
    assert paced.next(JUST_AFTER) is None

    paced.settle(4)
    claim = paced.next(JUST_AFTER)
    assert claim is not None
    assert len(claim.settlements) == 4


def test_after_several_deliveries_the_next_claim_does_not_wait_for_a_slow_answer() -> None:
    paced = Paced(4)
    assert paced.next(JUST_AFTER) is None
    assert paced.next(LATER) is not None


def test_a_claim_under_pressure_is_not_delayed() -> None:
    paced = Paced(4)
    paced.settle(1)
    assert paced.next(JUST_AFTER, pressed=True) is not None


def test_in_a_backlog_answers_are_settled_with_the_next_claim_for_deliveries() -> None:
    paced = Paced(20, backlog=1, took_s=0.003)
    paced.settle(*range(1, 18))
    assert paced.next(LATER, pressed=True, request=SUPPLIED) is None
    claim = paced.next(LATER)
    assert claim is not None
    assert len(claim.settlements) == 17


@pytest.mark.parametrize(("took_s", "wait_s"), [(0.003, 0.012), (1.0, 0.005)])
def test_in_a_backlog_settlements_wait_until_the_store_would_commit_them_late(took_s: float, wait_s: float) -> None:
    paced = Paced(20, backlog=1, took_s=took_s)
    paced.settle(1)
    assert paced.next(AT + wait_s - 0.0001, pressed=True, request=SUPPLIED) is None
    assert paced.next(AT + wait_s + 0.0001, request=SUPPLIED) is not None


def test_while_deliveries_of_a_backlog_are_claimed_no_more_are_claimed() -> None:
    paced = Paced(20, backlog=1, took_s=0.003)
    paced.next(AT)
    paced.settle(1)
    assert paced.next(JUST_AFTER) is None
