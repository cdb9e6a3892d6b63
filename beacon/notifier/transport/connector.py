"""The threads that open connections, because that blocks; the loop gets each one once it is open.

They are the only threads that work for the loop. The loop abandons an opening at its deadline by shutting its socket
down, which ends every wait of the thread: for the connection, the proxy and the TLS handshake. A name lookup can't be
interrupted; `connection` bounds it. This module knows nothing about HTTP.
"""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable

from beacon.boundary import idle_socket
from beacon.notifier.transport import event_loop

_GRACE_S = 10.0
_MOST_STUCK = 8  # threads of one endpoint

Start = Callable[[str, Callable[[], None]], object]
Outcome = idle_socket.Stream | Exception


class ConnectionAttempt:
    """One attempt to open a connection. `deadline` is monotonic.

    The guard is a second descriptor of the same socket: it can shut the connection down even while the first one is
    being wrapped for TLS.
    """

    def __init__(
        self,
        deadline: float,
        make: Callable[["ConnectionAttempt"], idle_socket.Stream],
        done: Callable[["ConnectionAttempt", Outcome], None],
    ) -> None:
        """Describe an opening; `done` is called in the loop's thread, also after `abandon`."""
        self.deadline = deadline
        self.make = make
        self.done = done
        self.abandoned = False
        self._lock = threading.Lock()
        self._guard: socket.socket | None = None

    def guard(self, made: socket.socket) -> None:
        """Allow the loop to shut down this socket instead of an earlier one."""
        mine = socket.socket(fileno=os.dup(made.fileno()))
        with self._lock:
            before, self._guard = self._guard, mine
            if self.abandoned:
                _shut(mine)
        if before is not None:
            before.close()

    def abandon(self) -> None:
        """Shut the socket down, now or as soon as there is one."""
        with self._lock:
            self.abandoned = True
            if self._guard is not None:
                _shut(self._guard)

    def release(self) -> None:
        """Close the guard: the opening is over."""
        with self._lock:
            guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()


class Connector:
    """Opens connections, each in a thread of its own; a thread that has finished takes the next one."""

    def __init__(self, loop: event_loop.LoopShare, *, start: Start) -> None:
        """Report to `loop`; `start` starts a thread when it is first needed."""
        self._loop = loop
        self._start = start
        self._jobs: queue.SimpleQueue[ConnectionAttempt | None] = queue.SimpleQueue()
        self._openings: set[ConnectionAttempt] = set()  # of the loop's thread, like the count of threads
        self._threads = 0

    def open(
        self,
        make: Callable[[ConnectionAttempt], idle_socket.Stream],
        *,
        deadline: float,
        done: Callable[[ConnectionAttempt, Outcome], None],
    ) -> ConnectionAttempt:
        """Call `make` in a thread, then `done` in the loop's thread with the connection or the error.

        Raises:
            OSError: too many threads are stuck, which would otherwise become ever more.
            RuntimeError: no further thread can be started.
        """
        if len(self._openings) >= _MOST_STUCK and self._stuck(time.monotonic()) >= _MOST_STUCK:
            raise OSError(f"{_MOST_STUCK} earlier attempts to connect hang in the operating system")
        opening = ConnectionAttempt(deadline, make, done)
        if len(self._openings) >= self._threads:
            self._start("connector", self._work)
            self._threads += 1
        self._openings.add(opening)
        self._jobs.put(opening)
        return opening

    def is_stuck(self, now: float) -> bool:
        """Return True if a thread is stuck long after the deadline of its opening."""
        return self._stuck(now) > 0

    def close(self) -> None:
        """Abandon the openings and end the threads."""
        for opening in self._openings:
            opening.abandon()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _stuck(self, now: float) -> int:
        return sum(opening.deadline + _GRACE_S <= now for opening in self._openings)

    def _work(self) -> None:
        while (opening := self._jobs.get()) is not None:
            outcome: Outcome = TimeoutError("no time was left to connect")
            try:
                if not opening.abandoned and time.monotonic() < opening.deadline:
                    outcome = opening.make(opening)
            except Exception as error:  # noqa: BLE001  the endpoint's, reported by the loop
                outcome = error
            finally:
                opening.release()
            self._report(opening, outcome)

    def _report(self, opening: ConnectionAttempt, outcome: Outcome) -> None:
        def report() -> None:
            self._openings.discard(opening)
            opening.done(opening, outcome)

        if not self._loop.post(report) and not isinstance(outcome, Exception):
            outcome.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
