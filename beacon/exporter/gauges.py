"""The metrics computed at each scrape: processes, components, and counts of the ledger. Pure except for /proc.

A source that did not answer produces no series, because a zero would be a false value.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import Metric

import beacon
from beacon import wire
from beacon.exporter import endpoint_states, health, snapshot
from beacon.runtime import supervision

Family = Metric  # a metric with its samples, as in a scrape

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMPONENTS = ("watcher", "store", "notifier", "reconciler", "cleaner", "storage", "exporter")
_Samples = Iterable[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The resource usage of one process."""

    resident_bytes: int
    cpu_s: float


def families(seen: snapshot.Snapshot, checks: health.Checks) -> list[Family]:
    """Return all metrics that a snapshot contains."""
    made = [*_processes(seen), *_components(seen, checks), _build(seen)]
    statistics = seen.store.statistics
    return made if statistics is None else [*made, *_ledger(statistics), *_endpoints(seen, statistics)]


def usage_of(pid: int) -> Usage | None:
    """Return a process' memory and CPU time from /proc, or None if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return Usage(resident_bytes=int(fields[21]) * _PAGE, cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS)


def _processes(seen: snapshot.Snapshot) -> Iterable[Family]:
    programs = seen.programs.values()
    yield _gauge("process_up", "1 if the process runs, else 0.", ((_process(p), float(p.alive)) for p in programs))
    beats = {name: [beat.age_s for beat in seen.beats_of(name)] for name in seen.programs}
    yield _gauge(
        "process_heartbeat_timestamp_seconds",
        "Unix time of the last heartbeat of the slowest thread of the process.",
        (({"process": name}, seen.now - max(ages)) for name, ages in beats.items() if ages),
    )
    usages = {p.name: usage for p in programs if p.alive and (usage := usage_of(p.pid)) is not None}
    yield _gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        (({"process": name}, usage.resident_bytes) for name, usage in usages.items()),
    )
    yield family(
        "counter",
        "process_cpu_seconds",
        "User and system CPU time of the process.",
        (({"process": name}, usage.cpu_s) for name, usage in usages.items()),
    )


def _components(seen: snapshot.Snapshot, checks: health.Checks) -> Iterable[Family]:
    ups = (({"component": name}, float(checks[name].ok)) for name in _COMPONENTS)
    yield _gauge("component_up", "1 if the component is ready, else 0.", ups)
    known = {"exporter": seen.now, **_successes(seen), **_reported(seen)}
    yield _gauge(
        "component_last_success_timestamp_seconds",
        "Unix time at which the component was last known to have done its work.",
        (({"component": name}, at) for name, at in known.items()),
    )


def _successes(seen: snapshot.Snapshot) -> dict[str, float]:
    statistics = seen.store.statistics
    if statistics is None:
        return {}
    instants = {
        "store": seen.now,
        "notifier": statistics.claimed_us / 1e6,
        "watcher": min((scope.position_us for scope in statistics.scopes), default=0) / 1e6,
    }
    return {name: at for name, at in instants.items() if at}


def _reported(seen: snapshot.Snapshot) -> dict[str, float]:
    """Return the last success of each of the reconciler's components: the oldest of all scopes."""
    reported: dict[str, int] = {}
    for report in seen.reports_of("reconciler"):
        name = report.component if report.component in _COMPONENTS else "reconciler"
        if at_us := int(report.fields.get("done_us", 0)):
            reported[name] = min(reported.get(name, at_us), at_us)
    return {name: at_us / 1e6 for name, at_us in reported.items()}


def _build(seen: snapshot.Snapshot) -> Family:
    sqlite = seen.store.statistics.sqlite_version if seen.store.statistics else ""
    labels = {"version": beacon.VERSION, "python": platform.python_version(), "sqlite": sqlite}
    return _gauge("build_info", "Always 1; the labels are the versions of Beacon, Python and SQLite.", [(labels, 1.0)])


def _ledger(statistics: wire.Statistics) -> Iterable[Family]:
    yield _gauge(
        "tracked_objects",
        "Objects that the configuration accepts; their changes are sent to the endpoint.",
        (({"kind": kind}, number) for kind, number in statistics.tracked.items()),
    )
    yield _gauge("db_rows", "Rows of the ledger, by table and state.", _rows(statistics.rows))
    yield _gauge("db_size_bytes", "Size of the database file.", [({}, statistics.database_bytes)])
    yield _gauge("db_wal_bytes", "Size of the write-ahead log.", [({}, statistics.wal_bytes)])


def _endpoints(seen: snapshot.Snapshot, statistics: wire.Statistics) -> Iterable[Family]:
    """Yield the gauges of each endpoint; a removed one has them until its row in the ledger is deleted."""
    known = endpoint_states.shown(statistics)
    states = list(endpoint_states.states(seen, known))
    yield _gauge(
        "endpoint_state",
        "1 for the state of the endpoint (unknown, up, down, faulty, parked, paused, removed), 0 for each other one.",
        (
            ({"endpoint": each.endpoint, "state": state.value}, float(each.state is state))
            for each in states
            for state in endpoint_states.State
        ),
    )
    yield _gauge(
        "endpoint_state_timestamp_seconds",
        "Unix time since when the endpoint has its state; absent if unknown.",
        (({"endpoint": each.endpoint}, each.since) for each in states if each.since),
    )
    yield _gauge(
        "deliveries_pending",
        "Deliveries not yet finished, by state (ready, waiting, queued, in_flight).",
        _pending(known),
    )
    yield _gauge(
        "oldest_pending_age_seconds",
        "Age of the oldest event not yet delivered; 0 if nothing is pending.",
        ((_endpoint(e), max(0.0, seen.now - e.oldest_us / 1e6) if e.oldest_us else 0.0) for e in known),
    )
    yield _gauge(
        "deliveries_failed",
        "Deliveries that were given up and are kept for review by an operator.",
        ((_endpoint(e), e.failed) for e in known),
    )
    yield _gauge(
        "deliveries_suspected",
        "Pending deliveries that were in flight at the last three crashes of the notifier, or more.",
        ((_endpoint(e), e.suspected) for e in known),
    )


def _pending(endpoints: Iterable[wire.EndpointStatistics]) -> _Samples:
    for each in endpoints:
        states = {"ready": each.ready, "waiting": each.waiting, "queued": each.queued, "in_flight": each.in_flight}
        for state, number in states.items():
            yield {**_endpoint(each), "state": state}, number


def _rows(rows: Mapping[str, int]) -> _Samples:
    for name, number in rows.items():
        table, _, state = name.partition("/")
        yield {"table": table, "state": state}, number


def family(kind: str, name: str, text: str, samples: _Samples) -> Family:
    """Return a metric of measured values; `kind` is gauge or counter, `name` has neither prefix nor _total."""
    made = Metric(f"beacon_{name}", text, kind)
    for labels, value in samples:
        made.add_sample(f"beacon_{name}_total" if kind == "counter" else f"beacon_{name}", dict(labels), value)
    return made


def _gauge(name: str, text: str, samples: _Samples) -> Family:
    return family("gauge", name, text, samples)


def _process(program: supervision.Program) -> dict[str, str]:
    return {"process": program.name}


def _endpoint(statistics: wire.EndpointStatistics) -> dict[str, str]:
    return {"endpoint": statistics.endpoint}
