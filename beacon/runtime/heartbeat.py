"""Heartbeats: one small file per thread, with the time of the last iteration of its loop. Standard library only.

A thread whose heartbeat is too old is hung. The age is measured with CLOCK_MONOTONIC, so a jump of the wall clock has
no effect. This module may import no third-party library, because the sentinel reads heartbeats, too. A heartbeat works
on a full volume: if its text can't be written, the file's timestamps hold the same values.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from beacon.boundary import files

HUNG_S = 60.0  # a thread without a heartbeat for this long is hung

_INTERVAL_NS = 1_000_000_000
_RECORD = "{pid:>10} {beat_ns:>24}\n"
_RECORD_BYTES = 64
_HIGHEST_PID = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHeartbeat:
    """The last heartbeat of one thread; `age_s` is its age at the time when it was read."""

    process: str
    thread: str
    pid: int
    age_s: float


class Heartbeat:
    """Writes one thread's heartbeat; for use by that thread only."""

    __slots__ = ("_due_ns", "_fd", "_path", "_pid")

    def __init__(self, directory: Path, process: str, thread: str) -> None:
        """Create the file and write the first heartbeat; no name may contain a slash, nor the process' a dot."""
        self._path = directory / f"{process}.{thread}"
        self._pid = os.getpid()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        self._due_ns = 0
        self.beat()

    def beat(self) -> None:
        """Write a heartbeat, at most once a second; cheap enough for every iteration of a loop."""
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + _INTERVAL_NS
        if self._fd >= 0:
            self._write(now_ns)

    def _write(self, now_ns: int) -> None:
        try:
            os.pwrite(self._fd, _RECORD.format(pid=self._pid, beat_ns=now_ns).encode(), 0)
        except OSError:  # the volume is full: a living process must not look hung
            with contextlib.suppress(OSError):  # nor may it terminate
                os.truncate(self._fd, 0)
                os.utime(self._fd, ns=(self._pid * 1_000_000_000, now_ns))

    def close(self) -> None:
        """Remove the heartbeat, because a thread that has ended is not hung."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._path.unlink(missing_ok=True)


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
