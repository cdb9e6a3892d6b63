"""The shell completes commands, options and their values."""

import os
import subprocess
import sys

import pytest

from beacon import errors


def complete(words: str) -> list[str]:
    """Give what the shell is offered for the last of the words."""
    environ = {"_BEACON_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "beacon.cli"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (errors.EXIT_OK, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("beacon ex", ["explain"]),
        ("beacon explain --li", ["--limit"]),
        ("beacon explain -o y", ["yaml"]),
    ],
)
def test_commands_options_and_values_complete(words: str, offered: list[str]) -> None:
    assert complete(words) == offered
