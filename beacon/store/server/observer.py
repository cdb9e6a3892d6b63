"""Metrics and log lines of the store, written after the commit. It makes no decisions and stores nothing."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from beacon import errors
from beacon.domain import model
from beacon.runtime import log, metrics
from beacon.store.ledger import cursors, database, endpoints, event_notes, packing
from beacon.store.recovery import integrity
from beacon.store.server import ownership, service
from beacon.store.verbs import actions, comparisons, endpoint_control, parking, redelivery, suspects

_ABANDONED_S = 30.0  # since the last request of an operator's command: it was interrupted
_REJECTED = "rejected"  # the request is invalid or not allowed: no fault of the database


class Observer(service.ServiceListener):
    """Updates metrics and writes log lines."""

    def __init__(self) -> None:
        """Write to the process's log. Metric children are cached: a lookup costs more than the update."""
        self._log = log.get().bind()  # bound once: binding at every line costs several times the line
        self._refused: dict[str, int] = {}  # refusals since the last log line, by verb
        self._acting: actions.ActionsApplied | None = None  # the sum of an operator's command that is not complete
        self._acting_since = 0.0
        self._operation = cache(lambda verb: metrics.DB_OPERATION_SECONDS.labels(verb=verb))
        self._requests = cache(lambda verb, result: metrics.BUS_REQUESTS.labels(verb=verb, result=result))
        self._request = cache(lambda verb: metrics.BUS_REQUEST_SECONDS.labels(verb=verb))
        self._events = cache(lambda kind, what, source: metrics.EVENTS.labels(kind=kind, type=what, source=source))
        self._last = cache(lambda kind: metrics.LAST_EVENT_TIMESTAMP.labels(kind=kind))
        self._latency = cache(lambda kind: metrics.DETECTION_LATENCY.labels(kind=kind))
        self._by_note: dict[type, Callable[[Any], None]] = {
            cursors.Gap: self._gap_closed,
            comparisons.ComparisonDone: _compared,
            comparisons.Drift: self._drift_found,
            redelivery.Discarded: self._discarded,
            actions.ActionsApplied: self._actions_applied,
            redelivery.OldDiscarded: _old_discarded,
            redelivery.Redelivered: lambda note: metrics.REDELIVERIES.labels(endpoint=note.endpoint).inc(),
            suspects.Suspected: self._suspected,
            endpoint_control.EndpointHalted: self._halted,
            parking.EndpointParked: self._endpoint_parked,
            parking.ParkingEnded: self._parking_ended,
        }

    def committed(self, *, requests: int, seconds: float, notes: Sequence[object]) -> None:
        """Record the notifications of one committed transaction."""
        metrics.DB_COMMIT_SECONDS.observe(seconds)
        metrics.DB_COMMIT_REQUESTS.observe(requests)
        if self._acting is not None and time.monotonic() - self._acting_since > _ABANDONED_S:
            self._log_acting()
        recorded = [note for note in notes if isinstance(note, event_notes.EventRecorded)]
        if recorded:
            self._events_recorded(recorded)
        for note in notes:
            if (record := self._by_note.get(type(note))) is not None:
                record(note)

    def opened(self, opened: integrity.Opened) -> None:
        """Log the migration of the ledger and record its repair, if it needed one."""
        if (migrated := opened.ledger.migrated) is not None:
            record = self._log.info if migrated.copy else self._log.warning
            copy = str(migrated.copy) if migrated.copy else "none: not enough free space"
            record("ledger migrated", schema=migrated.after, schema_before=migrated.before, copy=copy)
        if not opened.finding:
            return
        rescue = opened.rescue
        metrics.DB_REPAIRS.labels(repair="rescue" if rescue else "reindex").inc()
        if rescue is None:
            self._log.warning("indexes rebuilt", finding=opened.finding)
            return
        for table, rows in rescue.saved.items():
            metrics.DB_RESCUED_ROWS.labels(table=table, fate="saved").inc(rows)
        for table, rows in rescue.lost.items():
            metrics.DB_RESCUED_ROWS.labels(table=table, fate="lost").inc(rows)
        self._log.error(
            "damaged ledger replaced",
            finding=opened.finding,
            aside=str(rescue.aside),
            saved=rescue.saved,
            lost=rescue.lost,
            unreadable=rescue.unreadable,
            reopened=rescue.reopened,
        )

    def waits(self, host: str) -> None:
        """Log that the ledger was not closed by its previous owner, which may be alive."""
        self._log.info("waiting for the previous owner", host=host, longest_s=ownership.LONGEST_WAIT_S)

    def progressed(self, doing: str, share: float) -> None:
        """Log the progress of a long activity before the store serves."""
        self._log.info("ledger not open yet", doing=doing, percent=round(100 * share))

    def applied(self, verb: str, seconds: float) -> None:
        """Record a request that was applied within a transaction."""
        self._operation(verb).observe(seconds)
        if self._refused and (times := self._refused.pop(verb, 0)):
            self._log.info("requests accepted again", verb=verb, refused=times)

    def renamed(self, change: endpoints.Renamed) -> None:
        """Log that the only endpoint has another name, and keeps its deliveries."""
        self._log.warning(
            "endpoint renamed", endpoint=change.after, endpoint_before=change.before, deliveries=change.deliveries
        )

    def restored(self, *, ledger: str) -> None:
        """Log that a backup was restored."""
        self._log.warning("backup restored", ledger=ledger)

    def reloaded(self, *, problems: int) -> None:
        """Record that the configuration file was read again, and whether it was valid."""
        metrics.CONFIG_LAST_RELOAD_SUCCESSFUL.set(problems == 0)
        if problems:
            self._log.warning("reload refused", problems=problems)
        else:
            metrics.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP.set(time.time())

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        """Record a request that could not be applied."""
        kind = _kind_of(error)
        if kind != _REJECTED:
            metrics.DB_ERRORS.labels(verb=verb, error=kind).inc()
        if isinstance(error, database.FullError):
            return  # logged once, when it begins: see `free_space_changed`
        if verb not in self._refused:
            self._log.warning("request refused", verb=verb, kind=kind, reason=str(error))
        self._refused[verb] = self._refused.get(verb, 0) + 1

    def answered(self, verb: str, result: str, seconds: float) -> None:
        """Record a reply that was sent; `seconds` since the request arrived, including parking."""
        self._requests(verb, result).inc()
        self._request(verb).observe(seconds)

    def free_space_changed(self, *, short: bool, free_bytes: int) -> None:
        """Log that intake stopped for lack of free space, or resumed."""
        if short:
            self._log.error("intake stopped", reason="below the reserve", free_bytes=free_bytes)
        else:
            self._log.info("intake resumed", free_bytes=free_bytes)

    def clock_set(self, seconds: float) -> None:
        """Log that the wall clock was set, and that due times were shifted."""
        self._log.warning("wall clock set", seconds=seconds)

    def _events_recorded(self, events: Sequence[event_notes.EventRecorded]) -> None:
        """Count the events of a transaction together: a counter's increment costs as much as a row of the ledger."""
        now_ns = time.monotonic_ns()
        for (kind, what, source), number in Counter((one.kind, one.type, one.source) for one in events).items():
            self._events(kind, what, source).inc(number)
            self._last(kind).set(time.time())
        for event in events:
            if event.received_ns:
                self._latency(event.kind).observe((now_ns - event.received_ns) / 1e9)
        if self._log.is_enabled_for(logging.DEBUG):
            for event in events:
                self._log_event(event)

    def _log_event(self, event: event_notes.EventRecorded) -> None:
        self._log.debug(
            "event recorded",
            event_id=packing.unpacked(event.id),
            type=event.type,
            cause=event.cause,
            source=event.source,
            kind=event.kind,
            namespace=event.namespace,
            name=event.name,
        )

    def _discarded(self, one: redelivery.Discarded) -> None:
        metrics.DELIVERIES.labels(endpoint=one.endpoint, type=one.type, outcome=model.DeliveryState.DISCARDED).inc()
        self._log.debug("delivery discarded", id=one.id, endpoint=one.endpoint, reason=one.reason)

    def _actions_applied(self, one: actions.ActionsApplied) -> None:
        """Log a command of an operator once, after its last request, or when another one follows an unfinished one."""
        if self._acting is not None and self._acting.operation != one.operation:
            self._log_acting()
        before = self._acting
        self._acting = (
            one if before is None else replace(one, done=before.done + one.done, refused=before.refused + one.refused)
        )
        self._acting_since = time.monotonic()
        if not one.left:
            self._log_acting()

    def _log_acting(self) -> None:
        acted, self._acting = self._acting, None
        if acted is not None:
            self._log.warning(
                f"deliveries {acted.action}",
                number=acted.done,
                refused=acted.refused,
                unprocessed=acted.left,
                actor=acted.actor,
                reason=acted.reason,
            )

    def _halted(self, one: endpoint_control.EndpointHalted) -> None:
        self._log.warning(
            "endpoint paused" if one.paused else "endpoint resumed",
            endpoint=one.endpoint,
            actor=one.actor,
            **({"reason": one.reason} if one.reason else {}),
        )

    def _endpoint_parked(self, one: parking.EndpointParked) -> None:
        self._log.warning("endpoint parked", endpoint=one.endpoint, cause=one.cause, restored=one.restored)

    def _parking_ended(self, one: parking.ParkingEnded) -> None:
        self._log.warning(
            "parking ended" if one.cause else "refused deliveries restored",
            endpoint=one.endpoint,
            reason=one.why,
            cause=one.cause,
            parked_s=one.parked_s,
            restored=one.restored,
        )

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


def started() -> Observer:
    """Return the observer of a store that has just read a valid configuration."""
    made = Observer()
    made.reloaded(problems=0)
    return made


def _compared(found: comparisons.ComparisonDone) -> None:
    for action in ("compared", "created", "updated", "deleted"):
        metrics.RECONCILE_OBJECTS.labels(kind=found.kind, action=action).inc(getattr(found, action))
    metrics.DRIFT.labels(kind=found.kind, drift="missed_creation").inc(found.created)
    metrics.DRIFT.labels(kind=found.kind, drift="missed_deletion").inc(found.deleted)


def _old_discarded(one: redelivery.OldDiscarded) -> None:
    """Count the delivery; the cleaner logs the number of each run."""
    metrics.DELIVERIES.labels(endpoint=one.endpoint, type=one.type, outcome=model.DeliveryState.DISCARDED).inc()


def _kind_of(error: errors.BeaconError) -> str:
    if isinstance(error, database.FullError):
        return "full"
    if isinstance(error, database.DamagedError):
        return "corrupt"
    if isinstance(error, database.BusyError):
        return "busy"
    if isinstance(error, database.RequestError):
        return "constraint"
    return "other" if isinstance(error, database.StorageError) else _REJECTED
