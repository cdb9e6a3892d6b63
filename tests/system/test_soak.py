"""Two minutes of `make soak`, with mishaps that are the same each time."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(400)
def test_two_minutes_of_mishaps_leave_nothing_missing_false_or_out_of_order() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", "2", "--seed", "11"],
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
