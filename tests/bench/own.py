"""What the harness and the machine are worth: processor, disk, and the sink that must not be the bottleneck."""

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
    """How long one thread of this interpreter takes for 10 M additions."""
    count = wanted.many(_ADDITIONS)
    began = time.perf_counter()
    total = 0
    for number in range(count):
        total += number
    return {"loop of 10 M additions, s": time.perf_counter() - began}


def disk(_wanted: terms.Terms) -> rows.Figures:
    """What one fsync of 4 KiB appended costs on this disk."""
    with tempfile.NamedTemporaryFile() as file:
        return {"fsync of 4 KiB, us": statistics.median(_fsync_s(file) for _ in range(200)) * 1e6}


@contextlib.contextmanager
def disk_beside() -> Iterator[list[float]]:
    """Have an fsync made 50 times a second; gives the list of how many milliseconds each took.

    A disk that others share stands still now and then, and with it whatever waits for its commits.
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
    """How many requests the sink takes from a client that does nothing else."""
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
