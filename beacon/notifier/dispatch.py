"""Claims, sending, settling: the notifier's loop.

One thread talks to the store: it claims what may be sent now, hands it to the crew, and carries back what came of it.
The crew's threads send and settle under one lock, in which nothing waits. What an answer means is decided in `retry`,
`breaker` and `settlement`; what the protocol demands in `session`.
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

_FLUSH_S = 1.5  # of the 12 s that a stop may take, beside `finish_s`
_GATHER_S = 0.003  # after a reply, for answers that the next claim can settle: a claim costs more than it holds
_LEAST_UNCONFIRMED = 32  # settlements on their way: fewer would slow a fast endpoint down
_POLL_S = (0.1, 5.0)  # a claim is parked no shorter, which would be busy waiting, and no longer: it shows who lives
_SLICE_S = 0.5  # how soon the loop notices the stop flag
_LEAST_PAUSE_S = 1.0  # between two sessions, when two notifiers fence each other


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """What the configuration says about delivering.

    `finish_s` is how long requests under way may take after a stop before they are cut; `reply_s` how long the store
    may take to answer, beside the time for which a claim may be parked, before it is asked again.
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
    """Delivers what the store has for one endpoint, until stopped."""

    def __init__(
        self,
        terms: DispatcherConfig,
        sender: ports.Sender,
        *,
        connect: ports.Connect,
        start: Callable[[str, Callable[[], None]], object],
        stop: threading.Event,
        line: ports.Deadlines,
        record: ports.TelemetryPort,
        marked: in_flight_marks.Marks | None = None,
    ) -> None:
        """Prepare. `connect` opens an end of the bus, `start` a thread; `line` can end requests under way.

        `marked` outlives this process and names what is under way; without it no death is counted.
        """
        self._terms = terms
        self._sender = sender
        self._connect = connect
        self._stop = stop
        self._line = line
        self._record = record
        self._lock = threading.Lock()
        self._breaker = breaker.CircuitBreaker(rules=terms.rules)
        self._marks = marked or in_flight_marks.Marks(None, most=1)
        self._session = claim_session.ClaimSession(endpoint=terms.endpoint, died=self._marks.died)
        self._chance = random.Random()  # noqa: S311  spreads retries, protects nothing
        self._low = terms.batch // 2
        self._most_unconfirmed = most_unconfirmed(terms.width)
        self._poll_s = min(max(terms.poll_s, _POLL_S[0]), _POLL_S[1])
        self._crew = worker_pool.WorkerPool(terms.width, self._deliver, start=start, on_low=self.wake, low=self._low)
        # A probe must not wait behind requests that hang since before the breaker opened.
        self._prober = worker_pool.WorkerPool(1, self._deliver, start=start, on_low=lambda: None, low=-1)
        self._client: bus.Client | None = None
        self._under_way: dict[int, float] = {}  # delivery -> when its request was sent; without probes
        self._severed = False
        self._attentive = True  # the loop may send a claim as soon as it is woken
        self._renewed_at = -_LEAST_PAUSE_S
        self._submitted_at = 0.0
        self._replied_at = 0.0

    def run(self) -> None:
        """Deliver until the stop flag is set, then finish what is under way and have it on disk.

        Raises:
            bus.SettingsChanged: the store has another configuration; what was under way is settled.
        """
        with self._connect() as client:
            self._client = client
            try:
                while not self._stop.is_set():
                    self._step(client, self._look())
            except bus.SettingsChanged:
                self._begin_again(client.ledger)
                raise
            finally:
                if self._stop.is_set():
                    self._finish(client)

    def wake(self) -> None:
        """Let the loop look again at once, e.g. because the stop flag was set."""
        if self._client is not None:
            self._client.wake()

    def _begin_again(self, ledger: str) -> None:
        """Settle what is under way with a store that has another configuration, if it still has this ledger.

        In another ledger the same numbers are other deliveries.
        """
        with self._lock:
            self._session.renew()
        with self._connect() as client:
            client.ledger = ledger
            self._client = client
            self._finish(client)

    def _finish(self, client: bus.Client) -> None:
        """Let what is under way come to its end, cut what takes too long, and settle all of it."""
        self._release(self._withdraw())
        cut_at = time.monotonic() + self._terms.finish_s
        end_at = cut_at + _FLUSH_S
        last = claim_session.ClaimRequest(mode=breaker.BreakerMode.HELD)
        while (now := time.monotonic()) < end_at:
            with self._lock:
                idle = not self._session.held
                done = idle and self._session.flushed
            if done:
                return
            if now >= cut_at and not self._severed:
                self._severed = True
                self._line.sever()
            self._step(client, (last, min(0.1, end_at - now)))

    def _look(self) -> tuple[claim_session.ClaimRequest, float]:
        """Decide what is to be claimed now, and how long that stays so."""
        now = time.monotonic()
        with self._lock:
            plan = self._breaker.plan(now)
        patience_s = _SLICE_S if plan.until is None else min(_SLICE_S, max(0.0, plan.until - now))
        if self._crew.waiting:
            patience_s = min(patience_s, worker_pool.PATIENCE_S)
        match plan.mode:
            case breaker.BreakerMode.FULL:
                queued = self._crew.queued
                want = self._terms.batch - queued if queued <= self._low else 0
                return claim_session.ClaimRequest(mode=plan.mode, want=want, wait_s=self._poll_s), patience_s
            case breaker.BreakerMode.PROBE:
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=self._poll_s), patience_s
            case breaker.BreakerMode.FRESH:
                wait_s = max(0.0, (plan.until or now) - now)
                return claim_session.ClaimRequest(mode=plan.mode, want=1, wait_s=wait_s), patience_s
            case _:
                return claim_session.ClaimRequest(mode=plan.mode), patience_s

    def _step(self, client: bus.Client, wished: tuple[claim_session.ClaimRequest, float]) -> None:
        """Send a claim if there is anything to say, and take what the store has answered."""
        wish, patience_s = wished
        now = time.monotonic()
        with self._lock:
            due = self._session.wants(wish) or (self._session.asked is None and self._is_quiet(now))
            held_s = max(self._gathering_s(now), self._renewed_at + _LEAST_PAUSE_S - now) if due else 0.0
            claim = self._session.claim(wish) if due and held_s <= 0 else None
            self._attentive = held_s <= 0
        if held_s > 0:
            patience_s = min(patience_s, held_s)
        if claim is not None:
            self._submitted_at = now
            client.submit(claim, timeout_s=claim.wait_s + self._terms.reply_s)
        try:
            for _, request, reply in client.collect(wire.CLAIM, patience_s):
                self._replied_at = time.monotonic()
                self._take(client, request, reply)
        except bus.LedgerChanged:
            self._forget()
        self._crew.hurry()
        with self._lock:
            self._look_around(now, asked_at=max(self._submitted_at, client.renewed_at))

    def _gathering_s(self, now: float) -> float:
        """Say how long the next claim may wait for answers that it can settle.

        Not at all when none is to come, or when sending will soon have to wait for settlements to be on disk.
        """
        waiting = self._session.asked is not None and self._session.held
        if not waiting or self._session.unconfirmed >= self._most_unconfirmed // 2:
            return 0.0
        return self._replied_at + _GATHER_S - now

    def _look_around(self, now: float, *, asked_at: float) -> None:
        """Notice what doesn't come: answers of the endpoint, and of the store.

        A store that was started anew answers the claim that it is sent again as late as the one before it.
        """
        self._record.working(self._crew.busy + self._prober.busy)
        silent = self._breaker.heed_silence(self._under_way.values(), now)
        if silent:
            self._record.opened(silent, answer.TIMEOUT)
            self._settle_all([settlement.released(job) for job in self._crew.withdraw()])
        if self._session.asked is not None and now > asked_at + self._poll_s + self._terms.reply_s:
            self._record.silent()

    def _is_quiet(self, now: float) -> bool:
        """Tell whether the store hasn't been asked for so long that it is time to see whether it is the same still."""
        return now - self._submitted_at >= self._poll_s

    def _take(self, client: bus.Client, claim: wire.Claim, reply: wire.Claimed) -> None:
        if reply.fenced and claim.session == self._session.name:
            self._renewed_at = time.monotonic()
        with self._lock:
            taken = self._session.take(claim, reply, ledger=client.ledger)
            if taken is None:
                return
            wish, jobs = taken
            self._marks.keep(self._session.unsettled)
            crews = self._admit(wish, jobs)
            self._record.claimed(len(jobs))
            self._look_at_unconfirmed()
        for group, admitted in crews:
            group.offer(admitted)

    def _admit(
        self, wish: claim_session.ClaimRequest, jobs: list[claim_session.LeasedDelivery]
    ) -> list[tuple[worker_pool.WorkerPool, list[claim_session.LeasedDelivery]]]:
        """Decide what of a reply may still be sent: the breaker may have moved since it was asked for."""
        now = time.monotonic()
        if not jobs:
            return []
        if self._breaker.admits(now) and not self._stop.is_set():
            return [(self._crew, jobs)]
        asked_to_probe = wish.mode in (breaker.BreakerMode.FRESH, breaker.BreakerMode.PROBE)
        if self._breaker.open and asked_to_probe and not self._breaker.probing and not self._stop.is_set():
            self._breaker.probe_sent(now)
            jobs[0].probe = True
            self._settle_all([settlement.released(job) for job in jobs[1:]])
            return [(self._prober, jobs[:1])]
        self._settle_all([settlement.released(job) for job in jobs])
        return []

    def _deliver(self, job: claim_session.LeasedDelivery) -> None:
        """Send one delivery and settle what came of it. Runs in the crew's threads."""
        with self._lock:
            if self._session.held.get(job.delivery.id) is not job:
                return
            self._marks.begin(job.delivery.id)
            timeout_s = self._breaker.deadline_s(probe=job.probe)
            if not job.probe:
                self._under_way[job.delivery.id] = time.monotonic()
        body = render.envelope(job.delivery, self._terms.names, ledger=job.ledger)
        reply = self._sender.send(body, event_id=job.delivery.event_id, timeout_s=timeout_s)
        with self._lock:
            self._under_way.pop(job.delivery.id, None)
            if self._session.held.get(job.delivery.id) is not job:
                return  # of a ledger that is gone
            awaited = self._attentive
            if self._severed and reply.status == 0:
                self._breaker.probe_dropped()
                self._session.settle(settlement.interrupted(job, reply))
            else:
                self._judge(job, reply)
            self._look_at_unconfirmed()
            spare = self._session.room and (awaited or not self._session.held)
        if spare:
            self.wake()

    def _look_at_unconfirmed(self) -> None:
        """Send no more while too much of what was answered is not on disk: it would be repeated after a crash."""
        self._crew.halt(halted=self._session.unconfirmed >= self._most_unconfirmed)

    def _judge(self, job: claim_session.LeasedDelivery, reply: answer.EndpointAnswer) -> None:
        delivery, policy, now = job.delivery, self._terms.policy, time.monotonic()
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
        outcome = settlement.settle(job, reply, verdict, policy, roll=self._chance.uniform(-1.0, 1.0))
        self._session.settle(outcome)
        self._record.sent(delivery, outcome, failures=self._breaker.failures)
        if outcome.result is model.DeliveryResult.FAILED and retry.meaning(reply.status) is retry.Meaning.AGAIN:
            self._record.gave_up(delivery.type, late=False)
        charges: Counter[int] = Counter()
        for suspect in verdict.charged:
            charges[suspect.delivery] += 1
            self._charge(suspect, counted=suspect.counted + charges[suspect.delivery])
        self._heed(verdict, reply, now)

    def _charge(self, suspect: breaker.MadeRequest, *, counted: int) -> None:
        again = self._session.held.get(suspect.delivery)
        charge = settlement.charge(suspect, self._terms.policy, counted=counted, held=again is not None)
        if again is not None:
            again.charged += 1
        for outcome in charge.outcomes:
            self._session.amend(outcome)
        if charge.exhausted:
            self._record.gave_up(suspect.type, late=True)

    def _heed(self, verdict: breaker.BreakerVerdict, reply: answer.EndpointAnswer, now: float) -> None:
        """Do what an answer means for the answers to come: open, close, pause."""
        pause_s = retry.pause_s(self._terms.policy, reply.status, asked_s=settlement.asked_s(reply))
        if verdict.opened:
            self._record.opened(self._breaker.failures, reply.code)
        if verdict.closed:
            self._session.resume = True
            # What still hangs was sent into the outage; its threads are needed now.
            self._line.expire(now - self._breaker.deadline_s(probe=True))
            self._record.closed()
        if pause_s > 0 and not self._breaker.open:
            self._breaker.pause(pause_s, now)
        if not self._breaker.admits(now):
            self._settle_all([settlement.released(job) for job in self._crew.withdraw()])

    def _withdraw(self) -> list[claim_session.LeasedDelivery]:
        return [*self._crew.withdraw(), *self._prober.withdraw()]

    def _release(self, jobs: list[claim_session.LeasedDelivery]) -> None:
        with self._lock:
            self._settle_all([settlement.released(job) for job in jobs])

    def _settle_all(self, outcomes: list[model.Outcome]) -> None:
        for outcome in outcomes:
            self._session.settle(outcome)

    def _forget(self) -> None:
        self._withdraw()
        with self._lock:
            self._breaker.probe_dropped()
            self._session.forget()
            self._marks.keep(())
            self._look_at_unconfirmed()


def most_unconfirmed(width: int) -> int:
    """Return how many settlements may be on their way to the disk before sending waits for them."""
    return max(_LEAST_UNCONFIRMED, 2 * width)


def most_marks(width: int) -> int:
    """Return how many deliveries may be under way or unconfirmed at a time: of the crew, and one probe."""
    return most_unconfirmed(width) + 2 * width + 1
