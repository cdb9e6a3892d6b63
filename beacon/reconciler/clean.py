"""The cleaner: has the store remove what nobody needs any more, and give the room back to the volume.

It knows how long things are kept and when to ask; what may go is the store's decision. It asks for a little at a time
and rests as long as that took, so that whoever has an event gets through.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.runtime import log, metrics

_TIMEOUT_S = 10.0
_LONGEST_REST_S = 0.05
_SLICE_S = 1.0
_RETRY_S = 60.0  # after a run that failed: what kept it may be over long before the next is due


@dataclass(slots=True)
class Tally:
    """What one run found or removed: rows by table, and the oldest of what may go (0: there is none)."""

    rows: dict[str, int] = field(default_factory=dict)
    oldest_us: int = 0

    def add(self, pruned: wire.Pruned) -> None:
        """Count one reply."""
        for table, number in pruned.rows.items():
            self.rows[table] = self.rows.get(table, 0) + number
        if pruned.oldest_us:
            self.oldest_us = min(self.oldest_us or pruned.oldest_us, pruned.oldest_us)


class Cleaner:
    """Cleans every so often, and at once when it is told to hurry."""

    def __init__(
        self,
        terms: settings.Retention,
        *,
        stop: threading.Event,
        beat: Callable[[], None],
        report: Callable[[str, Mapping[str, object]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Clean on these terms until `stop`; `report` takes the component's name and its state."""
        self._terms = terms
        self._stop = stop
        self._beat = beat
        self._report = report
        self._wall = wall
        self._failing = False
        self._done_us = 0
        self.hurry = threading.Event()

    def run(self, client: bus.Client) -> None:
        """Clean now, and again whenever it is time, until the process is to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must start anew.
        """
        while not self._stop.is_set():
            self.hurry.clear()
            self.clean(functools.partial(client.try_call, timeout_s=_TIMEOUT_S))
            interval_s = self._terms.cleanup_interval_s
            self._wait(min(interval_s, _RETRY_S) if self._failing else interval_s)

    def clean(self, ask: wire.Caller) -> None:
        """Count what may go, have it removed unless retention is off, and say what came of it."""
        began = time.monotonic()
        try:
            self._show(self._walk(ask, survey=True))
            removed = self._remove(ask) if self._terms.enabled else Tally()
        except (bus.SettingsChanged, errors.Stopping):
            raise
        except errors.BeaconError as error:
            self._ended("failed", str(error))
            return
        metrics.CLEAN_DURATION.observe(time.monotonic() - began)
        if sum(removed.rows.values()):
            log.get().info("cleaned", rows=removed.rows, seconds=round(time.monotonic() - began, 3))
        self._ended("done" if self._terms.enabled else "off")

    def _remove(self, ask: wire.Caller) -> Tally:
        removed = self._walk(ask, survey=False)
        while self._call(ask, wire.Vacuum()).more:
            pass
        return removed

    def _walk(self, ask: wire.Caller, *, survey: bool) -> Tally:
        """Go through every table once."""
        tally = Tally()
        for table, age_s in self._ages().items():
            after, more = (0, ""), True
            while more:
                request = wire.Prune(table=table, older_than_s=age_s, after=after, survey=survey)
                pruned = self._call(ask, request)
                tally.add(pruned)
                if not survey:
                    _count(pruned.rows)
                after, more = pruned.after, pruned.more
        return tally

    def _ages(self) -> dict[wire.Prunable, float]:
        return {
            wire.Prunable.OBJECTS: self._terms.retention_period_s,
            wire.Prunable.EVENTS: self._terms.retention_period_s,
            wire.Prunable.ATTEMPTS: self._terms.attempts_period_s,
            wire.Prunable.GAPS: self._terms.gaps_period_s,
        }

    def _call(self, ask: wire.Caller, request: wire.Request[wire.R]) -> wire.R:
        """wire.Caller, and rest as long as the answer took."""
        self._beat()
        began = time.monotonic()
        reply = ask(request)
        if self._stop.wait(min(time.monotonic() - began, _LONGEST_REST_S)):
            raise errors.Stopping("stopped while cleaning")
        return reply

    def _show(self, tally: Tally) -> None:
        """Show what this look has found until the next: what goes at once would never be seen by a scrape."""
        metrics.CLEAN_ELIGIBLE.set(sum(tally.rows.values()))
        age_s = max(0.0, self._wall() - tally.oldest_us / 1e6) if tally.oldest_us else 0.0
        metrics.CLEAN_OLDEST_ELIGIBLE_AGE.set(age_s)

    def _ended(self, result: str, reason: str = "") -> None:
        metrics.CLEAN_RUNS.labels(result=result).inc()
        failing = result == "failed"
        self._done_us = self._done_us if failing else round(self._wall() * 1e6)
        self._report("cleaner", {"state": result, "reason": reason, "done_us": self._done_us})
        if failing and not self._failing:
            log.get().warning("cleaning failed", reason=reason)
        elif self._failing and not failing:
            log.get().info("cleaning works again")
        self._failing = failing

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self.hurry.is_set():
            self._beat()
            if self._stop.wait(min(left_s, _SLICE_S)):
                return


def _count(rows: Mapping[str, int]) -> None:
    for table, number in rows.items():
        metrics.CLEAN_ROWS.labels(table=table).inc(number)
