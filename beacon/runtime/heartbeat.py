"""Heartbeats: one small file per thread, with the time of the last iteration of its loop. Standard library only.

A thread whose heartbeat is too old is hung. The age is measured with CLOCK_MONOTONIC, so a jump of the wall clock has
no effect. This module may import no third-party library, because the sentinel reads heartbeats, too. A heartbeat works
on a full volume: if its text can't be written, the file's timestamps hold the same values. A thread whose heartbeat
can't be created or written continues, and tries again with each heartbeat.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beacon.boundary import files

HUNG_S = 60.0  # a thread without a heartbeat for this long is hung
IDLE_S = 2.0  # a loop without work waits no longer than this before its next heartbeat

_INTERVAL_NS = 1_000_000_000
_RECORD = "{pid:>10} {beat_ns:>24}\n"
_RECORD_BYTES = 64
_HIGHEST_PID = 1 << 22


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PROBE = ".probe"  # no heartbeat: it has no process


class Obstacle(StrEnum):
    """What prevents heartbeats."""

    NONE = "none"
    NO_NEW_FILES = "no-new-files"  # e.g. no inodes: existing heartbeats work
    READ_ONLY = "read-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHeartbeat:
    """The last heartbeat of one thread; `age_s` is its age at the time when it was read."""

    process: str
    thread: str
    pid: int
    age_s: float


class Heartbeat:
    """Writes one thread's heartbeat; for use by that thread only."""

    __slots__ = ("_closed", "_due_ns", "_failed", "_fd", "_path", "_pid", "_report")

    def __init__(
        self, directory: Path, process: str, thread: str, *, report: Callable[[str], None] = lambda _: None
    ) -> None:
        """Create the file and write the first heartbeat; no name may contain a slash, nor the process' a dot.

        `report` is called with the reason when heartbeats begin to fail, and with "" when they work again.
        """
        self._path = directory / f"{process}.{thread}"
        self._pid = os.getpid()
        self._report = report
        self._failed = self._closed = False
        self._fd = -1
        self._due_ns = 0
        self.beat()

    def beat(self) -> None:
        """Write a heartbeat, at most once a second; cheap enough for every iteration of a loop."""
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns or self._closed:
            return
        self._due_ns = now_ns + _INTERVAL_NS
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, _FLAGS, 0o600)
            self._write(now_ns)
        except OSError as error:
            self._note(error.strerror or str(error))
        else:
            self._note("")

    def _write(self, now_ns: int) -> None:
        try:
            os.pwrite(self._fd, _RECORD.format(pid=self._pid, beat_ns=now_ns).encode(), 0)
        except OSError:  # the volume is full: a living process must not look hung
            os.truncate(self._fd, 0)
            os.utime(self._fd, ns=(self._pid * 1_000_000_000, now_ns))

    def _note(self, reason: str) -> None:
        if self._failed is not bool(reason):
            self._failed = bool(reason)
            self._report(reason)

    def close(self) -> None:
        """Remove the heartbeat, because a thread that has ended is not hung."""
        self._closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(OSError):  # it was removed, or the volume is read-only
                self._path.unlink()


def obstacle(directory: Path) -> Obstacle:
    """Try to create a heartbeat, and return what prevents processes from writing theirs.

    An absent directory is no obstacle: the store creates it at startup.
    """
    path = directory / _PROBE
    try:
        os.close(os.open(path, _FLAGS, 0o600))
        path.unlink()
    except FileNotFoundError:
        return Obstacle.NONE
    except OSError as error:
        return Obstacle.READ_ONLY if error.errno == errno.EROFS else Obstacle.NO_NEW_FILES
    return Obstacle.NONE


def read(directory: Path) -> tuple[LastHeartbeat, ...]:
    """Return all heartbeats; ignore files that are incomplete or no heartbeats."""
    try:
        paths = sorted(directory.iterdir())
    except FileNotFoundError:
        return ()
    now_ns = time.monotonic_ns()
    beats = (_read_one(path, now_ns) for path in paths)
    return tuple(beat for beat in beats if beat is not None)


def _read_one(path: Path, now_ns: int) -> LastHeartbeat | None:
    process, _, thread = path.name.partition(".")
    try:
        found = path.lstat()
        if found.st_size:
            record = files.read(path, most_bytes=_RECORD_BYTES, follow=False)
            pid, beat_ns = (int(word) for word in record.split())
        else:
            pid, beat_ns = int(found.st_atime), found.st_mtime_ns
    except (OSError, ValueError):
        return None
    if not 0 < pid <= _HIGHEST_PID:
        return None  # just created
    return LastHeartbeat(process=process, thread=thread, pid=pid, age_s=max(0.0, (now_ns - beat_ns) / 1e9))
