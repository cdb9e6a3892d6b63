"""The interfaces that the delivery needs, so that tests can replace their implementations. No behavior."""

from collections.abc import Callable, Collection
from typing import Protocol

from beacon import bus
from beacon.domain import model
from beacon.notifier.transport import answer

Connect = Callable[[], bus.Client]


class Sender(Protocol):
    """Sends requests to one endpoint: `http_sender.HttpSender`."""

    def send(
        self, body: bytes, *, event_id: str, timeout_s: float, done: Callable[[answer.EndpointAnswer], None]
    ) -> None:
        """Send one request; `done` is called with the complete answer."""

    @property
    def missing(self) -> str:
        """Return the reason why nothing may be sent yet; "" if none."""

    @property
    def secrets_version(self) -> int:
        """Return a number that grows when a token or a TLS file has changed and is used."""

    def check_secrets(self) -> None:
        """Read the files of secrets again if they have changed, also while nothing is sent."""

    def expire(self, before: float) -> None:
        """Expire soon every request that was sent before a monotonic instant."""

    def cancel_all(self) -> None:
        """Cancel soon all current and future requests."""

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        """Call `act` with each error in a callback of the loop, after which the state is in doubt until `reset`."""

    def reset(self) -> None:
        """Close all connections; requests under way get no answer."""


class TelemetryPort(Protocol):
    """Reports the deliveries to metrics, log and status: `telemetry.Telemetry`."""

    def claimed(self, count: int) -> None:
        """Record that the store answered a claim with `count` deliveries."""

    def held_back(self, why: str) -> None:
        """Record that nothing is sent until an operator fixes the reason."""

    def silent(self) -> None:
        """Record that the store has not answered in time."""

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int, alive: bool) -> None:
        """Record a settled request.

        `failures` is the number of consecutive outage-like answers; `alive`: another answer was proper a moment ago.
        """

    def gave_up(self, kind: model.EventType, *, late: bool) -> None:
        """Record that an event has no attempt left; `late`: its last attempt was counted after it had been settled."""

    def working(self, busy: int) -> None:
        """Set the number of requests under way."""

    def opened(self, failures: int, code: str) -> None:
        """Record that the breaker opened after `failures` consecutive failures; `code` is the last one."""

    def closed(self) -> None:
        """Record that the breaker closed."""

    def parked(self, cause: str, statuses: Collection[int]) -> None:
        """Record that the endpoint is parked, and why; "": it is no longer. `statuses` are those that park it."""

    def faulted(self, error: Exception) -> None:
        """Record an unexpected error that only one request has."""

    def broken(self, error: Exception, *, pause_s: float) -> None:
        """Record an unexpected error after which the endpoint starts over, after a pause."""
