"""The commands' connection to the store: bounded waits, and one line on standard error when it fails."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from beacon import bus, errors, wire
from beacon.cli import progress, terminal
from beacon.configuration import settings
from beacon.runtime import run_directory

_TIMEOUT_S = 10.0
_POLL_S = 0.1
_POLL_TIMEOUT_S = 1.0
_WHOLE = 1000  # the check reports thousandths


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


def copy(client: bus.Client, target: Path, *, name: str = "") -> None:
    """Copy the store's ledger to a new file, called `name` in messages; the file is removed if the copy fails.

    Raises:
        errors.StartError: the file could not be created.
        errors.PermanentError: the copy failed.
    """
    complete = False
    try:
        with progress.progress("copying the ledger") as show:
            while not complete:
                reply = client.try_call(wire.Backup(target=str(target)), timeout_s=_TIMEOUT_S)
                show(reply.pages - reply.left, reply.pages)
                complete = reply.left == 0
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except errors.PermanentError as error:
        message = str(error).replace(str(target), name or str(target))
        if os.path.lexists(target):
            raise errors.PermanentError(message) from error
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    finally:
        if not complete and os.path.lexists(target):
            target.unlink(missing_ok=True)


def wait_until_serving(run_dir: Path, timeout_s: float, *, digest: str = "") -> str:
    """Wait until the store serves requests, under the configuration of this digest; return "" or what it does instead.

    Raises:
        errors.BeaconError: the run directory is not usable.
    """
    until, state = time.monotonic() + timeout_s, "it does not answer"
    while time.monotonic() < until:
        try:
            with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
                state = client.try_call(wire.Ping(), timeout_s=_POLL_TIMEOUT_S).state
                served = client.try_call(wire.Hello(process="cli"), timeout_s=_POLL_TIMEOUT_S).settings
        except errors.TransientError as error:
            state = str(error)
        else:
            if state == "ready" and digest in ("", settings.digest(settings.from_plain(served))):
                return ""
            state = "it has another configuration" if state == "ready" else state
        time.sleep(_POLL_S)
    return state


def verify(path: Path) -> tuple[int, list[str]]:
    """Check a ledger that no store serves; return the exit code and the problems. Print why it cannot be checked."""
    # Only the store's code may open a ledger, and a process never imports another: the check runs in its own process.
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "beacon.store.recovery.verification", str(path), str(writer)]
    with (
        os.fdopen(reader, encoding="ascii") as shares,
        tempfile.TemporaryFile("w+", encoding="utf-8") as problems,  # a pipe could fill up
        progress.progress("checking the ledger") as show,
    ):
        try:
            check = subprocess.Popen(command, pass_fds=[writer], stdout=problems)  # noqa: S603  no shell; the operator chose the path
        finally:
            os.close(writer)
        with check:
            for share in shares:
                show(int(share), _WHOLE)
        problems.seek(0)
        return check.returncode, problems.read().splitlines()
