"""The lock files: one process at a time uses a data directory, and one a run directory.

The lock on the data directory is taken first, because a second bind on the socket's path would steal the socket of
the first process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon import errors


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold the lock of a directory; the kernel releases it when the process ends for any reason.

    Raises:
        errors.StartError: another process holds it, or the directory is not usable.
    """
    path = directory / "beacon.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"{what} {directory} is not usable: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        message = f"another Beacon uses {what} {directory}"
        raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY) from error
    try:
        yield
    finally:
        os.close(lock)
