"""Starts child processes that can't outlive their parent.

A child gets its own session, so a Ctrl-C in the terminal reaches only the parent, which knows the order of shutdown.
The kernel sends the child SIGTERM when the thread that started it ends (PR_SET_PDEATHSIG). Run as a script, this module
is the step in between: it registers that signal, then executes the program. It must import the standard library only,
because it runs without site-packages.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str], *, environ: Mapping[str, str] | None = None, directory: os.PathLike[str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program in `directory`, or in the caller's working directory.

    The caller must read its standard output and standard error, merged, from `stdout` of the returned process.
    """
    between = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 - our own programs
        [*between, *command],
        env=None if environ is None else dict(environ),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def become(parent: int, command: Sequence[str]) -> None:
    """Replace this process with the program. It receives SIGTERM when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"{command[0]} was not started: its parent process has ended")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(command[0], list(command))  # noqa: S606 - our own programs


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
