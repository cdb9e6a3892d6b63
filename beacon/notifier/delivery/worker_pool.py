"""Adaptive worker pool: a queue, and threads that grow up to the configured width while more raise throughput.

Python runs one thread at a time, so more threads slow Beacon down if the endpoint answers within a fraction of a
millisecond; for a slow endpoint they are essential. So the pool runs as many threads as keep the interpreter busy
while the others wait: the duration of a request divided by its processor time. Until that is known, all threads run;
whenever no answer arrives, the pool doubles the number. The thread that has been idle the longest is woken last.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from beacon.notifier.delivery import claim_session

# Below 1, because waiting for the interpreter is measured like waiting for the endpoint, so too many threads would
# justify even more.
_SHARE = 0.6
_LEAST_CPU_S = 0.00005
_WEIGHT = 1 / 8  # of the latest request in the moving average

PATIENCE_S = 0.002  # jobs that wait this long without any answer make the pool grow


class WorkerPool:
    """A queue of jobs and the threads that run them."""

    def __init__(
        self,
        width: int,
        perform: Callable[[claim_session.LeasedDelivery], None],
        *,
        start: Callable[[str, Callable[[], None]], object],
        on_low_water: Callable[[], None],
        low_water: int,
    ) -> None:
        """Run up to `width` jobs concurrently; `start` starts a thread when it is first needed.

        `on_low_water` is called when the queue has shrunk to `low_water` jobs.
        """
        self._width = width
        self._perform = perform
        self._start = start
        self._on_low_water = on_low_water
        self._low_water = low_water
        self._lock = threading.Lock()
        self._queue: deque[claim_session.LeasedDelivery] = deque()
        self._idle: list[threading.Lock] = []  # all are locked; releasing one wakes its thread
        self._threads = 0
        self._busy = 0
        self._paused = False
        self._mean_s: float | None = None  # mean duration of a request
        self._cpu_s = 0.0  # mean processor time of a request
        self._done = 0
        self._done_before = -1
        self._checked_at = 0.0

    @property
    def queued(self) -> int:
        """Return the number of queued jobs."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Return the number of threads that run a job."""
        return self._busy

    @property
    def waiting(self) -> bool:
        """Return True if queued jobs could use another thread; the caller then calls `scale_up` regularly."""
        return bool(self._queue) and self._busy < self._width and not self._paused

    def submit(self, jobs: Iterable[claim_session.LeasedDelivery]) -> None:
        """Queue jobs."""
        with self._lock:
            if not self._queue:
                self._done_before, self._checked_at = -1, time.monotonic()
            self._queue.extend(jobs)
            to_start = self._wake_threads(self._wanted_threads())
        self._start_all(to_start)

    def scale_up(self) -> None:
        """Double the running threads if jobs have waited for `PATIENCE_S` without any answer."""
        now = time.monotonic()
        with self._lock:
            if now - self._checked_at < PATIENCE_S:
                return
            stuck = bool(self._queue) and self._done == self._done_before
            self._done_before, self._checked_at = self._done, now
            to_start = self._wake_threads(max(2 * self._busy if stuck else 0, self._wanted_threads()))
        self._start_all(to_start)

    def pause(self, *, paused: bool) -> None:
        """Stop starting jobs, or resume."""
        if paused == self._paused:
            return
        with self._lock:
            self._paused = paused
            to_start = self._wake_threads(self._wanted_threads())
        self._start_all(to_start)

    def withdraw(self) -> list[claim_session.LeasedDelivery]:
        """Remove and return the queued jobs."""
        with self._lock:
            jobs = list(self._queue)
            self._queue.clear()
        return jobs

    def _wanted_threads(self) -> int:
        if self._mean_s is None:
            return self._width
        return max(1, min(self._width, math.ceil(_SHARE * self._mean_s / max(self._cpu_s, _LEAST_CPU_S))))

    def _wake_threads(self, wanted: int) -> int:
        """Wake threads until `wanted` run or no job is left. Return how many the caller must start."""
        if self._paused:
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
        wakeup = threading.Lock()
        wakeup.acquire()
        woken = True
        while True:
            job = self._next(wakeup, woken=woken)
            woken = job is None
            if job is None:
                wakeup.acquire()
                continue
            began, began_cpu = time.monotonic(), time.thread_time()
            self._perform(job)
            self._measure(time.monotonic() - began, time.thread_time() - began_cpu)

    def _next(self, wakeup: threading.Lock, *, woken: bool) -> claim_session.LeasedDelivery | None:
        """Take a job, or become idle if there is none, or if this thread was not just woken and the others suffice."""
        with self._lock:
            if not self._queue or self._paused or (not woken and self._busy > self._wanted_threads()):
                self._busy -= 1
                self._idle.append(wakeup)
                return None
            job = self._queue.popleft()
            at_low_water = len(self._queue) == self._low_water
        if at_low_water:
            self._on_low_water()
        return job

    def _measure(self, seconds: float, cpu_s: float) -> None:
        with self._lock:
            self._done += 1
            if self._mean_s is None:
                self._mean_s, self._cpu_s = seconds, cpu_s
            else:
                self._mean_s += (seconds - self._mean_s) * _WEIGHT
                self._cpu_s += (cpu_s - self._cpu_s) * _WEIGHT
