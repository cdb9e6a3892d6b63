"""When one endpoint's next claim is sent, and whether the store has answered in time.

A claim costs the store a transaction and both sides a wake-up, so answers that are expected soon are settled together.
Pure: time is an argument.
"""

from beacon import wire
from beacon.notifier.delivery import claim_session

_BATCHING_S = 0.005  # wait after a reply for more answers that the next claim can settle, because a claim is costly
_BACKLOG_S = 0.015  # how old a settlement should be, in a backlog, when the store has committed it
_SEVERAL = range(4, 17)  # deliveries in a reply: under load, and soon answered
_LEAST_PAUSE_S = 1.0  # between two sessions, in case two notifiers fence each other


class Claims:
    """The pace of the claims of one session."""

    def __init__(self, session: claim_session.ClaimSession, *, poll_s: float, reply_s: float) -> None:
        """Pace `session`. A claim may be parked for `poll_s`, and its reply may take `reply_s` more."""
        self._session = session
        self._poll_s = poll_s
        self._reply_s = reply_s
        self._renewed_at = -_LEAST_PAUSE_S
        self._submitted_at = 0.0
        self._replied_at = 0.0
        self._got_several = False
        self._in_backlog = False
        self._took_s = 0.0  # by the store, for its last reply

    def next(
        self, request: claim_session.ClaimRequest, now: float, *, pressed: bool
    ) -> tuple[wire.Claim | None, float | None]:
        """Return the claim to send now, if any, and after which time to ask again, None for any time.

        A claim settles what was answered until then. It is delayed while more answers are expected soon, but at a low
        rate only if another claim waits at the store. With `pressed` it is not delayed: sending will soon have to wait
        for confirmed settlements. In a backlog it is delayed for as long as settlements may be unconfirmed, unless the
        next deliveries are needed.
        """
        session = self._session
        idle = session.latest_request is None
        if not (session.needs_claim(request) or (idle and now - self._submitted_at >= self._poll_s)):
            return None, None
        held_s = max(self._batching_s(request, now, pressed=pressed), self._renewed_at + _LEAST_PAUSE_S - now)
        if held_s > 0:
            return None, held_s
        self._submitted_at = now
        return session.claim(request), None

    def _batching_s(self, request: claim_session.ClaimRequest, now: float, *, pressed: bool) -> float:
        session = self._session
        asked = session.latest_request
        if not session.held:
            return 0.0
        if self._in_backlog and session.outbox:
            is_supplied = request.want == 0 or (asked is not None and asked.want > 0)
            return session.outbox_since + max(_BATCHING_S, _BACKLOG_S - self._took_s) - now if is_supplied else 0.0
        at_once = (asked is None and not self._got_several) or pressed
        return 0.0 if at_once else self._replied_at + _BATCHING_S - now

    def timeout_s(self, claim: wire.Claim) -> float:
        """Return after which time without a reply a claim is sent again."""
        return claim.wait_s + self._reply_s

    def take(
        self, claim: wire.Claim, reply: wire.Claimed, now: float, *, ledger: str
    ) -> tuple[claim_session.ClaimRequest, list[claim_session.LeasedDelivery]] | None:
        """Process a reply; see `ClaimSession.take`."""
        self._took_s, self._replied_at = now - self._submitted_at, now
        self._in_backlog = reply.backlog > 0
        self._got_several = not reply.backlog and len(reply.deliveries) in _SEVERAL
        if reply.fenced and claim.session == self._session.name:
            self._renewed_at = now
        return self._session.take(claim, reply, ledger=ledger)

    def is_silent(self, now: float, *, renewed_at: float) -> bool:
        """Return True if the store has not answered in time.

        A store that was restarted at `renewed_at` may take as long for the repeated claim as for the first one.
        """
        asked_at = max(self._submitted_at, renewed_at)
        return self._session.latest_request is not None and now > asked_at + self._poll_s + self._reply_s
