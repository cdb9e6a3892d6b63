"""Starts programs that can't outlive whoever starts them.

What is started gets a session of its own, so that a Ctrl-C in the terminal reaches only the one who knows the order in
which things end, and SIGTERM from the kernel when the thread that started it dies. Run as a script it is the step in
between: it asks the kernel for that and becomes the program. Standard library only, for it runs without any other.
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
    """Start a program, in a working directory of its own if one is given.

    Its output, of both kinds, is to be read from the returned process' `stdout`.
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
    """Turn this process into the program, bound to the life of the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"{command[0]} is not started: the one who wanted it has ended")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(command[0], list(command))  # noqa: S606 - our own programs


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
