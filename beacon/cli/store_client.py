"""What the commands that talk to the store have in common: reaching it, giving up in time, ending in words."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon import bus, errors, wire
from beacon.cli import terminal
from beacon.runtime import run_directory

_PATIENCE_S = 10.0


@contextmanager
def store() -> Iterator[bus.Client]:
    """Give a client of the store, and end the command when the store is silent (69) or refuses (1)."""
    try:
        with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
            yield client
    except errors.StartError as error:
        _end(error, error.exit_code)
    except errors.TransientError as error:
        _end(error, errors.EXIT_UNAVAILABLE)
    except errors.BeaconError as error:
        _end(error, errors.EXIT_FAILURE)


def copy(client: bus.Client, target: Path) -> None:
    """Have the store copy its ledger to a file that is not there yet; removed again if that fails."""
    made = False
    try:
        while not made:
            made = client.try_call(wire.Backup(target=str(target)), timeout_s=_PATIENCE_S).left == 0
        with target.open("rb") as file:
            os.fsync(file.fileno())
    finally:
        if not made:
            target.unlink(missing_ok=True)


def verified(path: Path) -> int:
    """Check a ledger that nobody serves; what is wrong is printed. Gives the exit code."""
    # Only the store's code may open a ledger, and one process never imports another: so it runs as one of its own.
    command = [sys.executable, "-m", "beacon.store.verification", str(path)]
    return subprocess.run(command, check=False).returncode  # noqa: S603  no shell, and a path of the operator's


def _end(error: errors.BeaconError, code: int) -> None:
    terminal.say(str(error), err=True)
    sys.exit(code)
