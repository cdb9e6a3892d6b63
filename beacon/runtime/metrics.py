"""All metrics that the processes themselves update, declared once; `metric_files` stores their values.

Metrics are declared when this module is imported, before the process' role is known. Metrics that are measured at a
scrape (of processes, of the ledger) are in `beacon.exporter`. Labels are bounded: no namespace, no name, no UID, no
URL.
"""

import bisect
from collections import Counter as Counts
from collections.abc import Sequence
from pathlib import Path

from beacon.runtime import metric_files

# It comes first, because it keeps the package below from running.
# isort: split
from prometheus_client.metrics import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

REGISTRY = CollectorRegistry()  # holds only the declarations: a scrape reads the files


class BatchHistogram(Histogram):
    """A histogram to which many values can be added for the price of one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Add values, as one `observe` for each would."""
        self._sum.inc(sum(amounts))
        for place, count in Counts(bisect.bisect_left(self._upper_bounds, one) for one in amounts).items():
            self._buckets[place].inc(count)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"beacon_{name}", text, labels, registry=REGISTRY)


def _state(name: str, text: str, *labels: str) -> Gauge:
    """Declare a gauge of a current state: it disappears when its process ends."""
    return Gauge(f"beacon_{name}", text, labels, registry=REGISTRY, multiprocess_mode="livemostrecent")


def _instant(name: str, text: str, *labels: str) -> Gauge:
    """Declare a gauge with the time of a past event: it stays valid after its process has ended."""
    return Gauge(f"beacon_{name}", text, labels, registry=REGISTRY, multiprocess_mode="mostrecent")


def _histogram(name: str, text: str, *labels: str, buckets: Sequence[float]) -> BatchHistogram:
    return BatchHistogram(f"beacon_{name}", text, labels, registry=REGISTRY, buckets=buckets)


_LOCAL = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DETECTION = (
    *(0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01),
    *(0.015, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LATENCY = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
_BACKOFF = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

EVENTS = _counter("events_total", "Events committed to the ledger.", "kind", "type", "source")
WATCH_LINES = _counter("watch_lines_total", "Watch events received, bookmarks and errors included.", "kind", "type")
DETECTION_LATENCY = _histogram(
    "detection_latency_seconds",
    "Time from the receipt of a watch event to the commit of its event.",
    *("kind",),
    buckets=_DETECTION,
)
LAST_EVENT_TIMESTAMP = _instant("last_event_timestamp_seconds", "Unix time of the last event's commit.", "kind")
ANNOTATION_MUTATIONS = _counter(
    "annotation_mutations_total", "Changes of the watched annotation, with or without an event.", "kind", "mutation"
)

OBJECTS_UNREADABLE = _state("objects_unreadable", "Objects whose metadata cannot be read; counted up to 1000.", "scope")
WATCH_CONNECTED = _state("watch_connected", "1 if the watch of the scope is connected, else 0.", "scope")
WATCH_RESTARTS = _counter("watch_restarts_total", "Watches that ended, by reason.", "scope", "reason")
WATCH_POSITION_TIMESTAMP = _instant(
    "watch_position_timestamp_seconds", "Unix time at which the scope's position was last up to date.", "scope"
)
GAPS = _counter("gaps_total", "Intervals without a watch and without history.", "scope", "reason")
GAP_SECONDS = _counter("gap_seconds_total", "Total length of the gaps in seconds.", "scope", "reason")
GAP_DIFFERENCES = _counter(
    "gap_differences_total", "Events emitted for differences found after a gap.", "scope", "reason"
)

REDELIVERIES = _counter("redeliveries_total", "Deliveries repeated by an operator.", "endpoint")
DELIVERIES = _counter("deliveries_total", "Deliveries finished, by outcome.", "endpoint", "type", "outcome")
DELIVERY_ATTEMPTS = _counter(
    "delivery_attempts_total",
    "Requests sent, by HTTP status or failure (network, tls, timeout; internal: unexpected errors).",
    "endpoint",
    "code",
)
DELIVERY_RETRIES = _counter("delivery_retries_total", "Deliveries scheduled for a retry.", "endpoint", "reason")
DELIVERY_DURATION = _histogram("delivery_duration_seconds", "Duration of one request.", "endpoint", buckets=_REQUEST)
DELIVERY_LATENCY = _histogram(
    "delivery_latency_seconds", "Time from the commit of an event to its 2xx response.", "endpoint", buckets=_LATENCY
)
DELIVERY_BACKOFF = _histogram("delivery_backoff_seconds", "Wait before the next attempt.", "endpoint", buckets=_BACKOFF)
RETRIES_EXHAUSTED = _counter("retries_exhausted_total", "Deliveries failed after maxAttempts.", "endpoint")

ENDPOINT_UP = _state(
    "endpoint_up",
    "0 if the last request failed like an outage (network, 503, ...) and no other was answered properly, else 1.",
    "endpoint",
)
ENDPOINT_CONSECUTIVE_FAILURES = _state("endpoint_consecutive_failures", "Consecutive outage-like failures.", "endpoint")
ENDPOINT_LAST_SUCCESS_TIMESTAMP = _instant(
    "endpoint_last_success_timestamp_seconds", "Unix time at which the endpoint last answered 2xx.", "endpoint"
)
BREAKER_OPEN = _state("breaker_open", "1 while the endpoint counts as down and only probes are sent.", "endpoint")
BREAKER_OPENINGS = _counter("breaker_openings_total", "Times that the breaker opened.", "endpoint")

DB_COMMIT_SECONDS = _histogram("db_commit_seconds", "Duration of one transaction.", buckets=_LOCAL)
DB_COMMIT_REQUESTS = _histogram("db_commit_requests", "Requests committed in one transaction.", buckets=_COUNTS)
DB_OPERATION_SECONDS = _histogram(
    "db_operation_seconds", "Duration of one request within its transaction.", "verb", buckets=_LOCAL
)
DB_ERRORS = _counter("db_errors_total", "Database errors, by kind.", "verb", "error")
DB_REPAIRS = _counter("db_repairs_total", "Repairs of a damaged database (reindex, rescue).", "repair")
DB_RESCUED_ROWS = _counter(
    "db_rescued_rows_total", "Rows of a damaged database, by fate (saved, lost).", "table", "fate"
)

CONFIG_LAST_RELOAD_SUCCESSFUL = _state(
    "config_last_reload_successful", "1 if the configuration file was valid when it was last read, else 0."
)
CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP = _state(
    "config_last_reload_success_timestamp_seconds", "Unix time at which a valid configuration was last read."
)

BUS_REQUESTS = _counter("bus_requests_total", "Requests that the store answered, by verb and result.", "verb", "result")
BUS_REQUEST_SECONDS = _histogram(
    "bus_request_seconds", "Time from the arrival of a request at the store to its reply.", "verb", buckets=_LOCAL
)
WORKER_BUSY = _state("worker_busy", "Requests in flight to the endpoint.", "endpoint")
WORKER_BATCH_SIZE = _histogram("worker_batch_size", "Deliveries leased by one claim.", "endpoint", buckets=_COUNTS)

CLEAN_RUNS = _counter("clean_runs_total", "Runs of the cleaner, by result.", "result")
CLEAN_DURATION = _histogram("clean_duration_seconds", "Duration of one run of the cleaner.", buckets=_BACKOFF)
CLEAN_ROWS = _counter("clean_rows_total", "Rows that the cleaner removed.", "table")
CLEAN_ELIGIBLE = _state("clean_eligible", "Rows past their retention period at the last check of the cleaner.")
CLEAN_OLDEST_ELIGIBLE_AGE = _state(
    "clean_oldest_eligible_age_seconds", "Age of the oldest eligible row at the last check; 0 if none."
)

BACKUP_INTERVAL = _state("backup_interval_seconds", "Interval of scheduled backups; absent if they are off.")
BACKUP_LAST_SUCCESS_TIMESTAMP = _state(
    "backup_last_success_timestamp_seconds", "Unix time of the newest backup; 0 if there is none, or not known."
)
BACKUP_LAST_DURATION = _state("backup_last_duration_seconds", "Duration of the last backup of this process.")
BACKUP_LAST_SIZE = _state("backup_last_size_bytes", "Size of the last backup of this process.")
BACKUP_RUNS = _counter("backup_runs_total", "Scheduled backups, by result (done, failed).", "result")

VOLUME_SIZE = _state("volume_size_bytes", "Size of the volume.")
VOLUME_USED = _state("volume_used_bytes", "Bytes in use on the volume.")
VOLUME_AVAILABLE = _state("volume_available_bytes", "Bytes of the volume that Beacon can still use.")
VOLUME_USAGE_RATIO = _state("volume_usage_ratio", "Share of the usable bytes of the volume in use, 0 to 1.")
VOLUME_INODES = _state("volume_inodes", "Inodes of the volume; absent if the file system has no inode limit.")
VOLUME_INODES_USED = _state("volume_inodes_used", "Inodes in use on the volume.")
STORAGE_PRESSURE = _state("storage_pressure", "1 while usage is above the threshold, else 0.", "resource", "severity")

PROCESS_RESTARTS = _counter("process_restarts_total", "Starts of the process after its first in this pod.", "process")
LOG_LINES_DROPPED = _counter("log_lines_dropped_total", "Log lines dropped because the reader was too slow.", "process")
METRIC_FILES_DAMAGED = _counter("metric_files_damaged_total", "Damaged metric files that were renamed.")

RECONCILE_RUNS = _counter("reconcile_runs_total", "Comparisons of a scope with the cluster, by result.", "result")
RECONCILE_DURATION = _histogram("reconcile_duration_seconds", "Duration of one comparison.", buckets=_BACKOFF)
RECONCILE_OBJECTS = _counter(
    "reconcile_objects_total", "Objects compared, and events emitted by comparisons.", "kind", "action"
)
DRIFT = _counter("drift_total", "Changes that a comparison found and the watch had missed.", "kind", "drift")


def start(role: str, directory: Path) -> None:
    """Store this process' values in files named by `role`; only one process per role may run."""
    restarted = metric_files.use(role, directory)
    PROCESS_RESTARTS.labels(process=role).inc(restarted)
    LOG_LINES_DROPPED.labels(process=role).inc(0)
