"""A Beacon that has nothing to do sleeps: each wake-up costs more than the work in it."""

import contextlib
import time

import psutil

from beacon.dev import testkit
from tests.system import running

MOST_A_SECOND = 32.0  # of all threads of all processes; about 20 were measured
WINDOW_S = 3.0


def wake_ups(beacon: testkit.Beacon) -> dict[int, int]:
    """Return how often each thread of Beacon has given up the processor by itself."""
    found = {}
    for pid in beacon.pids().values():
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in psutil.Process(pid).threads():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[thread.id] = psutil.Process(thread.id).num_ctx_switches().voluntary
    return found


def a_second(beacon: testkit.Beacon) -> float:
    """Count the wake-ups of the threads that exist for the whole window."""
    before, began = wake_ups(beacon), time.monotonic()
    time.sleep(WINDOW_S)
    after, lasted_s = wake_ups(beacon), time.monotonic() - began
    return sum(count - before[thread] for thread, count in after.items() if thread in before) / lasted_s


def test_an_idle_beacon_wakes_up_seldom_and_yet_stops_quickly() -> None:
    with running.everything() as whole:
        rates: list[float] = []

        def is_quiet() -> bool:
            rates.append(a_second(whole.beacon))
            return rates[-1] <= MOST_A_SECOND

        testkit.until(is_quiet, f"a window with at most {MOST_A_SECOND:g} wake-ups a second: {rates}", timeout=60)
        whole.beacon.stop()

        ended = {line["process"]: line["code"] for line in whole.beacon.logged("ended")}
        assert ended == dict.fromkeys(("store", "watcher", "reconciler", "notifier", "exporter", "sentinel"), 0)
