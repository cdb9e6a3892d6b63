"""The store's clock: UTC like the wall clock, except that a jump of the wall clock is applied together with the ledger.

Instants in the ledger are wall clock times, and the wall clock can be set. The store compares it with the time since
boot. After a jump the store's clock continues without it, until one transaction has shifted all future due times by
the jump, so that a retry keeps its backoff. For retention, the recorded jumps convert timestamps to ages
(`beacon/store/ledger/ages.py`). A reboot between two starts hides a jump; then due times in the future and timestamps
in the future are corrected.
"""

import time
from collections.abc import Callable
from pathlib import Path

from beacon.domain import instants
from beacon.store.ledger import ages, database

_JUMP_US = 1_000_000  # smaller differences are corrections by NTP
LONGEST_PAUSE_S = 600.0  # of a suspect
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
        self._boot = boot or boot_id() or "unknown"
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
            self._load_after_reboot(ledger, now_us)
        ledger.run(
            "UPDATE suspects SET not_before_us = min(not_before_us, ?)",
            (now_us + int(LONGEST_PAUSE_S * 1_000_000),),
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

    def ages(self, ledger: database.Database, age_s: float) -> ages.Ages:
        """Return which timestamps are older than `age_s`, regardless of jumps of the clock."""
        now_us = self.now_us()
        since_us = now_us - int(min(max(age_s, 0.0), instants.LONGEST_S) * 1_000_000)
        jumps = ledger.rows("SELECT at_us, by_us FROM jumps ORDER BY rowid")
        return ages.split(jumps, now_us=now_us, since_us=since_us)

    def distrust_jumps(self, ledger: database.Database) -> None:
        """Replace the jumps by one of unknown size, now: rows have timestamps in the future that no jump explains.

        From now on such a timestamp counts as the present moment.
        """
        ledger.run("DELETE FROM jumps")
        ledger.run("INSERT INTO jumps VALUES (?, 0)", (self.now_us(),))

    def _load_after_reboot(self, ledger: database.Database, now_us: int) -> None:
        """Detect that the clock was set back across a reboot: the ledger contains later timestamps."""
        ledger.run("INSERT OR REPLACE INTO clock VALUES (1, ?, ?)", (self._boot, self._offset_us))
        last = ledger.row("SELECT at_us FROM jumps ORDER BY rowid DESC LIMIT 1")
        latest = ledger.row(
            "SELECT max((SELECT coalesce(max(positioned_us), 0) FROM cursors),"
            " coalesce((SELECT committed_us FROM events ORDER BY sequence DESC LIMIT 1), 0))"
        )
        explained_us = self.ages(ledger, 0.0).explained_us
        if (last and last[0] > now_us + _JUMP_US) or (latest and latest[0] > explained_us):
            self.distrust_jumps(ledger)


def boot_id() -> str:
    """Return the id of the running kernel, which changes with each boot; "" if it is unknown."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
