"""How far a stream has come: what was seen but not yet sent, and between which positions it lies.

Pure. Lines that concern nobody and bookmarks only move the position on, so it is never ahead of what was seen and a
request covers everything between its two ends.
"""

from dataclasses import dataclass

from beacon.cluster import observing
from beacon.domain import model

_LARGE = 256 * 1024  # characters of labels and annotations in one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one request tells: all that concerns the store between `prev` and `position`."""

    prev: int
    position: int
    observations: tuple[model.Observation, ...]


class PendingBatch:
    """Gathers what is seen after a position until it is taken to be sent."""

    def __init__(self, position: int) -> None:
        """Begin at the store's cursor."""
        self._prev = position
        self._position = position
        self._observations: list[model.Observation] = []
        self._size = 0

    @property
    def sent(self) -> int:
        """The position that the last segment taken brings the cursor to."""
        return self._prev

    @property
    def position(self) -> int:
        """The position up to which everything has been seen."""
        return self._position

    @property
    def waiting(self) -> int:
        """How many observations are to be sent."""
        return len(self._observations)

    @property
    def large(self) -> bool:
        """Return True if what waits is enough to be sent, however few observations it is."""
        return self._size > _LARGE

    @property
    def moved(self) -> bool:
        """Say whether there is anything to be sent."""
        return self._position != self._prev

    def pass_by(self, version: int) -> None:
        """Move over a bookmark; one that is behind says nothing new."""
        self._position = max(self._position, version)

    def see(self, version: int, observation: model.Observation | None) -> bool:
        """Move over a line, with what of it concerns the store; False: it does not come after the one before."""
        if version <= self._position:
            return False
        self._position = version
        if observation is not None:
            self._observations.append(observation)
            self._size += observing.size(observation)
        return True

    def take(self) -> Segment:
        """Give what was gathered and begin anew after it."""
        segment = Segment(prev=self._prev, position=self._position, observations=tuple(self._observations))
        self._prev = self._position
        self._observations.clear()
        self._size = 0
        return segment
