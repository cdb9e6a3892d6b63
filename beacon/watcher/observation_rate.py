"""How the watcher's loop follows the load: when many observations arrive, it reads them together.

A wake-up costs the watcher, the store and the notifier more than the observation that caused it. Pure: time is an
argument.
"""

from collections import deque

_MANY = 8  # observations
_WITHIN_S = 0.04  # so many within this time are a rate of 200/s: below it, each is read and sent at once
_TOGETHER = 5
_REST_S = (0.008, 0.01)


class ObservationRate:
    """The rate of the observations that were read in all scopes recently."""

    def __init__(self) -> None:
        """Begin without load."""
        self._recent: deque[float] = deque(maxlen=_MANY)

    def read(self, observations: int, now: float) -> None:
        """Count observations that were read."""
        self._recent.extend([now] * min(observations, _MANY))

    def rest_s(self, now: float) -> float:
        """Return for how long no watch need be read: 0 at a low rate, else some milliseconds after the last one."""
        if len(self._recent) < _MANY:
            return 0.0
        took_s = now - self._recent[0]
        if took_s > _WITHIN_S:
            return 0.0
        rest_s = min(max(_TOGETHER * took_s / _MANY, _REST_S[0]), _REST_S[1])
        return max(0.0, self._recent[-1] + rest_s - now)
