"""The store's clock: UTC like the wall clock, except that a jump of the wall clock is applied together with the ledger.

Instants in the ledger are wall clock times, and the wall clock can be set. The store compares it with the time since
boot. After a jump the store's clock continues without it, until one transaction has shifted all future due times by
the jump, so that a retry keeps its backoff. For retention, the part of an age that is due to jumps is subtracted. A
reboot between two starts hides a jump; then only implausibly late due times are corrected.
"""

import time
from collections.abc import Callable
from pathlib import Path

from beacon.domain import instants
from beacon.store import database, suspects

_JUMP_US = 1_000_000  # smaller differences are corrections by NTP
_KEPT_JUMPS = 100
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Returns the time in microseconds UTC."""

    def __init__(
        self,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        elapsed_us: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
        *,
        boot: str = "",
    ) -> None:
        """Compare a wall clock with the time since boot; `boot` identifies the boot ("": ask the kernel)."""
        self._wall_us = wall_us
        self._elapsed_us = elapsed_us
        self._boot = boot or _boot_id()
        self._offset_us = wall_us() - elapsed_us()

    def now_us(self) -> int:
        """Return the time, without a jump that the ledger has not followed yet."""
        wall_us, elapsed_us = self._wall_us(), self._elapsed_us()
        if abs(wall_us - elapsed_us - self._offset_us) < _JUMP_US:
            self._offset_us = wall_us - elapsed_us
        return elapsed_us + self._offset_us

    def load(self, ledger: database.Database) -> None:
        """Restore the ledger's clock if the machine was not rebooted; within a transaction."""
        row = ledger.row("SELECT boot, offset_us FROM clock")
        if row and row[0] == self._boot:
            self._offset_us = row[1]
        now_us = self.now_us()
        if row is None or row[0] != self._boot:
            ledger.run("INSERT OR REPLACE INTO clock VALUES (1, ?, ?)", (self._boot, self._offset_us))
        ledger.run(
            "UPDATE suspects SET not_before_us = min(not_before_us, ?)",
            (now_us + int(suspects.LONGEST_PAUSE_S * 1_000_000),),
        )
        # An attempt in the future: the clock was set back while the store did not run. The backoff starts again.
        ledger.run(
            "UPDATE deliveries SET next_attempt_us = ?1 + max(0, next_attempt_us - last_tried_us), last_tried_us = ?1"
            " WHERE state = 'ready' AND requests > 0 AND last_tried_us > ?1",
            (now_us,),
        )

    @property
    def jump_us(self) -> int:
        """Return by how much the wall clock was set since the ledger last followed it; 0: it was not."""
        difference_us = self._wall_us() - self._elapsed_us() - self._offset_us
        return difference_us if abs(difference_us) >= _JUMP_US else 0

    def follow(self, ledger: database.Database, jump_us: int) -> None:
        """Shift future due times by the jump; within a transaction, after whose commit the caller calls `followed`."""
        ledger.run(
            "UPDATE deliveries SET next_attempt_us = next_attempt_us + ?1, last_tried_us = last_tried_us + ?1"
            " WHERE state = 'ready' AND requests > 0",
            (jump_us,),
        )
        ledger.run("UPDATE suspects SET not_before_us = not_before_us + ?", (jump_us,))
        now_us = self._elapsed_us() + self._offset_us + jump_us
        ledger.run("INSERT INTO jumps VALUES (?, ?)", (now_us, jump_us))
        ledger.run(
            "DELETE FROM jumps WHERE rowid NOT IN (SELECT rowid FROM jumps ORDER BY rowid DESC LIMIT ?)",
            (_KEPT_JUMPS,),
        )
        ledger.run("UPDATE clock SET offset_us = ?", (self._offset_us + jump_us,))

    def followed(self, jump_us: int) -> None:
        """Shift this clock by the jump, after the ledger."""
        self._offset_us += jump_us

    def before_us(self, ledger: database.Database, age_s: float) -> int:
        """Return the instant before which a timestamp is older than `age_s`, regardless of later jumps of the clock."""
        since_us = self.now_us() - int(min(max(age_s, 0.0), instants.LONGEST_S) * 1_000_000)
        row = ledger.row("SELECT sum(by_us) FROM jumps WHERE by_us > 0 AND at_us > ?", (since_us,))
        return since_us - ((row[0] or 0) if row else 0)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
