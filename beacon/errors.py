"""The exceptions of Beacon and the exit codes of its processes. A class name states what the caller must do.

Code that calls a library translates its exceptions into these with `raise ... from`. This module must not know a
library, a socket or a file. An error consists of a message for a person and the data that a program needs.
"""

from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h: a required process does not respond
EXIT_SOFTWARE = 70  # EX_SOFTWARE: an unexpected error ended the process; supervisord restarts it
EXIT_CANNOT_CREATE = 73  # EX_CANTCREAT: the volume or a directory is not usable
EXIT_TEMPORARY = 75  # EX_TEMPFAIL: try again later, e.g. another process holds a port or a lock
EXIT_CONFIG = 78  # EX_CONFIG: the configuration must be changed
EXIT_INTERRUPTED = 130  # 128 + SIGINT: an operator interrupted a command with Ctrl-C


class BeaconError(Exception):
    """Base class of all errors that Beacon raises on purpose."""


class ConfigError(BeaconError):
    """The configuration is invalid and must be changed. The process exits with `EXIT_CONFIG`."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Store the problems, one line each."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class TransientError(BeaconError):
    """A retry may succeed, after `delay_s` seconds if the other side requested a delay."""

    def __init__(self, message: str, *, delay_s: float | None = None) -> None:
        """Store the message and the requested delay."""
        super().__init__(message)
        self.delay_s = delay_s


class PermanentError(BeaconError):
    """A retry of the same operation can't succeed."""


class ForeignClusterError(PermanentError):
    """The ledger belongs to a different cluster than the API server. An operator must decide."""


class Stopping(BeaconError):
    """The process was asked to stop during a wait."""


class StartError(BeaconError):
    """This process can't start; `exit_code` reports the reason to supervisord and the operator."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Store the reason, one sentence, and the exit code."""
        super().__init__(message)
        self.exit_code = exit_code
