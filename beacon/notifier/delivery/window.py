"""How many settlements may be unconfirmed before sending pauses.

A crash repeats the requests whose settlements the store has not confirmed. Their number is bounded by their age: beyond
a base they may only be those of the last 20 ms, as many as a fast endpoint answers until the store's next commit. Pure.
"""

from dataclasses import dataclass

_LEAST_BASE = 32  # fewer would slow a fast endpoint down
_MOST = 256
_FRESH_S = 0.02  # several commits of a store under load, and too short for a person to see


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedWindow:
    """Up to `base` settlements of any age, and up to `most` as long as the oldest is fresh."""

    base: int
    most: int

    def is_open(self, unconfirmed: int, *, age_s: float) -> bool:
        """Return True if another request may be sent; `age_s` is the age of the oldest unconfirmed settlement."""
        return unconfirmed < self.base or (unconfirmed < self.most and age_s < _FRESH_S)

    def is_half_full(self, unconfirmed: int) -> bool:
        """Return True if a claim should confirm settlements soon."""
        return unconfirmed >= self.base // 2


def of_width(width: int) -> UnconfirmedWindow:
    """Return the window for a number of concurrent requests."""
    base = max(_LEAST_BASE, 2 * width)
    return UnconfirmedWindow(base=base, most=max(_MOST, base))


def most_marks(width: int) -> int:
    """Return how many deliveries may be under way or unconfirmed at a time, including one probe."""
    return of_width(width).most + 2 * width + 1
