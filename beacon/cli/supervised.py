"""Stops and starts the store through supervisord, as `supervisorctl restart store` does, with bounded waits."""

import time
from pathlib import Path

from beacon import errors
from beacon.runtime import supervision

_STORE = "store"
_STOPPABLE = {
    supervision.ProgramState.STARTING,
    supervision.ProgramState.RUNNING,
    supervision.ProgramState.BACKOFF,
}
_STOP_S = 30.0  # more than supervisord waits before it kills
_POLL_S = 0.05


def stop_store(run_dir: Path) -> None:
    """Stop the store, and wait until it has ended. The other processes wait for it.

    Raises:
        errors.TransientError: supervisord does not answer, or the store does not end.
    """
    path = supervision.socket_of(run_dir)
    if _store(path).state in _STOPPABLE:
        supervision.stop(path, _STORE)
    until = time.monotonic() + _STOP_S
    while (found := _store(path)).alive:
        if time.monotonic() > until:
            raise errors.TransientError(f"the store has not ended after {_STOP_S:g} s: it is {found.state}")
        time.sleep(_POLL_S)


def start_store(run_dir: Path) -> None:
    """Start the store unless it runs; return before it does.

    Raises:
        errors.TransientError: supervisord does not answer.
    """
    path = supervision.socket_of(run_dir)
    if not _store(path).alive:
        supervision.start(path, _STORE)


def _store(path: Path) -> supervision.Program:
    found = next((one for one in supervision.programs(path) if one.name == _STORE), None)
    if found is None:
        raise errors.TransientError("supervisord has no program store")
    return found
