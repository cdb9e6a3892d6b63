"""Collects the values of `beacon status` from the store, supervisord, `/ready` and the run directory.

It judges nothing (`problems` does). A component that does not answer in time is missing, with the reason.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beacon import bus, codec, errors, wire
from beacon.cli import endpoint_choice
from beacon.cli.commands.status import endpoints, problems
from beacon.configuration import settings
from beacon.runtime import heartbeat, run_directory, supervision

_TIMEOUT_S = 2.0
_COUNT_S = 3.0
_READY_TIMEOUT_S = 10.0  # longer than the exporter waits for the store
_LARGEST_ANSWER = 4 * 1024 * 1024


def collect(run_dir: Path, endpoint: str = "") -> dict[str, Any]:
    """Return everything as plain values: `{"wrong": [sentences], "store": ..., "processes": ..., ...}`.

    With the name of an endpoint, the others are left out.

    Raises:
        click.UsageError: the store knows no endpoint of that name.
    """
    store, statistics, failed, ready = _store(run_dir)
    processes, silent = _processes(run_dir)
    pids = {process["name"]: process["pid"] for process in processes}
    reports = [
        {"process": report.process, "component": report.component, "state": report.state, "since": report.since}
        | dict(report.fields)
        for report in run_directory.read_reports(run_dir)
        if pids.get(report.process, report.pid) == report.pid
    ]
    snapshot: dict[str, Any] = {
        "store": store,
        "ready": ready,
        "processes": processes,
        "components": reports,
        "scopes": [asdict(scope) for scope in statistics.scopes] if statistics else [],
        "deliveries": [
            asdict(endpoint) | {"failed_by_code": failed.get(endpoint.endpoint, {})}
            for endpoint in statistics.endpoints
        ]
        if statistics
        else [],
        "gaps": [asdict(gap) for gap in statistics.gaps] if statistics else [],
        "storage": _storage(statistics) if statistics else {},
    }
    if endpoint:
        endpoint_choice.check(endpoint, [one["endpoint"] for one in snapshot["deliveries"]] or [endpoint])
        snapshot = _narrowed(snapshot, endpoint)
    snapshot["endpoints"] = list(endpoints.states(snapshot))
    return {"wrong": [*silent, *problems.find(snapshot, now_us=time.time_ns() // 1000)]} | snapshot


def _narrowed(snapshot: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """Leave the other endpoints out, and the check of `/ready` that is about all of them."""
    checks = {name: check for name, check in snapshot["ready"]["checks"].items() if name != "endpoint"}
    return snapshot | {
        "ready": snapshot["ready"] | {"checks": checks},
        "components": [one for one in snapshot["components"] if one.get("endpoint", endpoint) == endpoint],
        "deliveries": [one for one in snapshot["deliveries"] if one["endpoint"] == endpoint],
    }


def _store(
    run_dir: Path,
) -> tuple[dict[str, object], wire.Statistics | None, dict[str, dict[str, int]], dict[str, object]]:
    """Return the store's state and statistics, the failed deliveries, and `/ready`, whose address the store knows."""
    why = "its port is not known while the store does not answer"
    ready: dict[str, object] = {"ok": None, "why": why, "checks": {}}
    try:
        with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
            state = client.try_call(wire.Ping(), timeout_s=_TIMEOUT_S).state
            if state != "ready":
                return {"state": state, "why": f"the store does not serve requests yet: {state}"}, None, {}, ready
            statistics = client.try_call(wire.Inspect(), timeout_s=_TIMEOUT_S)
            failed = {one.endpoint: _count_failed(client, one.endpoint) for one in statistics.endpoints if one.failed}
            health = settings.from_plain(
                client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S).settings
            ).health
    except errors.BeaconError as error:
        return {"state": "silent", "why": str(error)}, None, {}, ready
    return {"state": state, "why": ""}, statistics, failed, _ready(health.port, health.readiness_path)


def _count_failed(client: bus.Client, endpoint: str) -> dict[str, int]:
    """Count the failed deliveries by code; those that the store can't count in a few seconds are left out."""
    counts: Counter[str] = Counter()
    after, more, until = 0, True, time.monotonic() + _COUNT_S
    while more and time.monotonic() < until:
        page = client.try_call(wire.CountFailed(endpoint=endpoint, after=after), timeout_s=_TIMEOUT_S)
        counts.update(page.counts)
        after, more = page.after, page.more
    return dict(counts.most_common())


def _ready(port: int, path: str) -> dict[str, object]:
    connection = http.client.HTTPConnection("localhost", port, timeout=_READY_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer: Mapping[str, Any] = codec.decode(connection.getresponse().read(_LARGEST_ANSWER))
        checks = {
            name: {"ok": check["ok"], "state": check["state"], "why": check["why"]}
            for name, check in answer["checks"].items()
        }
        return {"ok": bool(answer["ready"]), "why": "", "checks": checks}
    except (OSError, http.client.HTTPException) as error:
        return {"ok": None, "why": f"{path} at port {port} does not answer: {error}", "checks": {}}
    except (errors.BeaconError, ValueError, LookupError, TypeError, AttributeError):
        return {"ok": None, "why": f"{path} at port {port} is not answered by Beacon", "checks": {}}
    finally:
        connection.close()


def _processes(run_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    heartbeats = heartbeat.read(run_directory.heartbeats_directory(run_dir))
    try:
        programs = supervision.programs(supervision.socket_of(run_dir))
    except errors.TransientError as error:
        return [], [str(error)]
    found = []
    now = int(time.time())
    for program in programs:
        ages = [beat.age_s for beat in heartbeats if (beat.process, beat.pid) == (program.name, program.pid)]
        found.append(
            {
                "name": program.name,
                "state": program.state.value,
                "pid": program.pid,
                "up_s": now - program.started_at if program.alive else 0,
                "ended_s": now - program.stopped_at if program.stopped_at else None,
                "slowest_beat_s": round(max(ages, default=0.0), 1),
                "why": program.why,
            }
        )
    return found, []


def _storage(statistics: wire.Statistics) -> dict[str, object]:
    return {
        "database_bytes": statistics.database_bytes,
        "wal_bytes": statistics.wal_bytes,
        "sqlite": statistics.sqlite_version,
        "rows": dict(statistics.rows),
    }
