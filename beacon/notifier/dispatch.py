"""The notifier's main loop: claim, send, settle.

One thread talks to the store: it claims the deliveries that may be sent, submits them to the worker pool, and returns
their settlements. The pool's threads send, and settle under one lock that is never held while waiting. `retry`,
`breaker` and `settlement` decide what an answer means; `claim_session` implements the claim protocol.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from beacon import bus, wire
from beacon.domain import model
from beacon.notifier import (
    answer,
    breaker,
    claim_session,
    in_flight_marks,
    ports,
    render,
    retry,
    settlement,
    worker_pool,
)

_FLUSH_S = 1.5  # beside `finish_s`, within the 12 s that a stop may take
_BATCHING_S = 0.003  # wait after a reply for more answers that the next claim can settle, because a claim is costly
_LEAST_UNCONFIRMED = 32  # unconfirmed settlements: fewer would slow a fast endpoint down
# How long the store may park a claim: less would be busy waiting, more would delay the detection of a dead peer.
_POLL_S = (0.1, 5.0)
_SLICE_S = 0.5  # how often the loop checks the stop flag
_LEAST_PAUSE_S = 1.0  # between two sessions, in case two notifiers fence each other


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """The configuration of the delivery loop.

    `finish_s` is how long requests under way may continue after a stop before they are cancelled; `reply_s` is how long
    the store may take to answer, beyond the time a claim may be parked, before the claim is sent again.
    """

    endpoint: str
    names: render.Names
    policy: retry.Policy
    rules: breaker.BreakerRules
    width: int
    batch: int
    poll_s: float
    finish_s: float = 10.0
    reply_s: float = 5.0


class Dispatcher:
    """Delivers the store's events to one endpoint, until stopped."""

    def __init__(
        self,
        config: DispatcherConfig,
        sender: ports.Sender,
        *,
        connect: ports.Connect,
        start: Callable[[str, Callable[[], None]], object],
        stop: threading.Event,
        deadlines: ports.Deadlines,
        telemetry: ports.TelemetryPort,
        marks: in_flight_marks.Marks | None = None,
    ) -> None:
        """Store the parts. `connect` opens a bus client, `start` a thread; `deadlines` can cancel requests.

        `marks` outlives this process and records the deliveries in flight; without it, deaths are not counted.
        """
        self._config = config
        self._sender = sender
        self._connect = connect
        self._stop = stop
        self._deadlines = deadlines
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._breaker = breaker.CircuitBreaker(rules=config.rules)
        self._marks = marks or in_flight_marks.Marks(None, most=1)
        self._session = claim_session.ClaimSession(endpoint=config.endpoint, died=self._marks.died)
        self._random = random.Random()  # noqa: S311  spreads retries, protects nothing
        self._low_water = config.batch // 2
        self._most_unconfirmed = most_unconfirmed(config.width)
        self._poll_s = min(max(config.poll_s, _POLL_S[0]), _POLL_S[1])
        self._pool = worker_pool.WorkerPool(
            config.width, self._deliver, start=start, on_low_water=self.wake, low_water=self._low_water
        )
        # A probe must not wait for requests that have been stuck since before the breaker opened.
        self._probe_pool = worker_pool.WorkerPool(
            1, self._deliver, start=start, on_low_water=lambda: None, low_water=-1
        )
        self._client: bus.Client | None = None
        self._under_way: dict[int, float] = {}  # delivery -> send time of its request; without probes
        self._cancelled = False
        self._can_claim = True  # the loop may send a claim as soon as it wakes up
        self._renewed_at = -_LEAST_PAUSE_S
        self._submitted_at = 0.0
        self._replied_at = 0.0

    def run(self) -> None:
        """Deliver until the stop flag is set, then finish the requests under way and settle them durably.

        Raises:
            bus.SettingsChanged: the store has another configuration; the requests under way are settled.
        """
        with self._connect() as client:
            client.ledger = self._marks.ledger  # the first claim reports deaths, which belong to this ledger
            self._client = client
            try:
                while not self._stop.is_set():
                    self._step(client, self._plan_claim())
            except bus.SettingsChanged:
                self._settle_with_new_store(client.ledger)
                raise
            finally:
                if self._stop.is_set():
                    self._finish(client)

    def wake(self) -> None:
        """Wake the loop, e.g. because the stop flag was set."""
        if self._client is not None:
            self._client.wake()

    def _settle_with_new_store(self, ledger: str) -> None:
        """Settle the requests under way with a store that has another configuration, if it has the same ledger.

        In another ledger the same ids belong to other deliveries.
        """
        with self._lock:
            self._session.renew()
        with self._connect() as client:
            client.ledger = ledger
            self._client = client
            self._finish(client)

    def _finish(self, client: bus.Client) -> None:
        """Finish the requests under way, cancel those that take too long, and settle all of them."""
        self._release(self._withdraw())
        cut_at = time.monotonic() + self._config.finish_s
        end_at = cut_at + _FLUSH_S
        last = claim_session.ClaimRequest(mode=breaker.BreakerMode.HELD)
        while (now := time.monotonic()) < end_at:
            with self._lock:
                idle = not self._session.held
                done = idle and self._session.flushed
            if done:
                return
            if now >= cut_at and not self._cancelled:
                self._cancelled = True
                self._deadlines.cancel_all()
            self._step(client, (last, min(0.1, end_at - now)))

    def _plan_claim(self) -> tuple[claim_session.ClaimRequest, float]:
        """Return the claim to make now, and for how long that plan is valid."""
        now = time.monotonic()
        with self._lock:
            plan = self._breaker.plan(now)
        timeout_s = _SLICE_S if plan.until is None else min(_SLICE_S, max(0.0, plan.until - now))
        if self._pool.waiting:
            timeout_s = min(timeout_s, worker_pool.PATIENCE_S)
        match plan.mode:
            case breaker.BreakerMode.FULL:
                queued = self._pool.queued
                want = self._config.batch - queued if queued <= self._low_water else 0
                return claim_session.ClaimRequest(mode=plan.mode, want=want, wait_s=self._poll_s), timeout_s
            case breaker.BreakerMode.PROBE:
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=self._poll_s), timeout_s
            case breaker.BreakerMode.FRESH:
                wait_s = max(0.0, (plan.until or now) - now)
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=wait_s), timeout_s
            case _:
                return claim_session.ClaimRequest(mode=plan.mode), timeout_s

    def _step(self, client: bus.Client, planned: tuple[claim_session.ClaimRequest, float]) -> None:
        """Send a claim if one is needed, and process the store's replies."""
        claim_request, timeout_s = planned
        now = time.monotonic()
        with self._lock:
            due = self._session.needs_claim(claim_request) or (
                self._session.latest_request is None and self._keepalive_due(now)
            )
            held_s = max(self._batching_delay_s(now), self._renewed_at + _LEAST_PAUSE_S - now) if due else 0.0
            claim = self._session.claim(claim_request) if due and held_s <= 0 else None
            self._can_claim = held_s <= 0
        if held_s > 0:
            timeout_s = min(timeout_s, held_s)
        if claim is not None:
            self._submitted_at = now
            client.submit(claim, timeout_s=claim.wait_s + self._config.reply_s)
        try:
            for _, request, reply in client.collect(wire.CLAIM, timeout_s):
                self._replied_at = time.monotonic()
                self._take_reply(client, request, reply)
        except bus.LedgerChanged:
            self._reset()
        self._pool.scale_up()
        with self._lock:
            self._detect_silence(now, asked_at=max(self._submitted_at, client.renewed_at))

    def _batching_delay_s(self, now: float) -> float:
        """Return how long the next claim may wait for more answers that it can settle.

        0 if no answer is expected, or if sending will soon have to wait for confirmed settlements.
        """
        waiting = self._session.latest_request is not None and self._session.held
        if not waiting or self._session.unconfirmed >= self._most_unconfirmed // 2:
            return 0.0
        return self._replied_at + _BATCHING_S - now

    def _detect_silence(self, now: float, *, asked_at: float) -> None:
        """Detect missing answers of the endpoint and of the store.

        A restarted store may take as long for the repeated claim as for the first one.
        """
        self._telemetry.working(self._pool.busy + self._probe_pool.busy)
        silent = self._breaker.detect_silence(self._under_way.values(), now)
        if silent:
            self._telemetry.opened(silent, answer.TIMEOUT)
            self._settle_all([settlement.released(job) for job in self._pool.withdraw()])
        if self._session.latest_request is not None and now > asked_at + self._poll_s + self._config.reply_s:
            self._telemetry.silent()

    def _keepalive_due(self, now: float) -> bool:
        """Return True if the last claim is so old that a new one must check that the store is still the same."""
        return now - self._submitted_at >= self._poll_s

    def _take_reply(self, client: bus.Client, claim: wire.Claim, reply: wire.Claimed) -> None:
        if reply.fenced and claim.session == self._session.name:
            self._renewed_at = time.monotonic()
        with self._lock:
            taken = self._session.take(claim, reply, ledger=client.ledger)
            if taken is None:
                return
            claim_request, jobs = taken
            self._marks.keep(self._session.unsettled)
            admissions = self._admit(claim_request, jobs)
            self._telemetry.claimed(len(jobs))
            self._limit_unconfirmed()
        for pool, admitted in admissions:
            pool.submit(admitted)

    def _admit(
        self, claim_request: claim_session.ClaimRequest, jobs: list[claim_session.LeasedDelivery]
    ) -> list[tuple[worker_pool.WorkerPool, list[claim_session.LeasedDelivery]]]:
        """Return the deliveries to submit, by pool: the breaker may have changed state since the claim."""
        now = time.monotonic()
        if not jobs:
            return []
        if self._breaker.admits(now) and not self._stop.is_set():
            return [(self._pool, jobs)]
        asked_to_probe = claim_request.mode in (breaker.BreakerMode.FRESH, breaker.BreakerMode.PROBE)
        if self._breaker.open and asked_to_probe and not self._breaker.probing and not self._stop.is_set():
            self._breaker.probe_sent(now)
            jobs[0].probe = True
            self._settle_all([settlement.released(job) for job in jobs[1:]])
            return [(self._probe_pool, jobs[:1])]
        self._settle_all([settlement.released(job) for job in jobs])
        return []

    def _deliver(self, job: claim_session.LeasedDelivery) -> None:
        """Send one delivery and settle its result. Runs in the pool's threads."""
        with self._lock:
            if self._session.held.get(job.delivery.id) is not job:
                return
            self._marks.begin(job.delivery.id)
            timeout_s = self._breaker.deadline_s(probe=job.probe)
            if not job.probe:
                self._under_way[job.delivery.id] = time.monotonic()
        body = render.envelope(job.delivery, self._config.names, ledger=job.ledger)
        reply = self._sender.send(body, event_id=job.delivery.event_id, timeout_s=timeout_s)
        with self._lock:
            self._under_way.pop(job.delivery.id, None)
            if self._session.held.get(job.delivery.id) is not job:
                return  # its ledger was replaced
            can_claim = self._can_claim
            if self._cancelled and reply.status == 0:
                self._breaker.probe_dropped()
                self._session.settle(settlement.interrupted(job, reply))
            else:
                self._judge(job, reply)
            self._limit_unconfirmed()
            wake = self._session.can_claim and (can_claim or not self._session.held)
        if wake:
            self.wake()

    def _limit_unconfirmed(self) -> None:
        """Pause sending while too many settlements are unconfirmed: a crash would repeat their requests."""
        self._pool.pause(paused=self._session.unconfirmed >= self._most_unconfirmed)

    def _judge(self, job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> None:
        delivery, policy, now = job.delivery, self._config.policy, time.monotonic()
        request = breaker.MadeRequest(
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
        outcome = settlement.settle(job, reply, verdict, policy, roll=self._random.uniform(-1.0, 1.0))
        self._session.settle(outcome)
        self._telemetry.sent(delivery, outcome, failures=self._breaker.failures)
        if outcome.result is model.DeliveryResult.FAILED and retry.meaning(reply.status) is retry.Meaning.AGAIN:
            self._telemetry.gave_up(delivery.type, late=False)
        charges: Counter[int] = Counter()
        for suspect in verdict.charged:
            charges[suspect.delivery] += 1
            self._charge(suspect, counted=suspect.counted + charges[suspect.delivery])
        self._apply_verdict(verdict, reply, now)

    def _charge(self, suspect: breaker.MadeRequest, *, counted: int) -> None:
        again = self._session.held.get(suspect.delivery)
        charge = settlement.charge(suspect, self._config.policy, counted=counted, held=again is not None)
        if again is not None:
            again.charged += 1
        for outcome in charge.outcomes:
            self._session.amend(outcome)
        if charge.exhausted:
            self._telemetry.gave_up(suspect.type, late=True)

    def _apply_verdict(self, verdict: breaker.BreakerVerdict, reply: answer.EndpointAnswer, now: float) -> None:
        """Apply an answer's consequences for later requests: open, close or pause."""
        pause_s = retry.pause_s(self._config.policy, reply.status, asked_s=settlement.asked_s(reply))
        if verdict.opened:
            self._telemetry.opened(self._breaker.failures, reply.code)
        if verdict.closed:
            self._session.resume = True
            # Requests sent during the outage are still stuck; their threads are needed now.
            self._deadlines.expire(now - self._breaker.deadline_s(probe=True))
            self._telemetry.closed()
        if pause_s > 0 and not self._breaker.open:
            self._breaker.pause(pause_s, now)
        if not self._breaker.admits(now):
            self._settle_all([settlement.released(job) for job in self._pool.withdraw()])

    def _withdraw(self) -> list[claim_session.LeasedDelivery]:
        return [*self._pool.withdraw(), *self._probe_pool.withdraw()]

    def _release(self, jobs: list[claim_session.LeasedDelivery]) -> None:
        with self._lock:
            self._settle_all([settlement.released(job) for job in jobs])

    def _settle_all(self, outcomes: list[model.Outcome]) -> None:
        for outcome in outcomes:
            self._session.settle(outcome)

    def _reset(self) -> None:
        self._withdraw()
        with self._lock:
            self._breaker.probe_dropped()
            self._session.forget()
            self._marks.change_ledger(self._client.ledger if self._client is not None else "")
            self._limit_unconfirmed()


def most_unconfirmed(width: int) -> int:
    """Return how many settlements may be unconfirmed before sending pauses."""
    return max(_LEAST_UNCONFIRMED, 2 * width)


def most_marks(width: int) -> int:
    """Return how many deliveries may be under way or unconfirmed at a time, including one probe."""
    return most_unconfirmed(width) + 2 * width + 1
