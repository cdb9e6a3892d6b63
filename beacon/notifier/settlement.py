"""From an answer to a settlement: what the store is told about a request.

Pure. It joins what `retry` says of the answer with what `breaker` says of whose fault it is.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from beacon.domain import model
from beacon.notifier import answer, breaker, claim_session, retry, retry_after


def settle(
    job: claim_session.LeasedDelivery,
    reply: answer.EndpointAnswer,
    verdict: breaker.BreakerVerdict,
    policy: retry.Policy,
    *,
    roll: float,
) -> model.Outcome:
    """Say what came of a request; `roll` is uniform in -1..1."""
    delivery = job.delivery
    outcome = model.Outcome(
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=delivery.requests + 1,
        result=model.DeliveryResult.DELIVERED,
        code=reply.code,
        status=reply.status,
        error=reply.error,
        started_us=reply.started_us,
        duration_s=reply.duration_s,
        request_id=reply.request_id,
    )
    match retry.meaning(reply.status):
        case retry.Meaning.DELIVERED:
            return outcome
        case retry.Meaning.REFUSED:
            return replace(outcome, result=model.DeliveryResult.FAILED)
    if retry.exhausted(policy, delivery.attempts + job.charged + int(verdict.counted)) and verdict.counted:
        return replace(outcome, result=model.DeliveryResult.FAILED)
    delay_s = retry.delay_s(policy, delivery.requests, asked_s=asked_s(reply), roll=roll)
    return replace(
        outcome,
        result=model.DeliveryResult.RETRY,
        counted=verdict.counted,
        forgiven=verdict.forgiven,
        delay_s=0.0 if verdict.overtaken else delay_s,
    )


def asked_s(reply: answer.EndpointAnswer) -> float | None:
    """Give the delay that an answer asks for; None when it asks for none."""
    now = datetime.fromtimestamp(reply.started_us / 1_000_000 + reply.duration_s, tz=UTC)
    return retry_after.delay_s(reply.retry_after, now=now)


def interrupted(job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> model.Outcome:
    """Say that a request was cut because Beacon stops: it is to be sent again, and nobody is to blame."""
    verdict = breaker.BreakerVerdict(counted=False)
    policy = retry.Policy(max_attempts=0, initial_s=1.0, max_s=1.0, multiplier=1.0, jitter=0.0)
    outcome = settle(job, replace(reply, status=0, error="cut short: the notifier stopped"), verdict, policy, roll=0.0)
    return replace(outcome, delay_s=0.0)


def released(job: claim_session.LeasedDelivery) -> model.Outcome:
    """Say that a delivery is given back unsent."""
    delivery = job.delivery
    return model.Outcome(
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=delivery.requests + 1,
        result=model.DeliveryResult.RELEASED,
        counted=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A failure that turned out to be the event's own; `exhausted` when that was its last attempt."""

    outcomes: tuple[model.Outcome, ...]
    exhausted: bool


def charge(suspect: breaker.MadeRequest, policy: retry.Policy, *, counted: int, held: bool) -> Charge:
    """Say that a request counts after all, as number `counted` of its event.

    A delivery that is `held` again is judged by its next answer.
    """
    outcome = model.Outcome(
        delivery=suspect.delivery,
        generation=suspect.generation,
        attempt=suspect.attempt,
        result=model.DeliveryResult.CHARGED,
        code=suspect.code,
        status=suspect.status,
        error=suspect.error,
    )
    if held or not retry.exhausted(policy, counted):
        return Charge(outcomes=(outcome,), exhausted=False)
    return Charge(outcomes=(outcome, replace(outcome, result=model.DeliveryResult.FAILED)), exhausted=True)
