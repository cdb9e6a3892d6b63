"""The threads that send, and the queue before them: as many as help, up to the configured width.

Python runs one thread at a time, so on an endpoint that answers within a fraction of a millisecond more threads only
cost; on one that takes its time they are everything. So the crew has as many threads at work as it takes to keep the
interpreter busy while the others wait: the time that a request takes, over the processor time that it takes. While
that is unknown all of them are at work, and twice as many whenever nothing comes back. The longest idle thread is
woken last.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from beacon.notifier import claim_session

# A share below 1, because time spent waiting for the interpreter looks like time spent waiting for the endpoint: too
# many threads would justify themselves.
_SHARE = 0.6
_LEAST_CPU_S = 0.00005
_WEIGHT = 1 / 8  # of the newest answer in the mean

PATIENCE_S = 0.002  # work that waits this long while no answer comes calls more of the crew


class WorkerPool:
    """A queue of jobs and the threads that perform them."""

    def __init__(
        self,
        width: int,
        perform: Callable[[claim_session.LeasedDelivery], None],
        *,
        start: Callable[[str, Callable[[], None]], object],
        on_low: Callable[[], None],
        low: int,
    ) -> None:
        """Perform up to `width` jobs at a time; `start` starts a thread, the first time that it is needed.

        `on_low` is called when only `low` jobs are left in the queue.
        """
        self._width = width
        self._perform = perform
        self._start = start
        self._on_low = on_low
        self._low = low
        self._lock = threading.Lock()
        self._queue: deque[claim_session.LeasedDelivery] = deque()
        self._idle: list[threading.Lock] = []  # each is held; releasing it wakes its thread
        self._threads = 0
        self._busy = 0
        self._halted = False
        self._mean_s: float | None = None  # of a request
        self._cpu_s = 0.0  # of it, processor time
        self._done = 0
        self._done_before = -1
        self._looked_at = 0.0

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """How many threads are at work."""
        return self._busy

    @property
    def waiting(self) -> bool:
        """Tell whether jobs wait that another thread could perform; then `hurry` is to be called now and then."""
        return bool(self._queue) and self._busy < self._width and not self._halted

    def offer(self, jobs: Iterable[claim_session.LeasedDelivery]) -> None:
        """Put jobs into the queue."""
        with self._lock:
            if not self._queue:
                self._done_before, self._looked_at = -1, time.monotonic()
            self._queue.extend(jobs)
            woken = self._call(self._wanted())
        self._start_all(woken)

    def hurry(self) -> None:
        """Call twice as many when work has waited for `PATIENCE_S` without any answer."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at < PATIENCE_S:
                return
            stuck = bool(self._queue) and self._done == self._done_before
            self._done_before, self._looked_at = self._done, now
            woken = self._call(max(2 * self._busy if stuck else 0, self._wanted()))
        self._start_all(woken)

    def halt(self, *, halted: bool) -> None:
        """Begin no job for now, or go on."""
        if halted == self._halted:
            return
        with self._lock:
            self._halted = halted
            woken = self._call(self._wanted())
        self._start_all(woken)

    def withdraw(self) -> list[claim_session.LeasedDelivery]:
        """Take back what waits."""
        with self._lock:
            jobs = list(self._queue)
            self._queue.clear()
        return jobs

    def _wanted(self) -> int:
        if self._mean_s is None:
            return self._width
        return max(1, min(self._width, math.ceil(_SHARE * self._mean_s / max(self._cpu_s, _LEAST_CPU_S))))

    def _call(self, wanted: int) -> int:
        """Wake threads until `wanted` are at work or no job is left; gives how many are still to be started."""
        if self._halted:
            return 0
        missing = min(wanted - self._busy, len(self._queue), self._width - self._busy)
        for _ in range(missing):
            if not self._idle:
                break
            self._busy += 1
            missing -= 1
            self._idle.pop().release()
        fresh = max(0, min(missing, self._width - self._threads))
        self._threads += fresh
        self._busy += fresh
        return fresh

    def _start_all(self, count: int) -> None:
        for _ in range(count):
            self._start("sender", self._work)

    def _work(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        called = True
        while True:
            job = self._next(bell, called=called)
            called = job is None
            if job is None:
                bell.acquire()
                continue
            began, began_cpu = time.monotonic(), time.thread_time()
            self._perform(job)
            self._note(time.monotonic() - began, time.thread_time() - began_cpu)

    def _next(self, bell: threading.Lock, *, called: bool) -> claim_session.LeasedDelivery | None:
        """Take a job, or become idle: when there is none, or when others suffice and nobody has just called."""
        with self._lock:
            if not self._queue or self._halted or (not called and self._busy > self._wanted()):
                self._busy -= 1
                self._idle.append(bell)
                return None
            job = self._queue.popleft()
            low = len(self._queue) == self._low
        if low:
            self._on_low()
        return job

    def _note(self, seconds: float, cpu_s: float) -> None:
        with self._lock:
            self._done += 1
            if self._mean_s is None:
                self._mean_s, self._cpu_s = seconds, cpu_s
            else:
                self._mean_s += (seconds - self._mean_s) * _WEIGHT
                self._cpu_s += (cpu_s - self._cpu_s) * _WEIGHT
