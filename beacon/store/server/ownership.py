"""The owner file: a second proof, beside the lock, that only one Beacon writes the ledger.

A network file system without working locks grants the lock to a store on each node. So the owner writes its id into a
file beside the ledger and renews it every few seconds; another store sees it change, and refuses to start. A clean
shutdown removes the file. If it is not renewed any more, its owner is considered dead after `LONGEST_WAIT_S`. The
observer counts its own polls: no clocks of two nodes are compared. The id also lies in the run directory, which belongs
to one pod: a store that is restarted in its pod continues at once. So does one on the same kernel and mount as the
previous owner: there the lock, which the caller holds, is proof enough.

It cannot see an owner that stood still for longer than the wait within a transaction, and then commits it; nor a file
system that hides a write of another node for as long.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from beacon import errors
from beacon.boundary import files

FILE = "beacon.owner"
_RENEWAL_S = 2.0
_POLL_S = 0.5
_POLLS = 40  # the polls are counted: an observer that stood still has not observed anything
_SETTLING_S = 1.0  # longer than from the last poll to the end of the write
LONGEST_WAIT_S = _POLL_S * _POLLS + _SETTLING_S
_BYTES = 256  # of the file: one write replaces it as a whole
_OPENING = "opening the ledger"
_UNKNOWN = "unknown"
_PLAIN = re.compile(r"[\w.-]{1,80}")


class LostError(errors.StartError):
    """Another Beacon has taken the database directory over; nothing may be written any more."""


class Ownership:
    """The right to write the ledger in a directory."""

    def __init__(
        self,
        directory: Path,
        run_dir: Path,
        *,
        host: str,
        boot: str,
        waits: Callable[[str], None],
        sleep: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Represent this store, in the pod or on the machine `host`, whose kernel has the id `boot` ("": unknown).

        `waits` is called with the host of a previous owner before a wait for it; `sleep` waits, and returns True if the
        process is to stop.
        """
        self._directory = directory
        self._path = directory / FILE
        self._id = _id_of(run_dir / "owner")
        self._host = host if _PLAIN.fullmatch(host) else _UNKNOWN
        self._mount = f"{boot}.{directory.stat().st_dev}" if _PLAIN.fullmatch(boot) else _UNKNOWN
        self._waits = waits
        self._sleep = sleep
        self._clock = clock
        self._count = 0
        self._renewed_at: float | None = None  # None: not acquired

    def acquire(self, report: Callable[[str, float], None]) -> None:
        """Become the owner; wait for a previous one that was neither this pod's nor stopped cleanly.

        `report` is called with the activity when a wait begins and when it is over.

        Raises:
            errors.StartError: it is alive.
            errors.Stopping: the process was asked to stop.
        """
        while not self._acquired(report):
            report(_OPENING, 0.0)
        self._renewed_at = self._clock() - _RENEWAL_S  # the file is read again before the first transaction

    def confirm(self) -> None:
        """Renew the file if it is time; call it before each transaction.

        Raises:
            LostError: another Beacon has taken over.
        """
        if self._renewed_at is None or self._clock() - self._renewed_at < _RENEWAL_S:
            return
        try:
            found = self._read()
        except errors.StartError:
            return  # to be tried again at the next transaction
        if found is not None and not self._is_own(found):
            message = f"{_other(found)} has taken over the database directory {self._directory}"
            raise LostError(message, exit_code=errors.EXIT_TEMPORARY)
        if found is None:
            self._create()
        else:
            self._write()
        self._renewed_at = self._clock()

    def release(self) -> None:
        """Remove the file, so that the next owner need not wait."""
        with contextlib.suppress(OSError, errors.StartError):
            if self._is_own(self._read() or b""):
                self._path.unlink()

    def _acquired(self, report: Callable[[str, float], None]) -> bool:
        """Return False if the file appeared or disappeared meanwhile."""
        found = self._read()
        if found is None:
            return self._create()
        if self._is_own(found) or self._shares_lock(found):
            self._write()
            return True
        self._waits(_host_in(found))
        report(f"waiting for the previous owner of the ledger, {_host_in(found)}", 0.0)
        if not self._is_abandoned(found):
            return False
        self._take_over()
        report(_OPENING, 0.0)
        return True

    def _is_abandoned(self, found: bytes) -> bool:
        """Observe a foreign file; return True if it was not renewed for the whole wait, False if it was removed."""
        for _ in range(_POLLS):
            if self._sleep(_POLL_S):
                raise errors.Stopping("stopped while waiting for the previous owner of the ledger")
            now = self._read()
            if now is None:
                return False
            if now != found:
                raise self._refused(now)
        return True

    def _take_over(self) -> None:
        """Write the file, and make sure that no other store has done so at the same time."""
        self._write()
        if self._sleep(_SETTLING_S):
            raise errors.Stopping("stopped while taking over the ledger")
        after = self._read()
        if after is not None and not self._is_own(after):
            raise self._refused(after)

    def _refused(self, found: bytes) -> errors.StartError:
        message = f"{_other(found)} uses the database directory {self._directory}: run one replica"
        return errors.StartError(message, exit_code=errors.EXIT_TEMPORARY)

    def _is_own(self, found: bytes) -> bool:
        return found.startswith(self._id.encode() + b" ")

    def _shares_lock(self, found: bytes) -> bool:
        """Return True if the lock on the directory excludes a living owner: it is on the same kernel and mount."""
        return _word(found, 2) == self._mount != _UNKNOWN

    def _read(self) -> bytes | None:
        """Return the content of the file, None if there is none.

        Raises:
            errors.StartError: it can't be read.
        """
        try:
            return files.read(self._path, most_bytes=_BYTES, follow=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{self._path} is not usable: {error.strerror}"
            raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error

    def _create(self) -> bool:
        """Create the file; return False if another store has created it meanwhile."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        except OSError:
            return True  # as in `_write`
        if not self._write():
            self._path.unlink(missing_ok=True)
        return True

    def _write(self) -> bool:
        """Replace the content by one write; return False if the volume is full or fails, which is no reason to stop."""
        self._count += 1
        line = f"{self._id} {self._host} {self._mount} {self._count}".encode().ljust(_BYTES - 1) + b"\n"
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return os.pwrite(file, line, 0) == _BYTES
            finally:
                os.close(file)
        except OSError:
            return False


def _id_of(path: Path) -> str:
    """Return the id of this pod's stores, which the first one writes to the run directory."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if _PLAIN.fullmatch(known := files.read_text(path, most_bytes=_BYTES, follow=False)):
            return known
    made = secrets.token_hex(16)
    files.write(path, made.encode())
    return made


def _other(found: bytes) -> str:
    return f"another Beacon ({_host_in(found)})"


def _host_in(found: bytes) -> str:
    """Return the host that an owner file names."""
    return _word(found, 1)


def _word(found: bytes, index: int) -> str:
    words = found.decode("ascii", "replace").split()
    return words[index] if len(words) > index and _PLAIN.fullmatch(words[index]) else _UNKNOWN
