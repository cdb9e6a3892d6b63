"""The commands' connection to the store: bounded waits, and one line on standard error when it fails."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from beacon import bus, errors, wire
from beacon.cli import terminal
from beacon.runtime import run_directory

_TIMEOUT_S = 10.0


@contextmanager
def store() -> Iterator[bus.Client]:
    """Yield a client of the store; exit with 69 if the store does not answer, and with 1 if it refuses."""
    try:
        with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
            yield client
    except errors.StartError as error:
        fail(error, error.exit_code)
    except errors.TransientError as error:
        fail(error, errors.EXIT_UNAVAILABLE)
    except errors.BeaconError as error:
        fail(error, errors.EXIT_FAILURE)


def fail(error: errors.BeaconError, code: int) -> NoReturn:
    """Print an error to standard error and exit."""
    terminal.print_line(str(error), err=True)
    sys.exit(code)


def copy(client: bus.Client, target: Path) -> None:
    """Copy the store's ledger to a new file; the file is removed if the copy fails."""
    complete = False
    try:
        while not complete:
            complete = client.try_call(wire.Backup(target=str(target)), timeout_s=_TIMEOUT_S).left == 0
        with target.open("rb") as file:
            os.fsync(file.fileno())
    finally:
        if not complete:
            target.unlink(missing_ok=True)


def verify(path: Path) -> tuple[int, list[str]]:
    """Check a ledger that no store serves; return the exit code and the problems. Print why it cannot be checked."""
    # Only the store's code may open a ledger, and a process never imports another: the check runs in its own process.
    command = [sys.executable, "-m", "beacon.store.verification", str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603  no shell; the operator chose the path
    return done.returncode, done.stdout.splitlines()
