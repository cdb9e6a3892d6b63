"""The total deadline of a request: a thread that shuts a connection down at its deadline.

A socket timeout can't do this: it restarts with each byte that a slow endpoint sends. Shutting the socket down from
another thread ends every wait of the sending thread: for the connection, the TLS handshake, sending, headers and body.
A name lookup can't be interrupted; `connection` bounds it. This module knows nothing about HTTP.
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
        """Shut the socket down, which ends all waits on it."""

    def release(self) -> None:
        """Free the second descriptor, if the connection is closed, because the call has ended."""


@dataclass(slots=True, eq=False)
class Call:
    """One request under way. `expired`: it passed its deadline; `cancelled`: `cancel_all` ended it."""

    began: float
    deadline: float
    connection: Cancellable | None = None
    expired: bool = False
    cancelled: bool = False


class Watchdog:
    """Shuts the connection of every call that has passed its deadline."""

    def __init__(self) -> None:
        """Create a watchdog; `run` enforces the deadlines."""
        self._stopped = False
        self._lock = threading.Lock()
        self._rescheduled = threading.Event()
        self._next_check_at = 0.0
        self._cancelled = False
        self._calls: dict[int, Call] = {}
        self._local = threading.local()

    def run(self, on_beat: Callable[[], None] = lambda: None) -> None:
        """Enforce deadlines until stopped. `on_beat` is not called while a thread stays stuck past its deadline."""
        while not self._stopped:
            now = time.monotonic()
            with self._lock:
                for call in self._calls.values():
                    if call.deadline <= now and not call.expired:
                        call.expired = True
                        _shut(call)
                pending = [call.deadline for call in self._calls.values() if not call.expired]
                stuck = any(call.deadline + _GRACE_S <= now for call in self._calls.values())
                self._next_check_at = min([now + _TICK_S, *pending])
            if not stuck:
                on_beat()
            self._rescheduled.wait(max(0.0, self._next_check_at - now))
            self._rescheduled.clear()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped = True
        self._rescheduled.set()

    def begin(self, deadline: float) -> Call:
        """Register this thread's next request; `deadline` is monotonic."""
        call = Call(time.monotonic(), deadline)
        with self._lock:
            self._calls[id(call)] = call
            call.cancelled = self._cancelled
            is_earlier = deadline < self._next_check_at
        self._local.call = call
        if is_earlier:
            self._rescheduled.set()
        return call

    def end(self, call: Call) -> None:
        """Unregister a request; its connection is no longer shut down."""
        self._local.call = None
        with self._lock:
            del self._calls[id(call)]
            connection = call.connection
            if connection is not None and connection.call is call:
                connection.call = None
                connection.release()

    def attach(self, connection: Cancellable) -> Call | None:
        """Set the connection that this thread's request uses. Return the request; None outside a request."""
        call: Call | None = getattr(self._local, "call", None)
        if call is None:
            return None
        with self._lock:
            call.connection, connection.call = connection, call
            if call.expired or call.cancelled:
                _shut(call)
        return call

    def current(self) -> Call | None:
        """Return this thread's request; None outside a request."""
        call: Call | None = getattr(self._local, "call", None)
        return call

    def expire(self, before: float) -> None:
        """Expire every request that was sent before an instant."""
        with self._lock:
            for call in self._calls.values():
                if call.began < before and not call.expired:
                    call.expired = True
                    _shut(call)

    def cancel_all(self) -> None:
        """Shut the connections of all current and future requests."""
        with self._lock:
            self._cancelled = True
            for call in self._calls.values():
                call.cancelled = True
                _shut(call)


def _shut(call: Call) -> None:
    # A connection returns to its pool as soon as the answer is read, and may already serve the next call.
    if call.connection is not None and call.connection.call is call:
        call.connection.shut()
