"""The total deadline of a request: a thread that shuts a connection down when its time is up.

No timeout of a socket does this: each read of an answer that drips in byte by byte is in time. Shutting the socket
down from another thread ends whatever the sending thread waits for: connecting, the TLS handshake, sending, headers,
body. Looking up a name can't be interrupted and is bounded in `beacon.notifier.connection`. Nothing here knows HTTP.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_TICK_S = 1.0
_GRACE_S = 10.0


class Cancellable(Protocol):
    """A connection that may carry one call at a time."""

    call: "Call | None"

    def shut(self) -> None:
        """End whatever waits for this connection."""

    def release(self) -> None:
        """The call is over: let go of what was needed to shut the connection, if it is closed."""


@dataclass(slots=True, eq=False)
class Call:
    """One request under way. `expired` and `severed` say who ended it, if somebody did."""

    began: float
    deadline: float
    line: Cancellable | None = None
    expired: bool = False
    severed: bool = False


class Watchdog:
    """Shuts the connection of every call that is over its deadline."""

    def __init__(self) -> None:
        """Prepare; `run` does the work."""
        self._stopped = False
        self._lock = threading.Lock()
        self._sooner = threading.Event()
        self._looks_at = 0.0
        self._severed = False
        self._calls: dict[int, Call] = {}
        self._mine = threading.local()

    def run(self, on_beat: Callable[[], None] = lambda: None) -> None:
        """Watch until stopped. `on_beat` is called as long as no thread is stuck though its connection was shut."""
        while not self._stopped:
            now = time.monotonic()
            with self._lock:
                for call in self._calls.values():
                    if call.deadline <= now and not call.expired:
                        call.expired = True
                        _shut(call)
                pending = [call.deadline for call in self._calls.values() if not call.expired]
                stuck = any(call.deadline + _GRACE_S <= now for call in self._calls.values())
                self._looks_at = min([now + _TICK_S, *pending])
            if not stuck:
                on_beat()
            self._sooner.wait(max(0.0, self._looks_at - now))
            self._sooner.clear()

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._sooner.set()

    def begin(self, deadline: float) -> Call:
        """Start the clock of this thread's next request; `deadline` is monotonic."""
        call = Call(time.monotonic(), deadline)
        with self._lock:
            self._calls[id(call)] = call
            call.severed = self._severed
            hurry = deadline < self._looks_at
        self._mine.call = call
        if hurry:
            self._sooner.set()
        return call

    def end(self, call: Call) -> None:
        """Stop the clock. From here on the call's connection is left alone."""
        self._mine.call = None
        with self._lock:
            del self._calls[id(call)]
            line = call.line
            if line is not None and line.call is call:
                line.call = None
                line.release()

    def attach(self, line: Cancellable) -> Call | None:
        """Name the connection that this thread's request uses; None outside a request."""
        call: Call | None = getattr(self._mine, "call", None)
        if call is None:
            return None
        with self._lock:
            call.line, line.call = line, call
            if call.expired or call.severed:
                _shut(call)
        return call

    def current(self) -> Call | None:
        """Give this thread's request; None outside a request."""
        call: Call | None = getattr(self._mine, "call", None)
        return call

    def expire(self, before: float) -> None:
        """Let every request that was sent before an instant end now, as if its time were up."""
        with self._lock:
            for call in self._calls.values():
                if call.began < before and not call.expired:
                    call.expired = True
                    _shut(call)

    def sever(self) -> None:
        """Shut the connections of all requests, those under way and those to come."""
        with self._lock:
            self._severed = True
            for call in self._calls.values():
                call.severed = True
                _shut(call)


def _shut(call: Call) -> None:
    # A connection goes back to its pool as soon as the answer is read, and may carry the next call already.
    if call.line is not None and call.line.call is call:
        call.line.shut()
