"""The store's clock: UTC as the wall clock shows it, but for jumps, which it makes together with the ledger.

Instants in the ledger are wall clock times, and the wall clock can be set. It is watched against the time since boot:
when it jumps, the store's clock goes on as if nothing had happened, until one transaction has moved by the jump what is
due later. So a retry keeps its pause. What is old is judged by how much of its age is due to jumps. A reboot between
two starts hides a jump; then only what is due implausibly late is put right.
"""

import time
from collections.abc import Callable
from pathlib import Path

from beacon.store import database, suspects

_JUMP_US = 1_000_000  # below: the wall clock is only being kept right
_KEPT_JUMPS = 100
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Tells the time in microseconds UTC."""

    def __init__(
        self,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        elapsed_us: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
        *,
        boot: str = "",
    ) -> None:
        """Follow a wall clock and the time since boot; `boot` names the boot ("": ask the kernel)."""
        self._wall_us = wall_us
        self._elapsed_us = elapsed_us
        self._boot = boot or _boot_id()
        self._offset_us = wall_us() - elapsed_us()

    def now_us(self) -> int:
        """Give the time; a jump is not followed before the ledger is."""
        wall_us, elapsed_us = self._wall_us(), self._elapsed_us()
        if abs(wall_us - elapsed_us - self._offset_us) < _JUMP_US:
            self._offset_us = wall_us - elapsed_us
        return elapsed_us + self._offset_us

    def load(self, ledger: database.Database) -> None:
        """Go on from where the ledger's clock was, when this is still the same boot; within a transaction."""
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
        # Tried later than now, so the clock was set back while nobody looked: the pause begins anew.
        ledger.run(
            "UPDATE deliveries SET next_attempt_us = ?1 + max(0, next_attempt_us - last_tried_us), last_tried_us = ?1"
            " WHERE state = 'ready' AND requests > 0 AND last_tried_us > ?1",
            (now_us,),
        )

    @property
    def jump_us(self) -> int:
        """By how much the wall clock has been set since the ledger last followed it; 0: it was not."""
        difference_us = self._wall_us() - self._elapsed_us() - self._offset_us
        return difference_us if abs(difference_us) >= _JUMP_US else 0

    def follow(self, ledger: database.Database, jump_us: int) -> None:
        """Move by the jump what is still to come; within a transaction, after whose commit `followed` is called."""
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
        """The ledger has moved, and this clock with it."""
        self._offset_us += jump_us

    def before_us(self, ledger: database.Database, age_s: float) -> int:
        """Give the instant such that what is stamped earlier is older than that, whatever the clock did since."""
        since_us = self.now_us() - int(age_s * 1_000_000)
        row = ledger.row("SELECT sum(by_us) FROM jumps WHERE by_us > 0 AND at_us > ?", (since_us,))
        return since_us - ((row[0] or 0) if row else 0)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
