"""Converts an answer to a settlement, the result of a request that is sent to the store.

Pure. It combines the meaning of the answer (`retry`) with the verdict on who caused the failure (`breaker`).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, retry, retry_after, suspicion
from beacon.notifier.transport import answer


def settle(
    job: claim_session.LeasedDelivery,
    reply: answer.EndpointAnswer,
    verdict: breaker.BreakerVerdict,
    policy: retry.Policy,
    *,
    roll: float,
) -> model.Outcome:
    """Return the outcome of a request; `roll` is uniform in -1..1."""
    delivery, outcome = job.delivery, delivered(job, reply)
    match retry.meaning(reply.status):
        case retry.Meaning.DELIVERED:
            return outcome
        case retry.Meaning.REFUSED:
            return replace(outcome, result=model.DeliveryResult.FAILED)
    last = verdict.counted or job.charged > 0  # its attempts may have been used up while this request was under way
    if last and retry.exhausted(policy, delivery.attempts + job.charged + int(verdict.counted)):
        return replace(outcome, result=model.DeliveryResult.FAILED, counted=verdict.counted)
    delay_s = retry.delay_s(policy, delivery.requests, asked_s=asked_s(reply), roll=roll)
    return replace(
        outcome,
        result=model.DeliveryResult.RETRY,
        counted=verdict.counted,
        forgiven=verdict.forgiven,
        delay_s=0.0 if verdict.overtaken else delay_s,
    )


def delivered(job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> model.Outcome:
    """Return the outcome of a request whose event was accepted."""
    delivery = job.delivery
    return model.Outcome(
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
        parking=job.parking,
    )


def forgiven(outcome: model.Outcome) -> model.Outcome:
    """Return the outcome of a refusal that says nothing about its event: it is sent again, and does not count."""
    return replace(outcome, result=model.DeliveryResult.RETRY, counted=False, forgiven=False, delay_s=0.0)


def asked_s(reply: answer.EndpointAnswer) -> float | None:
    """Return the delay that an answer asks for, or None."""
    if reply.retry_after is None:
        return None
    now = datetime.fromtimestamp(reply.started_us / 1_000_000 + reply.duration_s, tz=UTC)
    return retry_after.delay_s(reply.retry_after, now=now)


def interrupted(job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> model.Outcome:
    """Return the outcome of a request cancelled by a stop: it is retried at once, and the attempt does not count."""
    verdict = breaker.BreakerVerdict(counted=False)
    policy = retry.Policy(max_attempts=0, initial_s=1.0, max_s=1.0, multiplier=1.0, jitter=0.0)
    outcome = settle(job, replace(reply, status=0, error="cut short: the notifier stopped"), verdict, policy, roll=0.0)
    return replace(outcome, delay_s=0.0)


def released(job: claim_session.LeasedDelivery) -> model.Outcome:
    """Return the outcome of a delivery that is released unsent."""
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
    """A failure that counts against its event after all; `exhausted` if that was its last attempt."""

    outcomes: tuple[model.Outcome, ...]
    exhausted: bool


def charge(suspect: suspicion.MadeRequest, policy: retry.Policy, *, counted: int, may_fail: bool) -> Charge:
    """Return the outcomes of a request that counts after all, as attempt number `counted` of its event.

    An event fails with its latest attempt only, and not while it is sent again: then its next answer decides.
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
    if not (may_fail and retry.exhausted(policy, counted)):
        return Charge(outcomes=(outcome,), exhausted=False)
    failed = replace(outcome, result=model.DeliveryResult.FAILED, attempt=suspect.latest or suspect.attempt)
    return Charge(outcomes=(outcome, failed), exhausted=True)
