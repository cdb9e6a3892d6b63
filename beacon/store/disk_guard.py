"""Room on the volume: when new events are refused, so that what is told already can still be settled and removed.

Below the reserve the intake is refused; settling and pruning may use it. When even that fails, a small file beside the
database, the ballast, is given up, and made again once there is room. Free bytes are asked for ten times a second at
most, because it is asked before every transaction. `statvfs` may show free bytes where a write fails (quotas, btrfs,
shared volumes): after a refused write the intake rests, longer each time that it is refused again.
"""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 2 * 1024 * 1024
_EVERY_S = 0.1
_LONGEST_PAUSE_S = 15.0  # after a write was refused though there seems to be room
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DiskGuard:
    """Watches the room that is left for one database."""

    def __init__(
        self,
        database: Path,
        *,
        reserve_bytes: int,
        ballast_bytes: int = BALLAST_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        """Keep so many bytes free on the database's volume for what must go on."""
        self._directory = database.parent
        self._ballast = database.with_name(database.name + "-ballast")
        self._reserve_bytes = reserve_bytes
        self._ballast_bytes = ballast_bytes
        self._monotonic = monotonic
        self._statvfs = statvfs
        self._pause_s = 0.0
        self._paused_until = float("-inf")
        self._checked_at = float("-inf")
        self._short = False
        self.free_bytes = 0

    @property
    def is_short(self) -> bool:
        """Say whether the intake must be refused now."""
        now = self._monotonic()
        if now - self._checked_at >= _EVERY_S and now >= self._paused_until:
            self._check(now)
        return self._short

    def note_full(self) -> None:
        """The volume refused a write, whatever it says of itself: refuse the intake for a while.

        The ballast is not taken anew meanwhile: that would be the room for which it has just been given up.
        """
        now = self._monotonic()
        again = now - self._paused_until < self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S) if again else _EVERY_S
        self._paused_until = now + self._pause_s
        self._measure()
        self._short = True

    def release_ballast(self) -> bool:
        """Give the ballast up; False when there was none."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def _check(self, now: float) -> None:
        self._checked_at = now
        self._measure()
        has_ballast = self._has_ballast() or self._allocate_ballast()
        # The room that the ballast gave is not for new events: those would leave none to settle what they bring.
        self._short = self.free_bytes < self._reserve_bytes or not has_ballast

    def _measure(self) -> None:
        # What other users of the volume take counts too, so the volume is asked and not the file.
        try:
            volume = self._statvfs(self._directory)
        except OSError:
            self.free_bytes = 0
            return
        self.free_bytes = volume.f_bavail * volume.f_frsize

    def _has_ballast(self) -> bool:
        try:
            found = self._ballast.lstat()
            return stat.S_ISREG(found.st_mode) and found.st_size >= self._ballast_bytes
        except OSError:
            return False

    def _allocate_ballast(self) -> bool:
        if self.free_bytes < self._reserve_bytes + 2 * self._ballast_bytes:
            return False
        try:
            file = os.open(self._ballast, _FLAGS, 0o600)
            try:
                os.posix_fallocate(file, 0, self._ballast_bytes)
            finally:
                os.close(file)
        except OSError:
            with suppress(OSError):
                self._ballast.unlink()
            return False
        self.free_bytes -= self._ballast_bytes
        return True
