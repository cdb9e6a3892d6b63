"""Everything that belongs to one endpoint: claims, requests under way, breaker, settlements.

It has no thread and waits for nothing: `dispatch` asks it for claims and passes it the replies, its sender calls it
with each answer. `retry`, `breaker` and `settlement` decide what an answer means; `claim_session` implements the claim
protocol.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from beacon import wire
from beacon.notifier.delivery import (
    breaker,
    claim_session,
    claims,
    in_flight_marks,
    judgement,
    outgoing,
    parked,
    ports,
    rate_limit,
    render,
    retry,
    settlement,
    window,
)
from beacon.notifier.transport import answer

# How long the store may park a claim: less would be busy waiting, more would delay the detection of a dead peer.
_POLL_S = (0.1, 5.0)
_SILENCE_S = 0.05  # between two checks for requests that are not answered
_SECRETS_S = 1.0  # between two checks of the files of secrets while nothing is sent
_AT_ANY_TIME_S = 3600.0
_UNAVAILABLE = 503
_PROBING = (breaker.BreakerMode.FRESH, breaker.BreakerMode.PROBE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """The configuration of the deliveries to one endpoint.

    `rate` is the most requests a second, 0 for no limit. `reply_s` is how long the store may take to answer, beyond the
    time a claim may be parked, before the claim is sent again.
    """

    endpoint: str
    names: render.Names
    policy: retry.Policy
    rules: breaker.BreakerRules
    width: int
    batch: int
    poll_s: float
    rate: float = 0.0
    reply_s: float = 5.0
    park: parked.ParkingConfig = parked.NEVER


class EndpointDelivery:
    """Delivers the store's events to one endpoint. For one thread."""

    def __init__(
        self,
        config: EndpointConfig,
        sender: ports.Sender,
        *,
        stop: threading.Event,
        telemetry: ports.TelemetryPort,
        marks: in_flight_marks.Marks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the parts. Nothing is sent any more once `stop` is set.

        `marks` outlives this process and records the deliveries in flight; without it, deaths are not counted.
        """
        self._config = config
        self._sender = sender
        self._stop = stop
        self._clock = clock
        self._telemetry = telemetry
        self._marks = marks or in_flight_marks.Marks(None, most=1)
        self._session = claim_session.ClaimSession(endpoint=config.endpoint, died=self._marks.died, clock=clock)
        self._poll_s = min(max(config.poll_s, _POLL_S[0]), _POLL_S[1])
        self._window = window.of_width(config.width)
        self._rate_limit = rate_limit.RateLimit(config.rate)
        self._batch = self._rate_limit.in_a_second(config.batch)
        self._cancelled = False
        self._finishing = False
        self._silence_at = 0.0
        self._secrets_at = 0.0
        self._secrets = sender.secrets_version
        self._missing = ""
        self._parked = parked.ParkedEndpoint(config=config.park)
        self._make_parts()

    def _make_parts(self) -> None:
        """Create everything that starts over after an unexpected error."""
        config = self._config
        self._breaker = breaker.CircuitBreaker(rules=config.rules)
        self._claims = claims.Claims(self._session, poll_s=self._poll_s, reply_s=config.reply_s)
        self._judge = judgement.Judge(
            config.policy, self._breaker, self._session, telemetry=self._telemetry, parking=self._parked
        )
        self._parked.probe_ended()
        self._outgoing = outgoing.Outgoing(config.width, self._send, may_send=self._may_send, is_leased=self._is_leased)
        self._under_way: dict[int, float] = {}  # delivery -> send time of its request; without probes

    @property
    def name(self) -> str:
        """Return the name by which claims and replies name the endpoint."""
        return self._config.endpoint

    @property
    def finished(self) -> bool:
        """Return True if nothing is leased, and the store has confirmed all settlements."""
        return not self._session.held and self._session.flushed

    @property
    def idle(self) -> bool:
        """Return True if nothing is leased or unconfirmed, and the endpoint takes requests."""
        return not self._session.held and not self._session.unconfirmed and not self._breaker.open

    # --- what the dispatcher asks for

    def next_claim(self, now: float) -> tuple[wire.Claim | None, float]:
        """Return the claim to send now, if any, and after which time to ask again."""
        request, valid_s = self._plan_claim(now)
        pressed = self._window.is_half_full(self._session.unconfirmed)
        claim, held_s = self._claims.next(request, now, pressed=pressed)
        if self._outgoing.queued and (at := self._next_request_at(now)) is not None:
            valid_s = min(valid_s, at - now) if at > now else valid_s
        return claim, valid_s if held_s is None else min(valid_s, held_s)

    def timeout_s(self, claim: wire.Claim) -> float:
        """Return after which time without a reply a claim is sent again."""
        return self._claims.timeout_s(claim)

    def take_reply(self, claim: wire.Claim, reply: wire.Claimed, *, ledger: str) -> None:
        """Process the store's reply to a claim."""
        taken = self._claims.take(claim, reply, self._clock(), ledger=ledger)
        if taken is None:
            return
        request, jobs = taken
        self._take_parking(reply)
        self._marks.keep(self._session.unsettled)
        if not self._missing:  # else the reason for holding back stays the state
            self._telemetry.claimed(len(jobs))
        self._admit(request, jobs)
        self._outgoing.send()  # settlements were confirmed

    def check(self, now: float, *, renewed_at: float) -> None:
        """Detect missing answers of the endpoint and of the store; `renewed_at`: the store was lost or found again.

        Send what was delayed until now.
        """
        if self._outgoing.queued:
            self._outgoing.send()
        self._telemetry.working(self._outgoing.busy)
        if self._breaker.detect_outage(now):
            self._opened(self._breaker.failures, self._breaker.failure_code)
        if now >= self._secrets_at:
            self._secrets_at = now + _SECRETS_S
            self._sender.check_secrets()
            self._note_secrets()
        if now < self._silence_at:
            return
        self._silence_at = now + _SILENCE_S
        if silent := self._breaker.detect_silence(self._under_way.values(), now):
            self._opened(silent, answer.TIMEOUT)
        if self._claims.is_silent(now, renewed_at=renewed_at):
            self._telemetry.silent()

    def _take_parking(self, reply: wire.Claimed) -> None:
        """Stop sending when the store has parked the endpoint, go on when it says that the parking has ended."""
        if not self._parked.take(reply.parking, reply.parked, self._clock()):
            return
        self._session.parked = bool(self._parked.cause)
        if self._parked.cause:
            self._release(self._outgoing.withdraw())
        self._telemetry.parked(self._parked.cause, self._config.park.statuses)

    def _note_secrets(self) -> None:
        """Use a new parking number once a secret has changed, and report that to the store."""
        version = self._sender.secrets_version
        if version != self._secrets:
            self._secrets = version
            self._session.parking = self._parked.renew()
            self._session.renewed = True

    def _opened(self, failures: int, code: str) -> None:
        self._telemetry.opened(failures, code)
        self._release(self._outgoing.withdraw())

    def renew(self) -> None:
        """Begin a new session that keeps the leases and all unconfirmed settlements."""
        self._session.renew()

    def forget(self, ledger: str) -> None:
        """Forget all deliveries: the ledger was replaced by another one."""
        self._outgoing.withdraw()
        self._breaker.probe_dropped()
        self._parked.forget()
        self._session.forget()
        self._marks.change_ledger(ledger)

    def finish(self) -> None:
        """Send nothing more, and release what was not sent."""
        self._finishing = True
        self._release(self._outgoing.withdraw())

    def cancel(self) -> None:
        """Cancel the requests under way."""
        if not self._cancelled:
            self._cancelled = True
            self._sender.cancel_all()

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        """Call `act` with each error in a callback of the sender; the caller then calls `start_over`."""
        self._sender.on_broken(act)

    def start_over(self) -> None:
        """Continue as a new process would after an unexpected error, except that settlements are kept once.

        The requests under way get no answer. The next claim reports them as in flight at a death, and returns all
        deliveries that were leased.
        """
        self._sender.reset()
        died = self._marks.died_now(self._session.start_over())
        if died.deliveries:
            self._session.died = died
        self._marks.keep(self._session.unsettled)
        self._make_parts()

    # --- claims

    def _plan_claim(self, now: float) -> tuple[claim_session.ClaimRequest, float]:
        """Return the claim to make now, and for how long that plan is valid."""
        if self._finishing:
            return claim_session.ClaimRequest(mode=breaker.BreakerMode.HELD), _AT_ANY_TIME_S
        if self._is_held_back():
            return claim_session.ClaimRequest(mode=breaker.BreakerMode.HELD), _SECRETS_S
        plan = self._parked.plan(now) if self._parked.cause else self._breaker.plan(now)
        if plan.mode in _PROBING and (at := self._rate_limit.next_at(now)) > now:
            plan = breaker.ClaimPlan(mode=breaker.BreakerMode.HELD, until=at)
        valid_s = _AT_ANY_TIME_S if plan.until is None else max(0.0, plan.until - now)
        match plan.mode:
            case breaker.BreakerMode.FULL:
                queued = self._outgoing.queued
                want = self._batch - queued if queued <= self._batch // 2 else 0
                return claim_session.ClaimRequest(mode=plan.mode, want=want, wait_s=self._poll_s), valid_s
            case breaker.BreakerMode.PROBE | breaker.BreakerMode.PARKED:
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=self._poll_s), valid_s
            case breaker.BreakerMode.FRESH:
                wait_s = min(self._poll_s, max(0.0, (plan.until or now) - now))
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=wait_s), valid_s
            case _:
                return claim_session.ClaimRequest(mode=plan.mode), valid_s

    def _is_held_back(self) -> bool:
        """Return True before the credentials can be read: a request without them would be refused."""
        missing = self._sender.missing
        if missing and missing != self._missing:
            self._telemetry.held_back(missing)
        self._missing = missing
        return bool(missing)

    def _admit(self, request: claim_session.ClaimRequest, jobs: list[claim_session.LeasedDelivery]) -> None:
        """Send or release new deliveries: the breaker may have changed state since the claim."""
        if not jobs:
            return
        now, sending = self._clock(), not (self._finishing or self._stop.is_set())
        if sending and self._breaker.admits(now) and not self._parked.cause:
            self._outgoing.submit(jobs)
            return
        asked_to_probe = request.mode in _PROBING
        circuit = self._parked if self._parked.cause else self._breaker
        may_probe = self._breaker.open or bool(self._parked.cause)
        if sending and may_probe and asked_to_probe and not circuit.probing:
            circuit.probe_sent(now)
            probe, *jobs = jobs
            probe.probe = True
            self._outgoing.submit_probe(probe)
        self._release(jobs)

    def _release(self, jobs: Iterable[claim_session.LeasedDelivery]) -> None:
        for job in jobs:
            self._session.settle(settlement.released(job))

    # --- requests

    def _may_send(self) -> bool:
        """Return False after a stop, while too many settlements are unconfirmed, or while requests must wait.

        A crash would repeat the requests of unconfirmed settlements.
        """
        session, now = self._session, self._clock()
        at = self._next_request_at(now)
        if self._stop.is_set() or at is None or at > now:
            return False
        return self._window.is_open(session.unconfirmed, age_s=now - session.unconfirmed_since)

    def _next_request_at(self, now: float) -> float | None:
        """Return when the next request may be begun; None: when another one has ended."""
        at = self._breaker.next_request_at(under_way=self._outgoing.busy)
        return None if at is None else max(at, self._rate_limit.next_at(now))

    def _is_leased(self, job: claim_session.LeasedDelivery) -> bool:
        return self._session.held.get(job.delivery.id) is job

    def _send(self, job: claim_session.LeasedDelivery) -> None:
        delivery = job.delivery
        job.sent = True
        self._marks.begin(delivery.id)
        now = self._clock()
        self._breaker.begun(now)
        self._rate_limit.take(now)
        if not job.probe:
            self._under_way[delivery.id] = now
        try:
            body = render.envelope(delivery, self._config.names, ledger=job.ledger)
        except Exception as error:  # noqa: BLE001  this event's, which must not hold up the others
            self._telemetry.faulted(error)
            self._answered(job, answer.internal(error))
            return
        self._sender.send(
            body,
            event_id=delivery.event_id,
            timeout_s=self._breaker.deadline_s(probe=job.probe),
            done=lambda reply: self._answered(job, reply),
        )
        self._note_secrets()  # the sender may have found a new one, and uses it for this request
        job.parking = max(job.parking, self._parked.renewed)

    def _answered(self, job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> None:
        """Settle a request, and send the next one."""
        self._outgoing.ended(job)
        if not job.probe:
            self._under_way.pop(job.delivery.id, None)
        elif self._parked.probing:
            self._parked.probe_ended()
        if self._is_leased(job):  # else its ledger was replaced
            if self._cancelled and reply.status == 0:
                self._breaker.probe_dropped()
                self._session.settle(settlement.interrupted(job, reply))
            else:
                now = self._clock()
                self._apply_verdict(self._judge.settle(job, reply, now), reply, now)
        self._outgoing.send()

    def _apply_verdict(self, verdict: breaker.BreakerVerdict, reply: answer.EndpointAnswer, now: float) -> None:
        """Apply an answer's consequences for later requests: open, close or pause."""
        if verdict is breaker.ACCEPTED:
            return
        pause_s = retry.pause_s(self._config.policy, reply.status, asked_s=settlement.asked_s(reply))
        if reply.status == _UNAVAILABLE and self._breaker.is_alive(now):
            pause_s = 0.0  # it delays its own event only
        if verdict.opened:
            self._telemetry.opened(self._breaker.failures, reply.code)
        if verdict.closed:
            self._session.resume = True
            # Requests sent during the outage are still stuck; their places are needed now.
            self._sender.expire(now - self._breaker.deadline_s(probe=True))
            self._telemetry.closed()
        if pause_s > 0 and not self._breaker.open:
            self._breaker.pause(pause_s, now)
        if not self._breaker.admits(now):
            self._release(self._outgoing.withdraw())
