"""Free space on the volume: refuses new events early, so that recorded ones can still be settled and removed.

Below the reserve, intake is refused; settling and pruning may use the reserve. When even they fail, a small file
beside the database, the ballast, is deleted, and recreated once there is free space. Free space is checked before
every transaction, but measured ten times a second at most. `statvfs` may report free bytes although a write fails
(quotas, btrfs, shared volumes): after a refused write the intake pauses, longer after each further refusal.
"""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 2 * 1024 * 1024
_EVERY_S = 0.1
_LONGEST_PAUSE_S = 15.0  # after a write was refused although there seems to be free space
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DiskGuard:
    """Watches the free space for one database."""

    def __init__(
        self,
        database: Path,
        *,
        reserve_bytes: int,
        ballast_bytes: int = BALLAST_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        """Reserve `reserve_bytes` of the database's volume for writes other than intake."""
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
        """Return True if the intake must be refused now."""
        now = self._monotonic()
        if now - self._checked_at >= _EVERY_S and now >= self._paused_until:
            self._check(now)
        return self._short

    def note_full(self) -> None:
        """Pause the intake for a while, because the volume refused a write, whatever it reports as free.

        The ballast is not recreated during the pause: that would take the free space for which it was deleted.
        """
        now = self._monotonic()
        again = now - self._paused_until < self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S) if again else _EVERY_S
        self._paused_until = now + self._pause_s
        self._measure()
        self._short = True

    def release_ballast(self) -> bool:
        """Delete the ballast; return False if there was none."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def _check(self, now: float) -> None:
        self._checked_at = now
        self._measure()
        has_ballast = self._has_ballast() or self._allocate_ballast()
        # New events must not use the space of the ballast: there would be none left to settle their deliveries.
        self._short = self.free_bytes < self._reserve_bytes or not has_ballast

    def _measure(self) -> None:
        # Other users of the volume count too, so the volume is measured and not the file.
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
