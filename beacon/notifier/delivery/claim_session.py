"""The notifier's side of the claim protocol: the leased deliveries, the settlements, and the next claim.

Pure: it builds claims and processes replies, and uses no socket. A settlement is kept until the store answers the claim
that carries it. At most two claims are unanswered, so settlements are sent while an earlier claim is parked. For
one thread.
"""

import math
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from beacon import wire
from beacon.domain import model
from beacon.notifier.delivery import breaker, in_flight_marks

_UNANSWERED = 2
_FINAL = frozenset({model.DeliveryResult.DELIVERED, model.DeliveryResult.FAILED})


@dataclass(slots=True, kw_only=True)
class LeasedDelivery:
    """A delivery leased to the notifier. `charged` is the number of attempts that were counted after it was claimed.

    `sent` is True once its request was begun. `parking` is the parking number that the request is sent under.
    """

    delivery: model.Delivery
    ledger: str
    probe: bool = False
    charged: int = 0
    sent: bool = False
    parking: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """The contents of a claim: how many deliveries, in which mode, and how long the store may park it."""

    mode: breaker.BreakerMode
    want: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    claim_request: ClaimRequest
    outcomes: tuple[model.Outcome, ...]
    since: float  # when the first of the outcomes was settled
    resume: bool
    renewed: bool


@dataclass(slots=True, kw_only=True)
class ClaimSession:
    """One notifier's claims for one endpoint."""

    endpoint: str
    new_name: Callable[[], str] = lambda: uuid.uuid4().hex
    clock: Callable[[], float] = time.monotonic
    name: str = ""
    resume: bool = False  # the breaker closed, and no claim with that fact has been answered yet
    parked: bool = False  # the endpoint is parked, as far as is known
    parking: int = 0  # the number that new requests are sent under
    renewed: bool = False  # a secret changed, and no claim with that fact has been answered yet
    held: dict[int, LeasedDelivery] = field(default_factory=dict)
    outbox: list[model.Outcome] = field(default_factory=list)
    outbox_since: float = math.inf  # when the first outcome in the outbox was settled
    died: in_flight_marks.Died = field(default_factory=in_flight_marks.Died)  # until an answered claim reported it
    _number: int = 0
    _seen: int = 0
    _unanswered: dict[int, _Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.new_name()

    @property
    def can_claim(self) -> bool:
        """Return True if another claim may be sent now."""
        return len(self._unanswered) < _UNANSWERED

    @property
    def unconfirmed(self) -> int:
        """Count the settlements that the store has not confirmed."""
        count = len(self.outbox)
        for sent in self._unanswered.values():
            count += len(sent.outcomes)
        return count

    @property
    def unconfirmed_since(self) -> float:
        """Return when the oldest unconfirmed settlement was made; infinity if there is none."""
        for sent in self._unanswered.values():  # oldest first
            if sent.outcomes:
                return sent.since
        return self.outbox_since

    @property
    def flushed(self) -> bool:
        """Return True if the store has confirmed all settlements."""
        return not self._unanswered and not self.outbox

    @property
    def latest_request(self) -> ClaimRequest | None:
        """Return what the latest unanswered claim asks for; None if no claim is unanswered."""
        return next(reversed(self._unanswered.values())).claim_request if self._unanswered else None

    @property
    def unsettled(self) -> set[int]:
        """Return the deliveries that are leased, or settled and not confirmed."""
        return {*self.held, *(outcome.delivery for outcome in (*self.outbox, *self._carried(after=0)))}

    def settle(self, outcome: model.Outcome) -> None:
        """End the lease of a delivery with its outcome."""
        self.held.pop(outcome.delivery, None)
        self.amend(outcome)

    def amend(self, outcome: model.Outcome) -> None:
        """Add an outcome for a delivery that was settled earlier, and may be leased again."""
        if not self.outbox:
            self.outbox_since = self.clock()
        self.outbox.append(outcome)

    def needs_claim(self, claim_request: ClaimRequest) -> bool:
        """Return True if a claim must be sent to update the store."""
        if not self.can_claim:
            return False
        if self.outbox or self.resume or self.renewed or (self.died.deliveries and not self._unanswered):
            return True
        latest_request = self.latest_request
        if latest_request is None or latest_request.want == 0:
            return claim_request.want > 0
        return latest_request.mode is not claim_request.mode

    def claim(self, claim_request: ClaimRequest) -> wire.Claim:
        """Return the next claim; it carries all settlements that are not sent yet."""
        self._number += 1
        outcomes = tuple(self.outbox)
        self.outbox.clear()
        claim = wire.Claim(
            endpoint=self.endpoint,
            session=self.name,
            number=self._number,
            seen=self._seen,
            want=claim_request.want,
            # A session's first claim is answered at once: this shows that the store serves, and detects a fence.
            wait_s=claim_request.wait_s if self._number > 1 else 0.0,
            settlements=outcomes,
            held=tuple(self.held),
            died=self.died.life,
            died_with=self.died.deliveries,
            probe=claim_request.mode in (breaker.BreakerMode.PROBE, breaker.BreakerMode.FRESH),
            fresh_only=claim_request.mode is breaker.BreakerMode.FRESH,
            resume=self.resume,
            parked=self.parked,
            parking=self.parking,
            renewed=self.renewed,
        )
        self._unanswered[self._number] = _Sent(
            claim_request=claim_request,
            outcomes=outcomes,
            since=self.outbox_since,
            resume=self.resume,
            renewed=self.renewed,
        )
        self.outbox_since = math.inf
        self.resume = self.renewed = False
        return claim

    def take(
        self, claim: wire.Claim, reply: wire.Claimed, *, ledger: str
    ) -> tuple[ClaimRequest, list[LeasedDelivery]] | None:
        """Process a reply. Return the request that it answers, and the newly leased deliveries.

        Return None if the reply is for an earlier session, or fences this one, which begins a new session.
        """
        if claim.session != self.name:
            return None
        if reply.fenced:
            self.renew()
            return None
        self._seen = max(self._seen, claim.number)
        self.died = in_flight_marks.Died()
        claim_request = self._unanswered.pop(claim.number).claim_request
        # Outcomes that the store did not know when it leased these deliveries.
        unknown = [*self.outbox, *self._carried(after=claim.number)]
        final = {outcome.delivery for outcome in unknown if outcome.result in _FINAL}
        charged = Counter(outcome.delivery for outcome in unknown if outcome.result is model.DeliveryResult.CHARGED)
        jobs = [
            LeasedDelivery(delivery=one, ledger=ledger, charged=charged[one.id], parking=reply.parking)
            for one in reply.deliveries
            if one.id not in self.held and one.id not in final
        ]
        self.held.update((job.delivery.id, job) for job in jobs)
        return claim_request, jobs

    def renew(self) -> None:
        """Begin a new session that keeps the leases and all unconfirmed settlements."""
        self.resume |= any(sent.resume for sent in self._unanswered.values())
        self.renewed |= any(sent.renewed for sent in self._unanswered.values())
        self.outbox_since = self.unconfirmed_since
        self.outbox[:0] = self._carried(after=0)
        self._unanswered.clear()
        self.name, self._number, self._seen = self.new_name(), 0, 0

    def start_over(self) -> set[int]:
        """Begin a new session without the leases, after an error. Return the deliveries without a settlement.

        Unconfirmed settlements are kept, but not twice: if no claim was answered since, they may cause the error.
        """
        given_up = set(self.held)
        if self._seen == 0:
            given_up |= self.unsettled
            self.outbox.clear()
            self._unanswered.clear()
            self.outbox_since = math.inf
        self.held.clear()
        self.renew()
        return given_up

    def forget(self) -> None:
        """Begin an empty session: the ledger was replaced, so all leases are void."""
        self.held.clear()
        self.outbox.clear()
        self._unanswered.clear()
        self.outbox_since = math.inf
        self.died = in_flight_marks.Died()
        self.renew()
        self.parked, self.parking, self.renewed = False, 0, False

    def _carried(self, *, after: int) -> list[model.Outcome]:
        """Return the settlements of unanswered claims with a higher number."""
        claims = [sent for number, sent in self._unanswered.items() if number > after]
        return [outcome for sent in claims for outcome in sent.outcomes]
