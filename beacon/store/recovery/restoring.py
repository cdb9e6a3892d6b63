"""`python -m beacon.store.recovery.restoring FILE LEDGER FD [serving]`: puts a checked copy of FILE in LEDGER's place.

`beacon restore` runs it as a subprocess, because only the store's code may open a ledger. It writes its progress to the
descriptor FD, in thousandths, one a line. With `serving`, a store may serve LEDGER while the copy is made and checked;
then this prints `checked`, and waits for a line on standard input before it takes the lock. At the end it prints the
schema, the size, and the path of the previous ledger. Nothing is changed before the copy has been checked.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon import errors
from beacon.boundary import visible
from beacon.store.ledger import copying, directory_lock, opening
from beacon.store.recovery import replacing, salvage, verification

_COPYING_SHARE = 0.3  # of the time, about
_LOCK_S = 20.0  # how long a store that was stopped may hold its lock
_POLL_S = 0.05


def prepare(source: Path, ledger: Path, report: Callable[[float], None]) -> tuple[int, list[str]]:
    """Copy the source beside the ledger, and check the copy. Return its schema and what is wrong with it.

    Raises:
        errors.BeaconError: the source or the copy is not usable.
    """
    target = replacing.unfinished_file(ledger)
    schema = copying.copy_unserved(source, target, lambda share: report(_COPYING_SHARE * share))
    found = list(
        verification.findings(target, lambda share: report(_COPYING_SHARE + (1 - _COPYING_SHARE) * share)),
    )
    return schema, found


@contextmanager
def unfinished(ledger: Path) -> Iterator[None]:
    """Hold an empty file for the copy, and remove it at the end if it is still there.

    Raises:
        errors.StartError: another restore is running, or the directory is not usable.
    """
    path = replacing.unfinished_file(ledger)
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"{path} can't be created: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    try:
        if not _is_ours(opened, path):
            message = f"another beacon restore is running for {ledger}"
            raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY)
        _remove_remains(path)
        os.ftruncate(opened, 0)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            _remove_remains(path)
    finally:
        os.close(opened)


def main(source: Path, ledger: Path, progress: int, *, is_served: bool = False) -> int:
    """Restore, and return the exit code."""
    try:
        schema, found, aside = _restore(source, ledger, verification.writer(progress), is_served=is_served)
    except errors.BeaconError as error:
        sys.stderr.write(f"{visible.escaped(str(error))}\n")
        return error.exit_code if isinstance(error, errors.StartError) else errors.EXIT_FAILURE
    except OSError as error:
        sys.stderr.write(f"{visible.escaped(str(error))}\n")
        return errors.EXIT_CANNOT_CREATE
    if found:
        sys.stderr.writelines(f"{visible.escaped(line)}\n" for line in found)
        return errors.EXIT_FAILURE
    sys.stdout.write(f"{schema}\n{ledger.stat().st_size}\n{aside or ''}\n")
    return errors.EXIT_OK


def _restore(
    source: Path, ledger: Path, report: Callable[[float], None], *, is_served: bool
) -> tuple[int, list[str], Path | None]:
    """Return the schema, the problems of the copy (with one, nothing was changed), and the previous ledger's path."""
    _check_paths(source, ledger)
    with contextlib.ExitStack() as stack:
        if not is_served:
            stack.enter_context(_locked(ledger, 0.0))
        stack.enter_context(unfinished(ledger))
        schema, found = prepare(source, ledger, report)
        if found:
            return schema, found, None
        if is_served:
            _await_stop()
            stack.enter_context(_locked(ledger, _LOCK_S))
        salvage.resume(ledger)  # an interrupted rescue: its rows are those of the ledger that is kept
        return schema, [], replacing.replace(ledger)


def _check_paths(source: Path, ledger: Path) -> None:
    opening.require_directory(ledger.parent)
    if source.exists() and ledger.exists() and source.samefile(ledger):
        raise errors.StartError(f"{source} is the ledger itself", exit_code=errors.EXIT_FAILURE)
    if ledger.is_symlink():
        message = f"{ledger} is a symbolic link: only a file can be replaced in one step"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE)


def _await_stop() -> None:
    """Report that the copy is checked, and wait until the store was stopped."""
    sys.stdout.write("checked\n")
    sys.stdout.flush()
    if not sys.stdin.readline():
        raise errors.StartError("the restore was given up: nothing was changed", exit_code=errors.EXIT_FAILURE)


@contextmanager
def _locked(ledger: Path, longest_s: float) -> Iterator[None]:
    """Hold the lock of the ledger's directory; wait for it at most for the given time."""
    until = time.monotonic() + longest_s
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(directory_lock.locked(ledger.parent, "the database directory"))
                break
            except errors.StartError as error:
                if error.exit_code != errors.EXIT_TEMPORARY:
                    raise
                if time.monotonic() >= until:
                    message = f"a store serves {ledger}: stop Beacon first, or add --restart-store"
                    raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY) from error
            time.sleep(_POLL_S)
        yield


def _is_ours(opened: int, path: Path) -> bool:
    """Lock the file; return False if another restore holds it, or has made it the ledger in the meantime."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(opened), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove_remains(path: Path) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), is_served=sys.argv[4:] == ["serving"]))
