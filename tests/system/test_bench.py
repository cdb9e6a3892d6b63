"""`make bench` measures, in a miniature whose figures mean nothing."""

import json
import math
import subprocess
import sys
from pathlib import Path


def bench(*words: str) -> str:
    command = [sys.executable, "-m", "tests.bench", "--runs", "1", "--scale", "0.01", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rows_are_measured_shown_and_compared(tmp_path: Path) -> None:
    first = tmp_path / "first.json"

    bench("sink", "thousand", "backlog", "--json", str(first))
    shown = bench("sink", "--against", str(first), "--documented")

    found = json.loads(first.read_text())
    assert {
        "1000/s, p99, ms",
        "CPU s per 1000 at 1000/s, all",
        "CPU s per 1000 at 1000/s, supervisord",
        "backlog of 5000 at start, events/s",
    } <= set(found)
    assert all(len(figures) == 1 and math.isfinite(figures[0]) for figures in found.values())
    (line,) = [line for line in shown.splitlines() if line.startswith("sink, requests/s")]
    assert f"{found['sink, requests/s that it takes'][0]:.2f}" in line
