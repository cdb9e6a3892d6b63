from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, retry, settlement
from beacon.notifier.transport import answer
from tests.unit.notifier import stores

POLICY = retry.Policy(max_attempts=3, initial_s=1.0, max_s=300.0, multiplier=2.0, jitter=0.0)
COUNTED = breaker.BreakerVerdict(counted=True)
FORGIVEN = breaker.BreakerVerdict(counted=False, forgiven=True)


def job(*, attempts: int = 0, requests: int = 0, charged: int = 0) -> claim_session.LeasedDelivery:
    return claim_session.LeasedDelivery(
        delivery=stores.delivery(7, attempts=attempts, requests=requests), ledger="l", charged=charged
    )


def reply(status: int, *, retry_after: str | None = None, code: str = "") -> answer.EndpointAnswer:
    return answer.EndpointAnswer(
        code=code or str(status),
        status=status,
        error="why",
        retry_after=retry_after,
        started_us=1_700_000_000_000_000,
        duration_s=0.5,
        request_id="r-1",
    )


def test_an_outcome_identifies_its_request_and_its_answer() -> None:
    outcome = settlement.settle(job(requests=4), reply(404), COUNTED, POLICY, roll=0.0)

    assert outcome == model.Outcome(
        delivery=7,
        generation=0,
        attempt=5,
        result=model.DeliveryResult.FAILED,
        code="404",
        status=404,
        error="why",
        started_us=1_700_000_000_000_000,
        duration_s=0.5,
        request_id="r-1",
    )


@pytest.mark.parametrize("status", [200, 202, 204])
def test_2xx_is_delivered(status: int) -> None:
    assert settlement.settle(job(), reply(status), COUNTED, POLICY, roll=0.0).result is model.DeliveryResult.DELIVERED


def test_the_backoff_grows_with_requests_made_whether_they_counted_or_not() -> None:
    outcome = settlement.settle(job(attempts=0, requests=5), reply(503), FORGIVEN, POLICY, roll=0.0)

    assert (outcome.result, outcome.delay_s) == (model.DeliveryResult.RETRY, 32.0)
    assert not outcome.counted
    assert outcome.forgiven


def test_the_last_counted_attempt_fails_the_event() -> None:
    assert (
        settlement.settle(job(attempts=1), reply(500), COUNTED, POLICY, roll=0.0).result is model.DeliveryResult.RETRY
    )
    assert (
        settlement.settle(job(attempts=2), reply(500), COUNTED, POLICY, roll=0.0).result is model.DeliveryResult.FAILED
    )


def test_attempts_that_were_charged_meanwhile_count() -> None:
    outcome = settlement.settle(job(attempts=1, charged=1), reply(500), COUNTED, POLICY, roll=0.0)

    assert outcome.result is model.DeliveryResult.FAILED


def test_a_forgiven_failure_never_exhausts_the_attempts() -> None:
    outcome = settlement.settle(job(attempts=9), reply(0, code="network"), FORGIVEN, POLICY, roll=0.0)

    assert outcome.result is model.DeliveryResult.RETRY


def test_retry_after_replaces_the_backoff() -> None:
    outcome = settlement.settle(job(requests=5), reply(429, retry_after="7"), COUNTED, POLICY, roll=1.0)

    assert outcome.delay_s == 7.0


def test_a_date_is_read_against_the_end_of_the_request() -> None:
    ended = datetime.fromtimestamp(1_700_000_000.5, tz=UTC)
    date = format_datetime((ended + timedelta(seconds=10.5)).replace(microsecond=0), usegmt=True)

    assert settlement.asked_s(reply(503, retry_after=date)) == 10.5


def test_a_request_overtaken_by_the_recovery_is_retried_at_once() -> None:
    verdict = replace(FORGIVEN, overtaken=True)

    assert settlement.settle(job(requests=8), reply(0, code="timeout"), verdict, POLICY, roll=0.0).delay_s == 0.0


def test_a_request_cancelled_by_the_stop_is_retried_and_does_not_count() -> None:
    outcome = settlement.interrupted(job(attempts=2), reply(0, code="network"))

    assert outcome.result is model.DeliveryResult.RETRY
    assert not outcome.counted
    assert outcome.delay_s == 0.0


def suspect() -> breaker.MadeRequest:
    return breaker.MadeRequest(
        delivery=7, generation=0, attempt=3, counted=1, type=model.EventType.CREATED, code="503", status=503, error="e"
    )


def test_a_charge_names_the_request_that_counts_after_all() -> None:
    charge = settlement.charge(suspect(), POLICY, counted=2, may_fail=True)

    (outcome,) = charge.outcomes
    assert (outcome.delivery, outcome.attempt, outcome.result) == (7, 3, model.DeliveryResult.CHARGED)
    assert not charge.exhausted


def test_a_charge_that_was_the_last_attempt_fails_the_event() -> None:
    charge = settlement.charge(suspect(), POLICY, counted=3, may_fail=True)

    assert [outcome.result for outcome in charge.outcomes] == [
        model.DeliveryResult.CHARGED,
        model.DeliveryResult.FAILED,
    ]
    assert {outcome.attempt for outcome in charge.outcomes} == {3}
    assert charge.outcomes[1].code == "503"
    assert charge.exhausted


def test_an_event_that_is_leased_again_does_not_fail_before_its_next_answer() -> None:
    charge = settlement.charge(suspect(), POLICY, counted=3, may_fail=False)

    assert [outcome.result for outcome in charge.outcomes] == [model.DeliveryResult.CHARGED]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 507, 599])
def test_every_answer_that_is_retried_may_ask_for_a_delay(status: int) -> None:
    outcome = settlement.settle(job(), reply(status, retry_after="17"), COUNTED, POLICY, roll=0.0)

    assert outcome.delay_s == 17


@pytest.mark.parametrize("junk", ["Sat, 28 Nov 2027 00:00:00 +1234567890123456", "Sat, 28 Nov 99999 00:00:00 GMT"])
def test_an_invalid_retry_after_leaves_the_backoff_in_use(junk: str) -> None:
    outcome = settlement.settle(job(), reply(503, retry_after=junk), COUNTED, POLICY, roll=0.0)

    assert outcome.delay_s == settlement.settle(job(), reply(503), COUNTED, POLICY, roll=0.0).delay_s
