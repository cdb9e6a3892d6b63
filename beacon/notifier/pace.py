"""How often something may happen: at once while it is rare, in an even rhythm when it isn't.

Pure. Every claim costs the store a transaction and both sides a message, so under load what is to be settled travels
together; a single event waits for nobody. (The generic cell rate algorithm, as in ATM traffic management.)
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Pace:
    """Allows `burst` events at once, and one every `every_s` in the long run."""

    burst: int
    every_s: float
    _even_at: float = 0.0  # when the next event would come in an even rhythm

    def wait_s(self, now: float) -> float:
        """Say how long the next event has to wait; 0: it may happen now."""
        return max(0.0, self._even_at - (self.burst - 1) * self.every_s - now)

    def take(self, now: float) -> None:
        """Take note that an event happens."""
        self._even_at = max(self._even_at, now) + self.every_s
