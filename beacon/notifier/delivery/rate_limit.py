"""A token bucket: how many requests an endpoint gets in a second. Pure: its caller passes the time in.

A request may be begun while the bucket holds a token. It holds few, so that a burst after a pause is short: in any
second an endpoint gets at most 1.1 times its rate, and one request more.
"""

import math
from dataclasses import dataclass

_BURST_S = 0.1  # what the bucket gathers in this time


@dataclass(slots=True)
class RateLimit:
    """The requests of one endpoint; a rate of 0 is no limit."""

    rate: float
    _tokens: float = 1.0
    _at: float = -math.inf

    def next_at(self, now: float) -> float:
        """Return when the next request may be begun: an instant that is not after `now` if it may be begun now."""
        if not self.rate:
            return -math.inf
        self._refill(now)
        return now if self._tokens >= 1.0 else now + (1.0 - self._tokens) / self.rate

    def take(self, now: float) -> None:
        """Record that a request was begun; one that could not wait delays the following ones."""
        if self.rate:
            self._refill(now)
            self._tokens -= 1.0

    def in_a_second(self, most: int) -> int:
        """Return how many of `most` requests may be begun within a second, at least one."""
        return min(most, max(1, math.ceil(self.rate))) if self.rate else most

    def _refill(self, now: float) -> None:
        full = max(1.0, self.rate * _BURST_S)
        gathered = full if self._at == -math.inf else (now - self._at) * self.rate
        # A computed instant may be a rounding error early: without this the loop would wait for it once more.
        self._tokens = min(full, self._tokens + max(0.0, gathered) + 1e-9)
        self._at = now
