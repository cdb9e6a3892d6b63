"""One endpoint in the notifier's loop: an unexpected error while it is served stays its own.

The state of an endpoint that failed may be wrong. It is replaced by a new one, as a new process would have it, after a
pause that doubles with each further error; the other endpoints and the process go on. Requests that were in flight are
reported to the store like those of a process that died, so an event that always causes the error soon comes last.
"""

import time
from collections.abc import Callable

from beacon import wire
from beacon.notifier.delivery import endpoint, ports

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_FORGOTTEN_S = 300.0  # after this time without an error the pauses begin anew


class GuardedEndpoint:
    """An `EndpointDelivery` whose methods raise nothing. For one thread."""

    def __init__(
        self,
        served: endpoint.EndpointDelivery,
        *,
        telemetry: ports.TelemetryPort,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Guard `served`, also against errors in callbacks of its sender."""
        self.name = served.name
        self._served = served
        self._telemetry = telemetry
        self._clock = clock
        self._errors = 0
        self._failed_at = 0.0
        self._resume_at = 0.0
        self._is_sound = True
        self._finishing = False
        self._given_up = False
        served.on_broken(self.failed)

    @property
    def finished(self) -> bool:
        """Return True if nothing is leased and all settlements are confirmed, or if finishing failed."""
        return self._given_up or self._served.finished

    @property
    def idle(self) -> bool:
        """Return True if the endpoint works, and has nothing to do: see `EndpointDelivery.idle`."""
        return self._is_sound and self._served.idle

    def next_claim(self, now: float) -> tuple[wire.Claim | None, float]:
        """Return the claim to send now, if any, and after which time to ask again."""
        if self._given_up:
            return None, _LONGEST_PAUSE_S
        if not self._is_sound and now >= self._resume_at:
            self._start_over()
        pause_s = self._resume_at - now
        if pause_s > 0 and not (self._finishing and self._is_sound):
            return None, pause_s
        try:
            return self._served.next_claim(now)
        except Exception as error:  # noqa: BLE001  see the module's docstring
            self.failed(error)
            return None, max(0.0, self._resume_at - now)

    def timeout_s(self, claim: wire.Claim) -> float:
        """Return after which time without a reply a claim is sent again."""
        return self._served.timeout_s(claim)

    def take_reply(self, claim: wire.Claim, reply: wire.Claimed, *, ledger: str) -> None:
        """Process the store's reply to a claim."""
        self._do(lambda: self._served.take_reply(claim, reply, ledger=ledger))

    def check(self, now: float, *, renewed_at: float) -> None:
        """Detect missing answers; see `EndpointDelivery.check`."""
        if self._is_sound:
            self._do(lambda: self._served.check(now, renewed_at=renewed_at))

    def renew(self) -> None:
        """Begin a new session; see `EndpointDelivery.renew`."""
        self._do(self._served.renew)

    def forget(self, ledger: str) -> None:
        """Forget all deliveries: the ledger was replaced by another one."""
        self._do(lambda: self._served.forget(ledger))

    def finish(self) -> None:
        """Send nothing more, and release what was not sent."""
        self._finishing = True
        self._do(self._served.finish)

    def cancel(self) -> None:
        """Cancel the requests under way."""
        self._do(self._served.cancel)

    def failed(self, error: Exception) -> None:
        """Log and count an unexpected error, start over, and pause; a stop does not wait for a second one."""
        now = self._clock()
        recent = now - self._failed_at < _FORGOTTEN_S
        self._errors = self._errors + 1 if recent and self._errors else 1
        self._failed_at = now
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._errors - 1, 20), _LONGEST_PAUSE_S)
        self._resume_at = now + pause_s
        self._telemetry.broken(error, pause_s=pause_s)
        self._given_up = self._finishing
        self._start_over()

    def _start_over(self) -> None:
        """Replace the state. If that fails, too, nothing is done until it is tried again after the pause."""
        self._is_sound = False
        try:
            self._served.start_over()
        except Exception as error:  # noqa: BLE001  see the module's docstring
            self._resume_at = self._clock() + _LONGEST_PAUSE_S
            self._telemetry.broken(error, pause_s=_LONGEST_PAUSE_S)
        else:
            self._is_sound = True

    def _do(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  see the module's docstring
            self.failed(error)
