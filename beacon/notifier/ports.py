"""What the dispatcher needs of others, so that a test can take their place. No behaviour."""

from collections.abc import Callable
from typing import Protocol

from beacon import bus
from beacon.domain import model
from beacon.notifier import answer

Connect = Callable[[], bus.Client]


class Sender(Protocol):
    """The channel, as far as it is needed here."""

    def send(self, body: bytes, *, event_id: str, timeout_s: float) -> answer.EndpointAnswer:
        """Send one request and wait for the whole answer."""


class Deadlines(Protocol):
    """What can end requests under way: the watchdog."""

    def expire(self, before: float) -> None:
        """Let every request that was sent before a monotonic instant end now."""

    def sever(self) -> None:
        """End all requests, those under way and those to come."""


class TelemetryPort(Protocol):
    """What is told to metrics, log and status about the work."""

    def claimed(self, count: int) -> None:
        """The store has answered a claim with so many deliveries."""

    def silent(self) -> None:
        """The store has not answered in time."""

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int) -> None:
        """A request was made and settled; `failures` is the number of outage-like answers in a row."""

    def gave_up(self, kind: model.EventType, *, late: bool) -> None:
        """No attempt is left for an event; `late`: its last one was found to count after it had been settled."""

    def working(self, busy: int) -> None:
        """So many requests are under way."""

    def opened(self, failures: int, code: str) -> None:
        """The breaker opened after so many failures in a row, the last of this kind."""

    def closed(self) -> None:
        """The breaker closed."""
