"""Requests for test events, in memory: from a command to the notifier, and the result back. Nothing is written."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from beacon import wire

_MOST = 16  # requests that are known at a time
_ABANDONED_S = 5.0  # since the command asked last


@dataclass(slots=True, kw_only=True)
class _RequestedTestEvent:
    endpoint: str
    asked_at: float  # monotonic
    taken: bool = False
    result: wire.TestEventResult | None = None


class TestEvents:
    """Serves the verbs `request-test-event`, `take-test-event` and `report-test-event`."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin without requests."""
        self._monotonic = monotonic
        self._requested: dict[str, _RequestedTestEvent] = {}

    def request(self, request: wire.RequestTestEvent) -> wire.TestEventProgress:
        """Add a request, or return the progress of a known one."""
        self._drop_abandoned()
        new = _RequestedTestEvent(endpoint=request.endpoint, asked_at=self._monotonic())
        known = self._requested.setdefault(request.id, new)
        known.asked_at = self._monotonic()
        while len(self._requested) > _MOST:
            del self._requested[next(iter(self._requested))]
        return wire.TestEventProgress(taken=known.taken, result=known.result)

    def take(self, request: wire.TakeTestEvent) -> wire.TakenTestEvent:
        """Return the oldest request without a result that the notifier is not sending; again after a lost reply."""
        self._drop_abandoned()
        for identity, one in self._requested.items():
            if one.result is None and identity not in request.under_way:
                one.taken = True
                return wire.TakenTestEvent(id=identity, endpoint=one.endpoint)
        return wire.TakenTestEvent(id="")

    def report(self, request: wire.ReportTestEvent) -> wire.ReportedTestEvent:
        """Keep a result for the command, if it still waits."""
        if request.id in self._requested:
            self._requested[request.id].result = request.result
        return wire.ReportedTestEvent()

    def _drop_abandoned(self) -> None:
        since = self._monotonic() - _ABANDONED_S
        self._requested = {identity: one for identity, one in self._requested.items() if one.asked_at >= since}
