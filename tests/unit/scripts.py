"""Runs a few lines in a process of their own: what they set up for a whole process would stay for the other tests."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from typing import Any


def run(code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        timeout=60,
        check=False,
    )


def lines(code: str, *arguments: str) -> list[dict[str, Any]]:
    """Run a script and parse what it logged; it must end well and say nothing else."""
    done = run(code, *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]
