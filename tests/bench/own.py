"""Performance of the machine and the harness: processor, disk, and the sink, which must not be the bottleneck."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO

from tests.bench import rows, terms
from tests.bench import sink as sinks

_GAP_S = 0.02
_ADDITIONS = 10_000_000


def loop(wanted: terms.Terms) -> rows.Figures:
    """Measure 10 M additions in one thread of this interpreter."""
    count = wanted.many(_ADDITIONS)
    began = time.perf_counter()
    total = 0
    for number in range(count):
        total += number
    return {"loop of 10 M additions, s": time.perf_counter() - began}


def disk(_wanted: terms.Terms) -> rows.Figures:
    """Measure an fsync after appending 4 KiB."""
    with tempfile.NamedTemporaryFile() as file:
        return {"fsync of 4 KiB, us": statistics.median(_fsync_s(file) for _ in range(200)) * 1e6}


@contextlib.contextmanager
def disk_beside() -> Iterator[list[float]]:
    """Run an fsync 50 times a second in the background; yield the list of their durations in ms.

    A shared disk stalls from time to time, and every commit with it.
    """
    took: list[float] = []
    done = threading.Event()

    def work() -> None:
        with tempfile.NamedTemporaryFile() as file:
            while not done.wait(_GAP_S):
                took.append(_fsync_s(file) * 1000)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield took
    finally:
        done.set()
        worker.join()


def sink(wanted: terms.Terms) -> rows.Figures:
    """Measure the requests per second that the sink accepts from a minimal client."""
    with sinks.running() as taking:
        count = wanted.many(40_000) // 8 * 8
        command = [sys.executable, "-m", "tests.bench.hammer", str(taking.port), str(count)]
        took_s = float(subprocess.run(command, check=True, capture_output=True).stdout)
        taking.wait_for(count, timeout=10)
    return {"sink, requests/s that it takes": count / took_s}


def _fsync_s(file: IO[bytes]) -> float:
    began = time.perf_counter()
    file.write(bytes(4096))
    file.flush()
    os.fsync(file.fileno())
    return time.perf_counter() - began
