"""Two minutes of `make soak`, with the same faults each time."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(1100)
def test_two_minutes_of_faults_cause_no_missing_wrong_or_misordered_event() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", "2", "--seed", "11"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
