"""The notifier's loop: one thread that waits for sockets and timers, and calls whatever they concern.

Other threads may only call `post`, which wakes the loop. A callback that raises ends the loop, unless it was added
through a `LoopShare`. This module knows nothing about HTTP.
"""

import heapq
import itertools
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

Ready = Callable[[], None]


class Timer:
    """A callback at an instant; `cancel` drops it."""

    __slots__ = ("act", "at")

    def __init__(self, at: float, act: Ready) -> None:
        self.at = at
        self.act: Ready | None = act

    def cancel(self) -> None:
        """Never call back; no effect afterwards."""
        self.act = None


class EventLoop:
    """A selector, timers, and callbacks from other threads. All other methods belong to the loop's thread."""

    def __init__(self) -> None:
        """Create a loop that watches nothing."""
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._posted: deque[Ready] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeup, READ, self._woken)

    def close(self) -> None:
        """Free the descriptors; what was posted and not called is dropped."""
        with self._lock:
            self._closed = True
        self._selector.close()
        os.close(self._wakeup)

    def watch(self, descriptor: int, events: int, act: Ready) -> None:
        """Call `act` whenever a descriptor is ready."""
        self._selector.register(descriptor, events, act)

    def change(self, descriptor: int, events: int, act: Ready) -> None:
        """Change for what a descriptor is watched."""
        self._selector.modify(descriptor, events, act)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching a descriptor; call this before closing it."""
        self._selector.unregister(descriptor)

    def call_at(self, at: float, act: Ready) -> Timer:
        """Call `act` at an instant (monotonic)."""
        timer = Timer(at, act)
        heapq.heappush(self._timers, (at, next(self._numbers), timer))
        return timer

    def post(self, act: Ready) -> bool:
        """Call `act` soon in the loop's thread. Return False if the loop is closed. For any thread."""
        with self._lock:  # a closed descriptor may already belong to another file
            if self._closed:
                return False
            self._posted.append(act)
            os.eventfd_write(self._wakeup, 1)
        return True

    def soon(self, act: Ready) -> None:
        """Call `act` in this or the next round. For the loop's thread, which needs no wake-up for it."""
        self._posted.append(act)

    def run_once(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for a descriptor or a timer, and call back what is due."""
        if self._posted:
            timeout_s = 0.0
        elif self._timers:
            timeout_s = min(timeout_s, self._timers[0][0] - time.monotonic())
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            key.data()
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        self._run_timers()

    def _run_timers(self) -> None:
        timers = self._timers
        if not timers:
            return
        now = time.monotonic()
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            act, timer.act = timer.act, None
            if act is not None:
                act()

    def _woken(self) -> None:
        os.eventfd_read(self._wakeup)


class LoopShare:
    """The part of a loop that serves one endpoint: an error in its callbacks goes to `on_error`, not to the loop."""

    def __init__(self, loop: EventLoop, *, on_error: Callable[[Exception], None]) -> None:
        """Add callbacks to `loop`."""
        self._loop = loop
        self._on_error = on_error
        self.unwatch = loop.unwatch

    def watch(self, descriptor: int, events: int, act: Ready) -> None:
        """Call `act` whenever a descriptor is ready."""
        self._loop.watch(descriptor, events, self._guarded(act))

    def change(self, descriptor: int, events: int, act: Ready) -> None:
        """Change for what a descriptor is watched."""
        self._loop.change(descriptor, events, self._guarded(act))

    def call_at(self, at: float, act: Ready) -> Timer:
        """Call `act` at an instant (monotonic)."""
        return self._loop.call_at(at, self._guarded(act))

    def post(self, act: Ready) -> bool:
        """Call `act` soon in the loop's thread. Return False if the loop is closed. For any thread."""
        return self._loop.post(self._guarded(act))

    def soon(self, act: Ready) -> None:
        """Call `act` in this or the next round."""
        self._loop.soon(self._guarded(act))

    def _guarded(self, act: Ready) -> Ready:
        def call() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001  of one endpoint, passed to it
                self._on_error(error)

        return call
