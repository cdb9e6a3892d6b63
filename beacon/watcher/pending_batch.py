"""Observations that were received but not yet sent, and the two positions (resourceVersions) that they lie between.

Pure. Bookmarks and events of objects that the store does not need only advance the position. So a position is never
ahead of what was received, and a request covers everything between its two positions.
"""

from dataclasses import dataclass

from beacon.cluster import observing
from beacon.domain import model

_LARGE = 256 * 1024  # characters of labels and annotations in one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The content of one request: all observations after `prev` and up to `position`."""

    prev: int
    position: int
    observations: tuple[model.Observation, ...]
    large: bool = False


class PendingBatch:
    """Collects observations after a position until they are taken to be sent."""

    def __init__(self, position: int) -> None:
        """Start at the store's cursor."""
        self._prev = position
        self._position = position
        self._observations: list[model.Observation] = []
        self._size = 0

    @property
    def sent(self) -> int:
        """Return the position of the last segment taken: the store's cursor once that segment is applied."""
        return self._prev

    @property
    def position(self) -> int:
        """Return the position up to which everything has been received."""
        return self._position

    @property
    def count(self) -> int:
        """Return the number of observations to be sent."""
        return len(self._observations)

    @property
    def large(self) -> bool:
        """Return True if the observations are large enough to be sent without waiting for more."""
        return self._size > _LARGE

    @property
    def moved(self) -> bool:
        """Return True if there is anything to be sent: observations, or a new position."""
        return self._position != self._prev

    def advance_to(self, version: int) -> None:
        """Advance the position to that of a bookmark; ignore a bookmark that is behind."""
        self._position = max(self._position, version)

    def see(self, version: int, observation: model.Observation | None) -> bool:
        """Add a watch event and its observation, if any; return False if it is not newer than the one before."""
        if version <= self._position:
            return False
        self._position = version
        if observation is not None:
            self._observations.append(observation)
            self._size += observing.size(observation)
        return True

    def take(self) -> Segment:
        """Return the collected segment, and start the next one after it."""
        segment = Segment(
            prev=self._prev, position=self._position, observations=tuple(self._observations), large=self.large
        )
        self._prev = self._position
        self._observations.clear()
        self._size = 0
        return segment
