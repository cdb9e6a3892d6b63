"""What the store tells the metrics and the log, once it is on disk. It decides nothing and keeps nothing."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from beacon import errors
from beacon.domain import model
from beacon.runtime import log, metrics
from beacon.store import comparisons, cursors, database, integrity, journal, redelivery, service, suspects


class Observer(service.ServiceListener):
    """Feeds metrics and log lines."""

    def __init__(self) -> None:
        """Write to the process's log. Children of metrics are kept: finding one costs more than moving it."""
        self._log = log.get().bind()  # at once: a logger that is bound at every line costs several times the line
        self._refused: dict[str, int] = {}  # how often since it was said, by verb
        self._operation = cache(lambda verb: metrics.DB_OPERATION_SECONDS.labels(verb=verb))
        self._requests = cache(lambda verb, result: metrics.BUS_REQUESTS.labels(verb=verb, result=result))
        self._request = cache(lambda verb: metrics.BUS_REQUEST_SECONDS.labels(verb=verb))
        self._events = cache(lambda kind, what, source: metrics.EVENTS.labels(kind=kind, type=what, source=source))
        self._last = cache(lambda kind: metrics.LAST_EVENT_TIMESTAMP.labels(kind=kind))
        self._latency = cache(lambda kind: metrics.DETECTION_LATENCY.labels(kind=kind))
        self._by_note: dict[type, Callable[[Any], None]] = {
            journal.EventRecorded: self._event_recorded,
            cursors.Gap: self._gap_closed,
            comparisons.ComparisonDone: _compared,
            comparisons.Drift: self._drift_found,
            redelivery.Discarded: self._discarded,
            redelivery.Redelivered: lambda note: metrics.REDELIVERIES.labels(endpoint=note.endpoint).inc(),
            suspects.Suspected: self._suspected,
        }

    def committed(self, *, requests: int, seconds: float, notes: Sequence[Any]) -> None:
        """One transaction is on disk: what it told and which gaps it closed can be said."""
        metrics.DB_COMMIT_SECONDS.observe(seconds)
        metrics.DB_COMMIT_REQUESTS.observe(requests)
        for note in notes:
            if (record := self._by_note.get(type(note))) is not None:
                record(note)

    def opened(self, opened: integrity.Opened) -> None:
        """The ledger is open; what had to be done to it is said."""
        if not opened.finding:
            return
        rescue = opened.rescue
        metrics.DB_REPAIRS.labels(repair="rescue" if rescue else "reindex").inc()
        if rescue is None:
            self._log.warning("indexes built anew", finding=opened.finding)
            return
        for table, rows in rescue.saved.items():
            metrics.DB_RESCUED_ROWS.labels(table=table, fate="saved").inc(rows)
        for table, rows in rescue.lost.items():
            metrics.DB_RESCUED_ROWS.labels(table=table, fate="lost").inc(rows)
        self._log.error(
            "damaged ledger put aside",
            finding=opened.finding,
            aside=str(rescue.aside),
            saved=rescue.saved,
            lost=rescue.lost,
            unreadable=rescue.unreadable,
            reopened=rescue.reopened,
        )

    def applied(self, verb: str, seconds: float) -> None:
        """A request was applied within a transaction."""
        self._operation(verb).observe(seconds)
        if self._refused and (times := self._refused.pop(verb, 0)):
            self._log.info("requests accepted again", verb=verb, refused=times)

    def inherited(self, *, endpoint: str, deliveries: int) -> None:
        """What was open for an endpoint that is no longer configured goes to this one."""
        self._log.warning("deliveries taken over", endpoint=endpoint, deliveries=deliveries)

    def restored(self, *, ledger: str) -> None:
        """A backup was put back."""
        self._log.warning("backup put back", ledger=ledger)

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        """A request could not be applied."""
        kind = _kind_of(error)
        metrics.DB_ERRORS.labels(verb=verb, error=kind).inc()
        if isinstance(error, database.FullError):
            return  # said once, when it begins: see `room`
        if verb not in self._refused:
            self._log.warning("request refused", verb=verb, kind=kind, reason=str(error))
        self._refused[verb] = self._refused.get(verb, 0) + 1

    def answered(self, verb: str, result: str, seconds: float) -> None:
        """A reply was sent; `seconds` since the request arrived, parking included."""
        self._requests(verb, result).inc()
        self._request(verb).observe(seconds)

    def free_space_changed(self, *, short: bool, free_bytes: int) -> None:
        """The volume has become too full for new events, or has room for them again."""
        if short:
            self._log.error("intake stopped", reason="the volume is full up to the reserve", free_bytes=free_bytes)
        else:
            self._log.info("intake resumed", free_bytes=free_bytes)

    def clock_set(self, seconds: float) -> None:
        """The wall clock was set, and what is due later has moved with it."""
        self._log.warning("wall clock set", seconds=seconds)

    def _event_recorded(self, event: journal.EventRecorded) -> None:
        self._events(event.kind, event.type, event.source).inc()
        self._last(event.kind).set(time.time())
        if event.received_ns:
            latency_s = (time.monotonic_ns() - event.received_ns) / 1e9
            self._latency(event.kind).observe(latency_s)
        self._log.debug(
            "event recorded",
            event_id=event.id,
            type=event.type,
            cause=event.cause,
            source=event.source,
            kind=event.kind,
            namespace=event.namespace,
            name=event.name,
        )

    def _discarded(self, one: redelivery.Discarded) -> None:
        metrics.DELIVERIES.labels(endpoint=one.endpoint, type=one.type, outcome=model.DeliveryState.DISCARDED).inc()
        self._log.info("delivery discarded", id=one.id, endpoint=one.endpoint, reason=one.reason)

    def _suspected(self, one: suspects.Suspected) -> None:
        self._log.warning(
            "delivery suspected",
            id=one.delivery,
            event_id=one.event,
            kind=one.kind,
            namespace=one.namespace,
            name=one.name,
            notifier_deaths=one.deaths,
            pause_s=one.pause_s,
        )

    def _drift_found(self, drift: comparisons.Drift) -> None:
        self._log.warning(
            "drift found",
            scope=drift.label,
            missed_creations=drift.created,
            missed_updates=drift.updated,
            missed_deletions=drift.deleted,
        )

    def _gap_closed(self, gap: cursors.Gap) -> None:
        seconds = max(0.0, (gap.until_us - gap.since_us) / 1_000_000) if gap.since_us else 0.0
        metrics.GAPS.labels(scope=gap.label, reason=gap.reason).inc()
        metrics.GAP_SECONDS.labels(scope=gap.label, reason=gap.reason).inc(seconds)
        metrics.GAP_DIFFERENCES.labels(scope=gap.label, reason=gap.reason).inc(gap.differences)
        missed = gap.differences > 0 and gap.reason is not model.GapReason.FIRST_LIST
        record = self._log.warning if missed else self._log.info
        record("gap closed", scope=gap.label, reason=gap.reason, seconds=seconds, differences=gap.differences)


def _compared(found: comparisons.ComparisonDone) -> None:
    for action in ("compared", "created", "updated", "deleted"):
        metrics.RECONCILE_OBJECTS.labels(kind=found.kind, action=action).inc(getattr(found, action))
    metrics.DRIFT.labels(kind=found.kind, drift="missed_creation").inc(found.created)
    metrics.DRIFT.labels(kind=found.kind, drift="missed_deletion").inc(found.deleted)


def _kind_of(error: errors.BeaconError) -> str:
    if isinstance(error, database.FullError):
        return "full"
    if isinstance(error, database.DamagedError):
        return "corrupt"
    if isinstance(error, database.BusyError):
        return "busy"
    if isinstance(error, database.RequestError):
        return "constraint"
    return "other"
