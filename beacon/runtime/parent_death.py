"""Binds a process to the life of supervisord, so that a kill -9 of it leaves nobody behind. Standard library only.

Every process does this before all else, the sentinel too, which is why it does not stand in `process.py`.
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
    """Let the kernel kill this process when its parent dies, and end it when that has happened already.

    Raises:
        errors.StartError: supervisord died while this process was starting.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise errors.StartError(f"can't be bound to the parent's life: {reason}", exit_code=errors.EXIT_SOFTWARE)
    if os.getppid() != parent or _orphaned(environ, parent):
        raise errors.StartError("supervisord has died", exit_code=errors.EXIT_UNAVAILABLE)


def _orphaned(environ: Mapping[str, str], parent: int) -> bool:
    """Say whether the supervisord that started this process is no longer its parent.

    The parent may have died before this process could look; then supervisord's pid file names another than the parent.
    """
    if "SUPERVISOR_ENABLED" not in environ:
        return False
    try:
        written = files.read_text(Path(environ.get(run_directory.VARIABLE, ""), "supervisord.pid"), most_bytes=64)
    except (OSError, UnicodeDecodeError):
        return False  # another supervisord.conf than ours, which writes it elsewhere
    return written.strip() != str(parent)
