"""What went wrong, named by what the caller must do about it.

Doors translate foreign exceptions into these with `raise ... from`. Nothing here may know a library, a socket or a
file: an error is a sentence for a person plus what a program needs to go on.
"""

from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h: a part that is needed does not answer
EXIT_SOFTWARE = 70  # EX_SOFTWARE: an unexpected error ended the process; supervisord restarts it
EXIT_CANNOT_CREATE = 73  # EX_CANTCREAT: the volume or a directory can't be used
EXIT_TEMPORARY = 75  # EX_TEMPFAIL: try again, e.g. a port or a lock is held by somebody else
EXIT_CONFIG = 78  # EX_CONFIG: only a person who changes the configuration can help


class BeaconError(Exception):
    """Any error that Beacon raises on purpose."""


class ConfigError(BeaconError):
    """The configuration is wrong; a person must change it. Ends the process with `EXIT_CONFIG`."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep every problem, one line each."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class TransientError(BeaconError):
    """Trying again may help, after `delay_s` seconds when the other side asked for that."""

    def __init__(self, message: str, *, delay_s: float | None = None) -> None:
        """Say what happened and how long the other side wants to be left alone."""
        super().__init__(message)
        self.delay_s = delay_s


class PermanentError(BeaconError):
    """Trying the same again can't help."""


class ForeignClusterError(PermanentError):
    """The ledger is of another cluster than the one that the API server belongs to: only an operator can decide."""


class Stopping(BeaconError):
    """The process has been asked to stop while something was being waited for."""


class StartError(BeaconError):
    """This process can't start here; `exit_code` tells supervisord and the operator why."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Say in one sentence what keeps the process from starting."""
        super().__init__(message)
        self.exit_code = exit_code
