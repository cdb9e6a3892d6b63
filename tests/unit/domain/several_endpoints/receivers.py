"""The receivers, and what each of them may demand of the requests that it gets."""

from dataclasses import dataclass, field

State = tuple[str, int]  # UID and value


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Request:
    """What an endpoint is sent: the attributes of an envelope that its invariants need."""

    key: str
    sequence: int
    previous: int
    type: str
    uid: str
    value: int


@dataclass
class Receiver:
    """One endpoint: the set that it holds, and the proof that it missed nothing and got nothing twice or out of order.

    `unsent`: the sequences that failed or were discarded, which are the only ones that `previous` may name without
    having come. `unanswered`: the sequences whose answer did not reach the ledger; only these may come again.
    `forgotten`: keys whose view was dropped when neither an object nor an unsettled delivery bore them; `previous` may
    be 0 again. `lacks`: the newest event of a key that failed or was discarded, until a later one is accepted.
    `disturbed`: keys of which an event failed at some time, so that a `created` may come for an object that it holds.
    `unsure`: keys whose view was lost, or that were selected without `created` or `deleted` at some time.
    """

    holds: dict[str, State] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    received: set[int] = field(default_factory=set)
    unsent: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    lacks: dict[str, int] = field(default_factory=dict)
    disturbed: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    withheld: set[str] = field(default_factory=set)  # UIDs that `start: now` left out
    unmanaged: set[str] = field(default_factory=set)  # keys whose object was unmanaged at some time
    paused: bool = False  # by an operator

    def receive(self, request: Request) -> None:
        """Apply a request that the endpoint accepts.

        Raises:
            Violation: the request may not have come, or not now.
        """
        if request.sequence in self.received:
            _demand(request.sequence in self.unanswered, "repeated", request)
            _demand(request.sequence == self.last[request.key], "repeated after a later event", request)
            return
        self._check_chain(request)
        if request.key not in self.unsure | self.disturbed:
            self._check_meaning(request)
        self.received.add(request.sequence)
        self.last[request.key] = request.sequence
        if request.type != "deleted":
            self.holds[request.key] = (request.uid, request.value)
        elif self.holds.get(request.key, ("",))[0] == request.uid:
            del self.holds[request.key]
        known = self.holds.get(request.key, (request.uid,))[0] == request.uid
        if known and self.lacks.get(request.key, 0) <= request.sequence:
            self.lacks.pop(request.key, None)

    def _check_chain(self, request: Request) -> None:
        last = self.last.get(request.key, 0)
        _demand(request.sequence > last, f"out of order, after {last}", request)
        if request.previous == 0:
            _demand(last == 0 or request.key in self.forgotten, "no previous, though it is known", request)
            return
        known = request.previous in self.received or request.previous in self.unsent
        _demand(known, "previous was never sent: a false loss", request)
        _demand(last <= request.previous, f"previous is older than {last}", request)

    def _check_meaning(self, request: Request) -> None:
        held = self.holds.get(request.key)
        if request.type == "created":
            _demand(held is None, f"created while it holds {held}", request)
            _demand(request.uid not in self.withheld, "created, though `start: now` left it out", request)
        elif request.uid not in self.withheld and not self._may_be_unknown(request):
            _demand(held is not None and held[0] == request.uid, f"{request.type} while it holds {held}", request)
        if request.type == "deleted":
            self.withheld.discard(request.uid)

    def _may_be_unknown(self, request: Request) -> bool:
        """Return True for the deletion of an object that became unmanaged before the endpoint got it."""
        return request.type == "deleted" and request.key in self.unmanaged and request.key not in self.holds


def _demand(holds: bool, what: str, request: Request) -> None:
    if not holds:
        raise Violation(f"{what}: {request}")
