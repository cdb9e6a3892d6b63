"""Outage-like failures whose cause is not known yet: they count if the endpoint is shown to work after them.

Pure. A failure is known by the time at which it came back. Only an answer to a request that was sent after that time
says something about it.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from beacon.domain import model, records


@records.record
class MadeRequest:
    """One request and its answer.

    `counted` is the number of earlier attempts that count; `code`, `status` and `error` describe the answer. `latest`
    is the event's latest attempt, if that is another one.
    """

    delivery: int
    generation: int
    attempt: int
    counted: int
    type: model.EventType
    code: str = ""
    status: int = 0
    error: str = ""
    latest: int = 0


_MOST = 10_000  # failures whose cause is not known; the oldest ones beyond are forgiven


@dataclass(slots=True)
class _Event:
    generation: int
    counted: int
    latest: int


@dataclass(slots=True)
class Suspicions:
    """The failures of one endpoint since it was last in doubt, oldest first."""

    _failures: deque[tuple[float, MadeRequest]] = field(default_factory=deque)
    _events: dict[int, _Event] = field(default_factory=dict)  # by delivery

    @property
    def any(self) -> bool:
        """Return True if there is a failure."""
        return bool(self._failures or self._events)

    def add(self, request: MadeRequest, now: float) -> None:
        """Add a failure that came back now."""
        if len(self._failures) == _MOST:
            _, oldest = self._failures.popleft()
            event = self._events.get(oldest.delivery)
            if event is not None and event.latest == oldest.attempt:
                del self._events[oldest.delivery]
        self._failures.append((now, request))
        self._events[request.delivery] = _Event(request.generation, request.counted, request.attempt)

    def answered(self, request: MadeRequest) -> None:
        """Note that another attempt of an event was answered and counts at once."""
        if request.delivery in self._events:
            self._events[request.delivery] = _Event(request.generation, request.counted + 1, request.attempt)

    def finished(self, delivery: int) -> None:
        """Forget the failures of an event that is finished: nothing counts against it any more."""
        self._events.pop(delivery, None)

    def charge(self, *, sent_at: float, own: int) -> tuple[MadeRequest, ...]:
        """Remove and return the failures that count because a request sent at `sent_at` was answered properly.

        That request's own delivery says nothing about itself.
        """
        charged: list[MadeRequest] = []
        kept: list[tuple[float, MadeRequest]] = []
        while self._failures and self._failures[0][0] < sent_at:
            failed_at, request = self._failures.popleft()
            event = self._events.get(request.delivery)
            if event is None or event.generation != request.generation:
                continue
            if request.delivery == own:
                kept.append((failed_at, request))
                continue
            charged.append(replace(request, counted=event.counted, latest=event.latest))
            event.counted += 1
        self._failures.extendleft(reversed(kept))
        if not self._failures:
            self._events.clear()
        return tuple(charged)

    def clear(self) -> None:
        """Forget all failures: the endpoint caused them."""
        self._failures.clear()
        self._events.clear()
