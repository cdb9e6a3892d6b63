"""The flag that asks a process to stop. It wakes loops that wait for something else than the flag."""

import threading
from collections.abc import Callable


class StopFlag(threading.Event):
    """An event that also calls back when it is set, so that no loop has to look at it every few moments."""

    def __init__(self) -> None:
        """Create the flag, not set."""
        super().__init__()
        self._wakes: list[Callable[[], None]] = []
        self._wakes_lock = threading.Lock()

    def wakes(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the flag is set, in the thread that sets it; at once if it is set already."""
        with self._wakes_lock:
            self._wakes.append(wake)
            is_set = self.is_set()
        if is_set:
            wake()

    def set(self) -> None:
        """Set the flag, and wake the loops."""
        super().set()
        with self._wakes_lock:
            wakes = list(self._wakes)
        for wake in wakes:
            wake()
