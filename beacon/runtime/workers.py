"""A pool of threads for tasks that block: a few at a time, but a slow task does not hold up the others.

Tasks of many scopes go to an API server, and one that hangs must delay no other scope. So tasks that have run for
longer than `SLOW_S` do not count towards the number of threads, up to a limit that bounds memory.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from beacon.runtime import heartbeat, process

SLOW_S = 2.0  # a task that takes longer no longer counts
_IDLE_S = 10.0  # a thread without a task for this long ends
_STOP_S = 1.0  # how often an idle thread looks whether the process is asked to stop


class Workers:
    """Runs tasks in threads. An exception that a task raises ends the process."""

    def __init__(self, context: process.Context, name: str, *, quick: int, most: int) -> None:
        """Run at most `quick` tasks that are not slow, and `most` in all; `name` is the prefix of the threads."""
        self._context = context
        self._name = name
        self._quick = quick
        self._most = most
        self._lock = threading.Condition()
        self._tasks: deque[tuple[str, Callable[[], None]]] = deque()
        self._began: dict[int, float | None] = {}  # of each thread: when its task began, None while it has none
        self._local = threading.local()

    def run(self, name: str, task: Callable[[], None]) -> None:
        """Run a task as soon as a thread is free; return at once. Its heartbeat bears `name`, one task's at a time."""
        with self._lock:
            self._tasks.append((name, task))
            self._lock.notify()
        self.grow()

    def grow(self) -> None:
        """Start threads for the tasks that wait, as far as that is allowed; call this from time to time."""
        with self._lock:
            while len(self._tasks) > self._idle() and self._may_start():
                number = next(number for number in range(self._most) if number not in self._began)
                self._began[number] = None
                self._context.spawn(f"{self._name}-{number}", lambda number=number: self._work(number))  # type: ignore[misc]

    @property
    def waiting(self) -> bool:
        """Return True if a task waits for a thread."""
        return bool(self._tasks)

    def join(self, timeout_s: float) -> None:
        """Wait until the threads have ended after a request to stop; one that then hangs in a request is abandoned."""
        with self._lock:
            self._lock.notify_all()
            self._lock.wait_for(lambda: not self._began, timeout_s)

    def beat(self) -> None:
        """Write the heartbeat of the calling thread, if it is one of the pool's."""
        beat: heartbeat.Heartbeat | None = getattr(self._local, "heartbeat", None)
        if beat is not None:
            beat.beat()

    def _idle(self) -> int:
        return sum(began is None for began in self._began.values())

    def _may_start(self) -> bool:
        slow_before = time.monotonic() - SLOW_S
        quick = sum(began is None or began > slow_before for began in self._began.values())
        return quick < self._quick and len(self._began) < self._most

    def _work(self, number: int) -> None:
        try:
            while (work := self._next(number)) is not None:
                self._run_task(*work)
        finally:
            with self._lock:
                del self._began[number]
                self._lock.notify_all()

    def _run_task(self, name: str, task: Callable[[], None]) -> None:
        beat = self._local.heartbeat = self._context.heartbeat(name)
        try:
            task()
        finally:
            beat.close()

    def _next(self, number: int) -> tuple[str, Callable[[], None]] | None:
        """Wait for a task; return None if the thread is to end."""
        idle_until = time.monotonic() + _IDLE_S
        with self._lock:
            self._began[number] = None
            while not self._tasks:
                left_s = idle_until - time.monotonic()
                if self._context.stop.is_set() or left_s <= 0:
                    self._began[number] = time.monotonic()  # no longer free for a task
                    return None
                self._lock.wait(min(left_s, _STOP_S))
            self._began[number] = time.monotonic()
            return self._tasks.popleft()
