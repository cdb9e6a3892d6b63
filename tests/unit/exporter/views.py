"""Snapshots of a healthy Beacon, to be modified by tests."""

from dataclasses import replace
from typing import Any

from beacon import wire
from beacon.exporter import snapshot, store_poller
from beacon.runtime import heartbeat, run_directory, supervision

NOW = 1_800_000_000.0
PIDS = {"store": 10, "watcher": 11, "notifier": 12, "exporter": 13, "reconciler": 14}


def statistics(**changes: Any) -> wire.Statistics:
    given: dict[str, Any] = {
        "scopes": (wire.ScopeStatistics(label="pods", listed=True, position=7, position_us=int((NOW - 3) * 1e6)),),
        "endpoints": (
            wire.EndpointStatistics(
                endpoint="default",
                ready=1,
                waiting=2,
                queued=3,
                in_flight=4,
                failed=5,
                delivered=6,
                discarded=0,
                oldest_us=int((NOW - 30) * 1e6),
                suspected=1,
            ),
        ),
        "tracked": {"Pod": 8},
        "rows": {"objects/tracked": 8, "deliveries/delivered": 6},
        "database_bytes": 4096,
        "wal_bytes": 100,
        "sqlite_version": "3.50.0",
        "claimed_us": int((NOW - 1) * 1e6),
    }
    return wire.Statistics(**{**given, **changes})


def _us(seconds: float) -> int:
    return int(seconds * 1e6)


def program(name: str, **changes: Any) -> supervision.Program:
    made = supervision.Program(
        name=name,
        state=supervision.ProgramState.RUNNING,
        pid=PIDS[name],
        started_at=int(NOW - 100),
        stopped_at=0,
        why="",
    )
    return replace(made, **changes)


def report(process: str, component: str, state: str, **fields: Any) -> run_directory.Report:
    since = "2027-01-15T07:59:00.000000Z"  # a minute before NOW
    return run_directory.Report(
        process=process, component=component, pid=PIDS[process], state=state, since=since, fields=fields
    )


def scope(state: str = "watching", **fields: Any) -> run_directory.Report:
    return report("watcher", "scope.Pod", state, **{"scope": "pods", "reason": "", "listed": True, **fields})


def beat(process: str, age_s: float, **changes: Any) -> heartbeat.LastHeartbeat:
    return replace(heartbeat.LastHeartbeat(process=process, thread="main", pid=PIDS[process], age_s=age_s), **changes)


def well(**changes: Any) -> snapshot.Snapshot:
    given: dict[str, Any] = {
        "now": NOW,
        "store": store_poller.StoreAnswer(
            state="ready", since_us=_us(NOW - 90), round_trip_s=0.0012, statistics=statistics()
        ),
        "programs": {name: program(name) for name in PIDS},
        "beats": tuple(beat(name, 0.5) for name in PIDS),
        "reports": (
            scope(),
            report("notifier", "claim", "claiming"),
            report("notifier", "endpoint", "up", breaker="closed"),
            report("reconciler", "reconcile.Pod", "complete", done_us=_us(NOW - 4)),
            report("reconciler", "cleaner", "done", done_us=_us(NOW - 5)),
            report("reconciler", "storage", "ok", done_us=_us(NOW - 6)),
        ),
    }
    return snapshot.Snapshot(**{**given, **changes})


def with_program(name: str, **changes: Any) -> snapshot.Snapshot:
    seen = well()
    return replace(seen, programs={**seen.programs, name: program(name, **changes)})
