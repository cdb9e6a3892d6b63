"""A Beacon that has nothing to do sleeps: each wake-up costs more than the work in it."""

import contextlib
import time

import psutil

from beacon.dev import testkit
from tests.system import running

MOST_A_SECOND = 26.0  # of all threads of all processes; about 22 were measured, and 44 before loops slept longer
WINDOW_S = 5.0  # what happens every 5 s is in each window once


def wake_ups(beacon: testkit.Beacon) -> dict[int, int]:
    """Return how often each thread of Beacon has given up the processor by itself."""
    found = {}
    for pid in beacon.pids().values():
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in psutil.Process(pid).threads():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[thread.id] = psutil.Process(thread.id).num_ctx_switches().voluntary
    return found


class Windows:
    """Counts the wake-ups in one window after another."""

    def __init__(self, beacon: testkit.Beacon) -> None:
        self._beacon = beacon
        self._began, self._before = time.monotonic(), wake_ups(beacon)
        self.rates: list[float] = []

    def is_quiet(self) -> bool:
        """Return True at the end of a window with few wake-ups; only threads that exist for the whole window count."""
        lasted_s = time.monotonic() - self._began
        if lasted_s < WINDOW_S:
            return False
        after = wake_ups(self._beacon)
        self.rates.append(
            sum(after[thread] - count for thread, count in self._before.items() if thread in after) / lasted_s
        )
        self._began, self._before = time.monotonic(), after
        return self.rates[-1] <= MOST_A_SECOND


def test_an_idle_beacon_wakes_up_seldom_and_yet_stops_in_order() -> None:
    with running.everything() as whole:
        windows = Windows(whole.beacon)

        testkit.until(windows.is_quiet, f"fewer wake-ups a second than {windows.rates}", timeout=60)
        whole.beacon.stop()

        ended = {line["process"]: line["code"] for line in whole.beacon.logged("ended")}
        assert ended == dict.fromkeys(("store", "watcher", "reconciler", "notifier", "exporter", "sentinel"), 0)
