"""The notifier's side of the claim protocol: what it holds, what it has settled, which claim comes next.

Pure: it builds claims and takes replies, and touches no socket. A settlement is kept until the claim that carried it
was answered; at most two claims are unanswered, so that settlements go out while an earlier claim is parked. Not safe
for threads: its caller holds a lock.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from beacon import wire
from beacon.domain import model
from beacon.notifier import breaker, in_flight_marks

_UNANSWERED = 2
_FINAL = frozenset({model.DeliveryResult.DELIVERED, model.DeliveryResult.FAILED})


@dataclass(slots=True, kw_only=True)
class LeasedDelivery:
    """A delivery that the notifier holds. `charged` counts attempts that were found to count after it was claimed."""

    delivery: model.Delivery
    ledger: str
    probe: bool = False
    charged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """What a claim is to ask for: how many deliveries, in which mode, and how long it may be parked."""

    mode: breaker.BreakerMode
    want: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    wish: ClaimRequest
    outcomes: tuple[model.Outcome, ...]
    resume: bool


@dataclass(slots=True, kw_only=True)
class ClaimSession:
    """One notifier's claims at one endpoint."""

    endpoint: str
    new_name: Callable[[], str] = lambda: uuid.uuid4().hex
    name: str = ""
    resume: bool = False  # the breaker closed, and no claim that says so has been answered yet
    held: dict[int, LeasedDelivery] = field(default_factory=dict)
    outbox: list[model.Outcome] = field(default_factory=list)
    died: in_flight_marks.Died = field(
        default_factory=in_flight_marks.Died
    )  # what no claim that was answered has reported yet
    _number: int = 0
    _seen: int = 0
    _unanswered: dict[int, _Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.new_name()

    @property
    def room(self) -> bool:
        """Tell whether another claim may be sent now."""
        return len(self._unanswered) < _UNANSWERED

    @property
    def unconfirmed(self) -> int:
        """Count the settlements that the store has not confirmed."""
        return len(self.outbox) + sum(len(sent.outcomes) for sent in self._unanswered.values())

    @property
    def flushed(self) -> bool:
        """Tell whether the store has confirmed everything."""
        return not self._unanswered and not self.outbox

    @property
    def asked(self) -> ClaimRequest | None:
        """Give what the latest unanswered claim asks for; None when there is none."""
        return next(reversed(self._unanswered.values())).wish if self._unanswered else None

    @property
    def unsettled(self) -> set[int]:
        """The deliveries that are held, or settled and not confirmed."""
        return {*self.held, *(outcome.delivery for outcome in (*self.outbox, *self._carried(after=0)))}

    def settle(self, outcome: model.Outcome) -> None:
        """Give a delivery back with what came of it."""
        self.held.pop(outcome.delivery, None)
        self.outbox.append(outcome)

    def amend(self, outcome: model.Outcome) -> None:
        """Say something more about a delivery that was settled before, and may be held again."""
        self.outbox.append(outcome)

    def wants(self, wish: ClaimRequest) -> bool:
        """Tell whether a claim has to be sent to bring the store up to date."""
        if not self.room:
            return False
        if self.outbox or self.resume or (self.died.deliveries and not self._unanswered):
            return True
        asked = self.asked
        if asked is None or asked.want == 0:
            return wish.want > 0
        return asked.mode is not wish.mode

    def claim(self, wish: ClaimRequest) -> wire.Claim:
        """Make the next claim; it carries all that is to be settled."""
        self._number += 1
        outcomes = tuple(self.outbox)
        self.outbox.clear()
        claim = wire.Claim(
            endpoint=self.endpoint,
            session=self.name,
            number=self._number,
            seen=self._seen,
            want=wish.want,
            # A session's first claim is answered at once: it shows that the store serves, and reveals a fence.
            wait_s=wish.wait_s if self._number > 1 else 0.0,
            settlements=outcomes,
            held=tuple(self.held),
            died=self.died.life,
            died_with=self.died.deliveries,
            probe=wish.mode in (breaker.BreakerMode.PROBE, breaker.BreakerMode.FRESH),
            fresh_only=wish.mode is breaker.BreakerMode.FRESH,
            resume=self.resume,
        )
        self._unanswered[self._number] = _Sent(wish=wish, outcomes=outcomes, resume=self.resume)
        self.resume = False
        return claim

    def take(
        self, claim: wire.Claim, reply: wire.Claimed, *, ledger: str
    ) -> tuple[ClaimRequest, list[LeasedDelivery]] | None:
        """Take a reply: what was asked for, and the deliveries that are held from now on.

        None: the reply is to an earlier session, or says that this one is fenced; then a new one has begun.
        """
        if claim.session != self.name:
            return None
        if reply.fenced:
            self.renew()
            return None
        self._seen = max(self._seen, claim.number)
        self.died = in_flight_marks.Died()
        wish = self._unanswered.pop(claim.number).wish
        # What the store did not know when it gave these deliveries out.
        unknown = [*self.outbox, *self._carried(after=claim.number)]
        final = {outcome.delivery for outcome in unknown if outcome.result in _FINAL}
        charged = Counter(outcome.delivery for outcome in unknown if outcome.result is model.DeliveryResult.CHARGED)
        jobs = [
            LeasedDelivery(delivery=one, ledger=ledger, charged=charged[one.id])
            for one in reply.deliveries
            if one.id not in self.held and one.id not in final
        ]
        self.held.update((job.delivery.id, job) for job in jobs)
        return wish, jobs

    def renew(self) -> None:
        """Begin a new session with what is held; nothing that was not confirmed is forgotten."""
        self.resume |= any(sent.resume for sent in self._unanswered.values())
        self.outbox[:0] = self._carried(after=0)
        self._unanswered.clear()
        self.name, self._number, self._seen = self.new_name(), 0, 0

    def forget(self) -> None:
        """Begin a new session with nothing: the ledger is another one, and all that was held is void."""
        self.held.clear()
        self.outbox.clear()
        self._unanswered.clear()
        self.died = in_flight_marks.Died()
        self.renew()

    def _carried(self, *, after: int) -> list[model.Outcome]:
        """List the settlements of unanswered claims beyond the given number."""
        claims = [sent for number, sent in self._unanswered.items() if number > after]
        return [outcome for sent in claims for outcome in sent.outcomes]
