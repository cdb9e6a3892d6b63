"""`beacon status`: show the state of the whole Beacon, for a person or a program.

It queries the store, supervisord and the run directory. A component that does not answer is shown with the reason, and
the exit code is 0 only if everything is healthy.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import formatting, terminal
from beacon.runtime import heartbeat, run_directory, supervision

_EPILOG = """
\b
Examples:
  beacon status
  beacon status --watch
  beacon status -o json | jq -r '.wrong[]'

\b
Exit codes: 0 healthy, 1 unhealthy, 2 usage error, 69 the store does not answer, 78 BEACON_RUN_DIR is not set.
"""

_TIMEOUT_S = 2.0
_REFRESH_S = 2.0
_HUNG_S = 60.0
_HEALTHY = {"watching", "waiting"}
_ALIVE = {supervision.ProgramState.STARTING, supervision.ProgramState.RUNNING}


@click.command("status", epilog=_EPILOG)
@click.option("-o", "output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Output format.")
@click.option("-w", "--watch", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
def command(output: str, watch: bool) -> None:  # noqa: FBT001
    """Show processes, scopes, deliveries, endpoint, gaps and storage, with their problems first."""
    if watch and output != "text":
        raise click.UsageError("--watch is for terminals: with -o json, call status repeatedly")
    try:
        run_dir = run_directory.private(os.environ)
    except errors.StartError as error:
        terminal.print_line(str(error), err=True)
        sys.exit(error.exit_code)
    code = _show(collect(run_dir), output)
    pause = threading.Event()
    try:
        while watch and not pause.wait(_REFRESH_S):
            snapshot = collect(run_dir)
            click.clear()  # only on a terminal
            code = _show(snapshot, output)
    except KeyboardInterrupt:
        terminal.print_line()
    sys.exit(code)


def _show(snapshot: dict[str, Any], output: str) -> int:
    """Print a snapshot and return its exit code."""
    if output == "text":
        for line in lines(snapshot):
            terminal.print_line(_styled(line, healthy=not snapshot["wrong"]))
    else:
        terminal.document(output, snapshot)
    if snapshot["store"]["why"]:
        return errors.EXIT_UNAVAILABLE
    return errors.EXIT_FAILURE if snapshot["wrong"] else errors.EXIT_OK


def _styled(line: str, *, healthy: bool) -> str:
    """Style titles, and color the first line by health."""
    if line in ("Healthy.", "Unhealthy:"):
        return terminal.styled(line, fg="green" if healthy else "red", bold=True)
    return line if not line or line.startswith(" ") else terminal.styled(line, bold=True)


def collect(run_dir: Path) -> dict[str, Any]:
    """Return everything as plain values: `{"wrong": [sentences], "store": ..., "processes": ..., ...}`."""
    store, statistics = _store(run_dir)
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
        "processes": processes,
        "components": reports,
        "scopes": [asdict(scope) for scope in statistics.scopes] if statistics else [],
        "deliveries": [asdict(endpoint) for endpoint in statistics.endpoints] if statistics else [],
        "gaps": [asdict(gap) for gap in statistics.gaps] if statistics else [],
        "storage": _storage(statistics) if statistics else {},
    }
    return {"wrong": [*silent, *_wrong(snapshot)]} | snapshot


def _store(run_dir: Path) -> tuple[dict[str, Any], wire.Statistics | None]:
    try:
        with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
            state = client.try_call(wire.Ping(), timeout_s=_TIMEOUT_S).state
            statistics = client.try_call(wire.Inspect(), timeout_s=_TIMEOUT_S) if state == "ready" else None
    except errors.BeaconError as error:
        return {"state": "silent", "why": str(error)}, None
    return {"state": state, "why": "" if statistics else f"the store does not serve requests yet: {state}"}, statistics


def _processes(run_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    heartbeats = heartbeat.read(run_directory.hearts_directory(run_dir))
    try:
        programs = supervision.programs(supervision.socket_of(run_dir))
    except errors.TransientError as error:
        return [], [str(error)]
    found = []
    for program in programs:
        ages = [beat.age_s for beat in heartbeats if (beat.process, beat.pid) == (program.name, program.pid)]
        found.append(
            {
                "name": program.name,
                "state": program.state.value,
                "pid": program.pid,
                "up_s": int(time.time()) - program.started_at if program.alive else 0,
                "slowest_beat_s": round(max(ages, default=0.0), 1),
                "why": program.why,
            }
        )
    return found, []


def _storage(statistics: wire.Statistics) -> dict[str, Any]:
    return {
        "database_bytes": statistics.database_bytes,
        "wal_bytes": statistics.wal_bytes,
        "sqlite": statistics.sqlite_version,
        "rows": dict(statistics.rows),
    }


def _wrong(snapshot: dict[str, Any]) -> list[str]:
    """Return a sentence for each problem."""
    sentences = [f"store: {snapshot['store']['why']}"] if snapshot["store"]["why"] else []
    for process in snapshot["processes"]:
        if process["state"] not in _ALIVE:
            sentences.append(f"{process['name']}: {process['state']} {process['why']}".rstrip())
        elif process["slowest_beat_s"] > _HUNG_S:
            sentences.append(f"{process['name']}: a thread has had no heartbeat for {process['slowest_beat_s']:.0f} s")
    for part in snapshot["components"]:
        if part["component"].startswith("scope."):
            sentences += _wrong_scope(part, snapshot)
        elif part["component"] == "claim" and part["state"] != "claiming":
            sentences.append(f"notifier: {part['state']}")
        elif part["component"] == "endpoint" and part["state"] == "down":
            sentences.append(f"endpoint {part.get('endpoint', '')}: down since {part['since']}")
    sentences += [
        f"endpoint {one['endpoint']}: {one['failed']} failed" for one in snapshot["deliveries"] if one["failed"]
    ]
    sentences += [_unreadable(part) for part in snapshot["components"] if part.get("unreadable")]
    return [*sentences, *(_suspicion(suspect) for one in snapshot["deliveries"] for suspect in one["suspects"])]


def _suspicion(suspect: dict[str, Any]) -> str:
    """Describe a delivery that may terminate the notifier, and the next command."""
    name = "/".join(part for part in (suspect["kind"], suspect["namespace"], suspect["name"]) if part)
    return (
        f"delivery {suspect['delivery']} of {name} (event {suspect['event']}): in flight when the notifier last"
        f" terminated ({suspect['deaths']} times), sent alone after {formatting.instant(suspect['not_before_us'])};"
        f" see beacon explain {suspect['event']}"
    )


def _unreadable(part: Mapping[str, Any]) -> str:
    """Describe the unreadable objects of a scope."""
    objects = "1 object" if part["unreadable"] == 1 else f"{part['unreadable']} objects"
    return f"{part['scope']}: {objects} cannot be read: {'; '.join(part['unreadable_objects'])}"


def _wrong_scope(part: dict[str, Any], snapshot: dict[str, Any]) -> list[str]:
    """Describe a scope that is not watched; waiting is healthy until its first list has ended."""
    known = {scope["name"] for scope in snapshot["scopes"] if scope["position_us"]}
    name, reason = part["component"].removeprefix("scope."), part.get("reason", "")
    label = part.get("scope", name)
    if part["state"] == "waiting" and (part.get("listed") or name in known):
        return [f"{label}: waiting, although it was watched before: {reason}"]
    return [] if part["state"] in _HEALTHY else [f"{label}: {part['state']} {reason}".rstrip()]


def lines(snapshot: Mapping[str, Any]) -> Iterator[str]:
    """Render the values of `beacon status`."""
    yield "Healthy." if not snapshot["wrong"] else "Unhealthy:"
    yield from (f"  {sentence}" for sentence in snapshot["wrong"])
    yield from _section(
        "processes",
        (
            (
                one["name"],
                one["state"],
                f"pid {one['pid']}" if one["pid"] else "",
                f"up {formatting.duration(one['up_s'])}",
            )
            for one in snapshot["processes"]
        ),
    )
    yield from _section(
        "scopes",
        (
            (one["label"], "listed" if one["listed"] else "not listed", f"position {one['position']}", _age(one))
            for one in snapshot["scopes"]
        ),
    )
    states = ("ready", "waiting", "queued", "in_flight", "failed", "delivered", "discarded")
    for one in snapshot["deliveries"]:
        yield from _section(f"deliveries to {one['endpoint']}", ((state, str(one[state])) for state in states))
        if one["oldest_us"]:
            yield f"  the oldest pending delivery is {formatting.duration(time.time() - one['oldest_us'] / 1e6)} old"
    endpoints = [one for one in snapshot["components"] if one["component"] == "endpoint"]
    yield from _section(
        "endpoint", ((one.get("endpoint", ""), one["state"], f"since {one['since']}") for one in endpoints)
    )
    yield from _section("gaps, latest first", map(_gap, snapshot["gaps"]), none="none: no interval was unwatched")
    if snapshot["storage"]:
        storage = snapshot["storage"]
        sizes = f"database {formatting.size(storage['database_bytes'])}, log {formatting.size(storage['wal_bytes'])}"
        yield from _section("storage", [(f"{sizes}, SQLite {storage['sqlite']}",)])


def _gap(gap: Mapping[str, Any]) -> Sequence[str]:
    until = formatting.instant(gap["until_us"]) if gap["until_us"] else "still open"
    found = f"{gap['differences']} differences" if gap["differences"] else gap["certainty"]
    return gap["label"], gap["reason"], f"{formatting.instant(gap['since_us'])} to {until}", found


def _age(scope: Mapping[str, Any]) -> str:
    return (
        f"confirmed {formatting.duration(time.time() - scope['position_us'] / 1e6)} ago" if scope["position_us"] else ""
    )


def _section(title: str, rows: Iterable[Sequence[str]], *, none: str = "none") -> Iterator[str]:
    """Render a title and a table below it."""
    cells = [tuple(row) for row in rows]
    yield f"\n{title}"
    if not cells:
        yield f"  {none}"
        return
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
