"""Duration and size of a scrape under load."""

import threading
import time
from collections.abc import Callable

from beacon.dev import testkit

_PAUSE_S = 0.1


def measure(beacon: testkit.Beacon, load: Callable[[], None]) -> tuple[list[float], int]:
    """Scrape while `load` runs; return the sorted durations in ms, and the number of lines of the longest scrape."""
    going_on = threading.Thread(target=load)
    going_on.start()
    took, lines = [], 0
    while going_on.is_alive():
        began = time.perf_counter()
        text = beacon.metrics()
        took.append((time.perf_counter() - began) * 1000)
        lines = max(lines, text.count("\n"))
        time.sleep(_PAUSE_S)
    going_on.join()
    return sorted(took), lines
