"""Start the sentinel: `python -m beacon.sentinel`, an event listener of supervisord. Wiring only."""

import os
import signal
import sys
from collections.abc import Mapping

from beacon import errors
from beacon.runtime import parent_death, run_directory
from beacon.sentinel import decisions, protocol, stderr_log, supervisor_monitor


def main() -> int:
    """Monitor until asked to stop. Return the exit code."""
    sys.excepthook = stderr_log.write_exception
    try:
        parent_death.die_with_parent(os.environ)
        supervisor = run_directory.supervisor_of(os.environ, os.getppid())
        if not supervisor:
            raise errors.StartError("the sentinel is an event listener of supervisord", exit_code=errors.EXIT_CONFIG)
        listener = protocol.EventListener(source=0, sink=1, stop=_stop_on_signals())
        made = supervisor_monitor.SupervisorMonitor(
            run_directory.private(os.environ), supervisor, limits=limits(os.environ), environ=os.environ
        )
        stderr_log.write("info", "started", pid=os.getpid())
        made.run(listener)
    except errors.Stopping:
        code = errors.EXIT_OK
    except errors.BeaconError as error:
        code = error.exit_code if isinstance(error, errors.StartError) else errors.EXIT_FAILURE
        stderr_log.write("error", "failed", reason=str(error), code=code)
    stderr_log.write("info", "ended", code=code)
    return code


def limits(environ: Mapping[str, str]) -> decisions.Limits:
    """Return the limits. Tests override them by environment variables, which are not for production.

    Raises:
        errors.StartError: an override is not a number.
    """
    usual = decisions.Limits()
    try:
        hung_s = float(environ.get("BEACON_SENTINEL_HUNG_S", usual.hung_s))
        free_deaths = int(environ.get("BEACON_SENTINEL_FREE_DEATHS", usual.free_deaths))
    except ValueError as error:
        raise errors.StartError(
            f"BEACON_SENTINEL_HUNG_S or BEACON_SENTINEL_FREE_DEATHS is not a number: {error}",
            exit_code=errors.EXIT_CONFIG,
        ) from error
    return decisions.Limits(hung_s=hung_s, free_deaths=free_deaths)


def _stop_on_signals() -> int:
    """Return a file descriptor that becomes readable at SIGTERM or SIGINT."""
    readable, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(written)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return readable


if __name__ == "__main__":
    sys.exit(main())
