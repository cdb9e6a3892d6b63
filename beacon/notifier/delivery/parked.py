"""A parked endpoint as the notifier sees it: when it is probed, and under which number requests are sent.

The store parks an endpoint and ends the parking; the replies to claims report both. The rules are those of
`beacon.domain.parking`. Pure: time is an argument.
"""

import math
from dataclasses import dataclass

from beacon.domain import parking
from beacon.notifier.delivery import breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkingConfig:
    """The statuses that may park the endpoint, empty if it is never parked, and the longest time between probes."""

    statuses: frozenset[int] = frozenset()
    longest_probe_s: float = 300.0


NEVER = ParkingConfig()


@dataclass(slots=True, kw_only=True)
class ParkedEndpoint:
    """The parking of one endpoint, as the latest reply of the store describes it. For one thread.

    `number` is the highest parking number that is known. `renewed` is the number since the last changed secret: all
    requests that are begun later are sent under it at least.
    """

    config: ParkingConfig
    cause: str = ""  # "" while it is not parked
    number: int = 0
    renewed: int = 0
    probing: bool = False
    _known: bool = False  # the store has answered
    _interval_s: float = parking.FIRST_PROBE_S
    _probed_at: float = -math.inf

    def take(self, number: int, cause: str, now: float) -> bool:
        """Take a reply of the store; return True if the endpoint has been parked, or is no longer.

        An endpoint that was parked before this process started is probed at once: its secret may have changed.
        """
        self.number = max(self.number, number)
        was_known, self._known = self._known, True
        if bool(cause) == bool(self.cause):
            self.cause = cause
            return False
        self.cause = cause
        self._interval_s = parking.FIRST_PROBE_S
        self._probed_at = now if was_known else -math.inf
        return True

    def renew(self) -> int:
        """Begin a new number, because a secret has changed; return it."""
        self.number += 1
        self.renewed = self.number
        return self.number

    def forgives(self, status: int, number: int) -> bool:
        """Return True if an answer is a refusal that says nothing: while parked, or to a request of before."""
        return status in self.config.statuses and (bool(self.cause) or number < self.number)

    def plan(self, now: float) -> breaker.ClaimPlan:
        """Return which probe may be claimed now. A long interval is cut short for an event that was never sent."""
        if self.probing:
            return breaker.ClaimPlan(mode=breaker.BreakerMode.PARKED)
        fresh_at = self._probed_at + min(self._interval_s, parking.LONGEST_FRESH_S)
        any_at = self._probed_at + self._interval_s
        if now < fresh_at:
            return breaker.ClaimPlan(mode=breaker.BreakerMode.PARKED, until=fresh_at)
        if now < any_at:
            return breaker.ClaimPlan(mode=breaker.BreakerMode.FRESH, until=any_at)
        return breaker.ClaimPlan(mode=breaker.BreakerMode.PROBE)

    def probe_sent(self, now: float) -> None:
        """Record that a probe was sent, and double the interval, except after the first one at a start."""
        self.probing = True
        if self._probed_at > -math.inf:
            self._interval_s = min(2 * self._interval_s, self.config.longest_probe_s)
        self._probed_at = now

    def probe_ended(self) -> None:
        """Record that no probe is under way."""
        self.probing = False

    def forget(self) -> None:
        """Forget everything: the ledger was replaced by another one, with other numbers."""
        self.cause, self.number, self.renewed, self.probing, self._known = "", 0, 0, False, False
