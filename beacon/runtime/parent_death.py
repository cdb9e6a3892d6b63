"""Terminates a process when supervisord dies, so that a kill -9 of it leaves no process behind. Standard library only.

Every process calls this first. It is not part of `process.py`, because the sentinel must not import that.
"""

import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from beacon import errors
from beacon.boundary import files
from beacon.runtime import run_directory

_PR_SET_PDEATHSIG = 1


def die_with_parent(environ: Mapping[str, str]) -> None:
    """Make the kernel kill this process when its parent dies.

    Raises:
        errors.StartError: supervisord died while this process was starting.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise errors.StartError(f"prctl(PR_SET_PDEATHSIG) failed: {reason}", exit_code=errors.EXIT_SOFTWARE)
    if os.getppid() != parent or _orphaned(environ, parent):
        raise errors.StartError("supervisord has died", exit_code=errors.EXIT_UNAVAILABLE)


def _orphaned(environ: Mapping[str, str], parent: int) -> bool:
    """Return True if the supervisord that started this process is no longer its parent.

    It may have died before this process checked; then supervisord's pid file contains another pid than the parent's.
    """
    if "SUPERVISOR_ENABLED" not in environ:
        return False
    try:
        written = files.read_text(Path(environ.get(run_directory.VARIABLE, ""), "supervisord.pid"), most_bytes=64)
    except (OSError, UnicodeDecodeError):
        return False  # a foreign supervisord.conf, with another path of the pid file
    return written.strip() != str(parent)
