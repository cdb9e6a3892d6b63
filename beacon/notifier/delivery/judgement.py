"""Judges the answers of one endpoint: settles each request, and counts earlier failures that turn out to count.

It joins the pure parts: `breaker` attributes a failure to the event or the endpoint, `settlement` and `retry` say what
follows for the event.
"""

import random
from dataclasses import replace

from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, parked, ports, retry, settlement, suspicion
from beacon.notifier.transport import answer


class Judge:
    """Settles requests in a session. For one thread."""

    def __init__(
        self,
        policy: retry.Policy,
        circuit: breaker.CircuitBreaker,
        session: claim_session.ClaimSession,
        *,
        telemetry: ports.TelemetryPort,
        parking: parked.ParkedEndpoint,
    ) -> None:
        """Settle by `policy`, with the verdicts of `circuit`, as `parking` allows."""
        self._parking = parking
        self._policy = policy
        self._breaker = circuit
        self._session = session
        self._telemetry = telemetry
        self._random = random.Random()  # noqa: S311  spreads retries, protects nothing

    def settle(
        self, job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer, now: float
    ) -> breaker.BreakerVerdict:
        """Settle a request. Return the verdict, whose consequences for later requests are the caller's."""
        delivery = job.delivery
        if retry.meaning(reply.status) is retry.Meaning.DELIVERED and not (job.probe or self._breaker.in_doubt):
            verdict = self._breaker.accepted(duration_s=reply.duration_s, now=now)
            outcome = settlement.delivered(job, reply)
            self._session.settle(outcome)
            self._telemetry.sent(delivery, outcome, failures=0, alive=True)
            return verdict
        request = suspicion.MadeRequest(
            delivery=delivery.id,
            generation=delivery.generation,
            attempt=delivery.requests + 1,
            counted=delivery.attempts + job.charged,
            type=delivery.type,
            code=reply.code,
            status=reply.status,
            error=reply.error,
        )
        verdict = self._breaker.answered(request, duration_s=reply.duration_s, now=now, probe=job.probe)
        if job.probe and self._parking.cause:
            verdict = replace(verdict, counted=False)
        outcome = settlement.settle(job, reply, verdict, self._policy, roll=self._random.uniform(-1.0, 1.0))
        if self._parking.forgives(reply.status, job.parking):
            outcome = settlement.forgiven(outcome)
        self._session.settle(outcome)
        self._telemetry.sent(delivery, outcome, failures=self._breaker.failures, alive=self._breaker.is_alive(now))
        if outcome.result is model.DeliveryResult.FAILED and retry.meaning(reply.status) is retry.Meaning.AGAIN:
            self._telemetry.gave_up(delivery.type, late=False)
        if outcome.result is not model.DeliveryResult.RETRY:
            self._breaker.finished(delivery.id)
        last = {suspect.delivery: suspect for suspect in verdict.charged}
        for suspect in verdict.charged:
            self._charge(suspect, is_last=last[suspect.delivery] is suspect)
        return verdict

    def _charge(self, suspect: suspicion.MadeRequest, *, is_last: bool) -> None:
        again = self._session.held.get(suspect.delivery)
        may_fail = is_last and not (again is not None and again.sent)
        charge = settlement.charge(suspect, self._policy, counted=suspect.counted + 1, may_fail=may_fail)
        if again is not None:
            again.charged += 1
        for outcome in charge.outcomes:
            self._session.amend(outcome)
        if charge.exhausted:
            self._breaker.finished(suspect.delivery)
            self._session.held.pop(suspect.delivery, None)  # leased again, but not sent: it stays unsent
            self._telemetry.gave_up(suspect.type, late=True)
