"""The cleaner: makes the store remove old rows, and release the free space of its file.

It knows the retention periods and the schedule; the store decides which rows may be removed. It requests small steps
and pauses after each one for as long as it took, so that other requests to the store are not delayed.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.runtime import heartbeat, log, metrics

_TIMEOUT_S = 10.0
_LONGEST_REST_S = 0.05
_REMOVED_PERIOD_S = 30 * 86400.0  # since an endpoint was removed, or its last delivery discarded
_RETRY_S = 60.0  # after a failed run: the cause may be gone long before the next run is due


@dataclass(slots=True)
class Tally:
    """The result of one run: the rows found or removed by table, and the time of the oldest (0 if there is none)."""

    rows: dict[str, int] = field(default_factory=dict)
    oldest_us: int = 0

    def add(self, pruned: wire.Pruned) -> None:
        """Add the counts of one reply."""
        for table, number in pruned.rows.items():
            self.rows[table] = self.rows.get(table, 0) + number
        if pruned.oldest_us:
            self.oldest_us = min(self.oldest_us or pruned.oldest_us, pruned.oldest_us)


class Cleaner:
    """Cleans at every interval, and at once when `hurry` is set; a stop must set it, too, to end the wait."""

    def __init__(
        self,
        config: settings.Retention,
        *,
        stop: threading.Event,
        beat: Callable[[], None],
        report: Callable[[str, Mapping[str, object]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Clean as configured until `stop` is set; `report` takes the component's name and its state."""
        self._config = config
        self._stop = stop
        self._beat = beat
        self._report = report
        self._wall = wall
        self._failing = False
        self._done_us = 0
        self.hurry = threading.Event()

    def run(self, client: bus.Client) -> None:
        """Clean now, and again at every interval, until the process is asked to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must restart.
        """
        while not self._stop.is_set():
            self.hurry.clear()
            self.clean(functools.partial(client.try_call, timeout_s=_TIMEOUT_S))
            interval_s = self._config.cleanup_interval_s
            self._wait(min(interval_s, _RETRY_S) if self._failing else interval_s)

    def clean(self, call: wire.Caller) -> None:
        """Count the removable rows, discard old failures and remove rows unless disabled, and report the result."""
        began = time.monotonic()
        try:
            self._set_metrics(self._walk(call, survey=True))
            if self._config.enabled and self._config.failed_period_s > 0:
                self._discard_old(call)
            removed = self._remove(call) if self._config.enabled else Tally()
        except (bus.SettingsChanged, errors.Stopping):
            raise
        except errors.BeaconError as error:
            self._report_result("failed", str(error))
            return
        metrics.CLEAN_DURATION.observe(time.monotonic() - began)
        if sum(removed.rows.values()):
            log.get().info("cleaned", rows=removed.rows, seconds=round(time.monotonic() - began, 3))
        self._report_result("done" if self._config.enabled else "off")

    def _discard_old(self, call: wire.Caller) -> None:
        """Discard the deliveries that failed too long ago, and log their number, of an interrupted run, too."""
        discarded, after, more = 0, 0, True
        try:
            while more:
                reply = self._call(call, wire.DiscardOld(older_than_s=self._config.failed_period_s, after=after))
                discarded, after, more = discarded + reply.discarded, reply.after, reply.more
        finally:
            if discarded:
                log.get().warning(
                    "old failed deliveries discarded", number=discarded, failed_period_s=self._config.failed_period_s
                )

    def _remove(self, call: wire.Caller) -> Tally:
        removed = self._walk(call, survey=False)
        while self._call(call, wire.Vacuum()).more:
            pass
        return removed

    def _walk(self, call: wire.Caller, *, survey: bool) -> Tally:
        """Send prune requests for every table once; with `survey` the store only counts."""
        tally = Tally()
        for table, age_s in self._ages().items():
            after, more = (0, ""), True
            while more:
                request = wire.Prune(table=table, older_than_s=age_s, after=after, survey=survey)
                pruned = self._call(call, request)
                tally.add(pruned)
                if not survey:
                    _count(pruned.rows)
                after, more = pruned.after, pruned.more
        return tally

    def _ages(self) -> dict[wire.Prunable, float]:
        return {
            wire.Prunable.OBJECTS: self._config.retention_period_s,
            wire.Prunable.EVENTS: self._config.retention_period_s,
            wire.Prunable.ATTEMPTS: self._config.attempts_period_s,
            wire.Prunable.GAPS: self._config.gaps_period_s,
            wire.Prunable.ENDPOINTS: _REMOVED_PERIOD_S,
        }

    def _call(self, call: wire.Caller, request: wire.Request[wire.R]) -> wire.R:
        """Send a request, and pause for as long as the reply took."""
        self._beat()
        began = time.monotonic()
        reply = call(request)
        if self._stop.wait(min(time.monotonic() - began, _LONGEST_REST_S)):
            raise errors.Stopping("stopped while cleaning")
        return reply

    def _set_metrics(self, tally: Tally) -> None:
        """Set the metrics until the next run: rows that are removed at once would never be seen by a scrape."""
        metrics.CLEAN_ELIGIBLE.set(sum(tally.rows.values()))
        age_s = max(0.0, self._wall() - tally.oldest_us / 1e6) if tally.oldest_us else 0.0
        metrics.CLEAN_OLDEST_ELIGIBLE_AGE.set(age_s)

    def _report_result(self, result: str, reason: str = "") -> None:
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
        while (left_s := until - time.monotonic()) > 0 and not self._stop.is_set():
            self._beat()
            if self.hurry.wait(min(left_s, heartbeat.IDLE_S)):
                return


def _count(rows: Mapping[str, int]) -> None:
    for table, number in rows.items():
        metrics.CLEAN_ROWS.labels(table=table).inc(number)
