"""What the harness and the machine are worth: the disk, and the sink that must not be the bottleneck."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from tests.bench import rows, terms
from tests.bench import sink as sinks


def disk(_wanted: terms.Terms) -> rows.Figures:
    """What one fsync of 4 KiB appended costs on this disk."""
    with tempfile.NamedTemporaryFile() as file:
        times = []
        for _ in range(200):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    return {"fsync of 4 KiB, us": statistics.median(times)}


def sink(wanted: terms.Terms) -> rows.Figures:
    """How many requests the sink takes from a client that does nothing else."""
    with sinks.running() as taking:
        count = wanted.many(40_000) // 8 * 8
        command = [sys.executable, "-m", "tests.bench.hammer", str(taking.port), str(count)]
        took_s = float(subprocess.run(command, check=True, capture_output=True).stdout)
        taking.wait_for(count, timeout=10)
    return {"sink, requests/s that it takes": count / took_s}
