"""`beacon status`: one look at everything, for a person or a program.

It asks the store, supervisord and the run directory. Whatever does not answer is shown as such, with the reason; the
exit code says whether all is well.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
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
Exit codes: 0 all is well, 1 something is not, 2 wrong use, 69 the store does not answer, 78 BEACON_RUN_DIR is not set.
"""

_PATIENCE_S = 2.0
_EVERY_S = 2.0
_HUNG_S = 60.0
_WELL = {"watching", "waiting"}
_ALIVE = {supervision.ProgramState.STARTING, supervision.ProgramState.RUNNING}


@click.command("status", epilog=_EPILOG)
@click.option("-o", "output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Form of the answer.")
@click.option("-w", "--watch", is_flag=True, help="Show it anew every two seconds, until Ctrl-C.")
def command(output: str, watch: bool) -> None:  # noqa: FBT001
    """Show processes, scopes, deliveries, endpoint, gaps and storage, and what is wrong with them."""
    if watch and output != "text":
        raise click.UsageError("--watch is for people; for programs call status again and again")
    try:
        run_dir = run_directory.private(os.environ)
    except errors.StartError as error:
        terminal.say(str(error), err=True)
        sys.exit(error.exit_code)
    code = _show(look(run_dir), output)
    pause = threading.Event()
    try:
        while watch and not pause.wait(_EVERY_S):
            seen = look(run_dir)
            click.clear()  # of a terminal; elsewhere one screen follows the other
            code = _show(seen, output)
    except KeyboardInterrupt:
        terminal.say()
    sys.exit(code)


def _show(seen: dict[str, Any], output: str) -> int:
    """Print what was seen and give the exit code that goes with it."""
    if output == "text":
        for line in formatting.status(seen):
            terminal.say(_styled(line, well=not seen["wrong"]))
    else:
        terminal.document(output, seen)
    if seen["store"]["why"]:
        return errors.EXIT_UNAVAILABLE
    return errors.EXIT_FAILURE if seen["wrong"] else errors.EXIT_OK


def _styled(line: str, *, well: bool) -> str:
    """Let a title stand out, and the first line say at a glance how things are."""
    if line in ("All is well.", "Not well:"):
        return terminal.styled(line, fg="green" if well else "red", bold=True)
    return line if not line or line.startswith(" ") else terminal.styled(line, bold=True)


def look(run_dir: Path) -> dict[str, Any]:
    """Gather everything as plain values: `{"wrong": [sentences], "store": ..., "processes": ..., ...}`."""
    store, figures = _store(run_dir)
    processes, silent = _processes(run_dir)
    pids = {process["name"]: process["pid"] for process in processes}
    reports = [
        {"process": report.process, "component": report.component, "state": report.state, "since": report.since}
        | dict(report.fields)
        for report in run_directory.read_reports(run_dir)
        if pids.get(report.process, report.pid) == report.pid
    ]
    seen: dict[str, Any] = {
        "store": store,
        "processes": processes,
        "components": reports,
        "scopes": [asdict(scope) for scope in figures.scopes] if figures else [],
        "deliveries": [asdict(endpoint) for endpoint in figures.endpoints] if figures else [],
        "gaps": [asdict(gap) for gap in figures.gaps] if figures else [],
        "storage": _storage(figures) if figures else {},
    }
    return {"wrong": [*silent, *_wrong(seen)]} | seen


def _store(run_dir: Path) -> tuple[dict[str, Any], wire.Statistics | None]:
    try:
        with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
            state = client.try_call(wire.Ping(), timeout_s=_PATIENCE_S).state
            figures = client.try_call(wire.Inspect(), timeout_s=_PATIENCE_S) if state == "ready" else None
    except errors.BeaconError as error:
        return {"state": "silent", "why": str(error)}, None
    return {"state": state, "why": "" if figures else f"the store is not serving yet: {state}"}, figures


def _processes(run_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    beats = heartbeat.read(run_directory.heartbeats_directory(run_dir))
    try:
        programs = supervision.programs(supervision.socket_of(run_dir))
    except errors.TransientError as error:
        return [], [str(error)]
    found = []
    for program in programs:
        ages = [beat.age_s for beat in beats if (beat.process, beat.pid) == (program.name, program.pid)]
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


def _storage(figures: wire.Statistics) -> dict[str, Any]:
    return {
        "database_bytes": figures.database_bytes,
        "wal_bytes": figures.wal_bytes,
        "sqlite": figures.sqlite_version,
        "rows": dict(figures.rows),
    }


def _wrong(seen: dict[str, Any]) -> list[str]:
    """Say in sentences what is not as it should be."""
    said = [f"store: {seen['store']['why']}"] if seen["store"]["why"] else []
    for process in seen["processes"]:
        if process["state"] not in _ALIVE:
            said.append(f"{process['name']}: {process['state']} {process['why']}".rstrip())
        elif process["slowest_beat_s"] > _HUNG_S:
            said.append(f"{process['name']}: a thread has not moved for {process['slowest_beat_s']:.0f} s")
    for part in seen["components"]:
        if part["component"].startswith("scope."):
            said += _wrong_scope(part, seen)
        elif part["component"] == "claim" and part["state"] != "claiming":
            said.append(f"notifier: {part['state']}")
        elif part["component"] == "endpoint" and part["state"] == "down":
            said.append(f"endpoint {part.get('endpoint', '')}: down since {part['since']}")
    said += [f"endpoint {one['endpoint']}: {one['failed']} failed" for one in seen["deliveries"] if one["failed"]]
    said += [_unreadable(part) for part in seen["components"] if part.get("unreadable")]
    return [*said, *(_suspicion(suspect) for one in seen["deliveries"] for suspect in one["suspects"])]


def _suspicion(suspect: dict[str, Any]) -> str:
    """Describe a delivery that may be what terminates the notifier, and where to look."""
    name = "/".join(part for part in (suspect["kind"], suspect["namespace"], suspect["name"]) if part)
    return (
        f"delivery {suspect['delivery']} of {name} (event {suspect['event']}): under way at the notifier's last"
        f" {suspect['deaths']} deaths, next sent alone after {formatting.instant(suspect['not_before_us'])};"
        f" see beacon explain {suspect['event']}"
    )


def _unreadable(part: Mapping[str, Any]) -> str:
    """Return the sentence about a scope's objects that can't be read."""
    objects = "1 object" if part["unreadable"] == 1 else f"{part['unreadable']} objects"
    return f"{part['scope']}: {objects} can't be read: {'; '.join(part['unreadable_objects'])}"


def _wrong_scope(part: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    """Return the sentence about a scope that is not followed; waiting is well until it has been listed once."""
    known = {scope["name"] for scope in seen["scopes"] if scope["position_us"]}
    name, reason = part["component"].removeprefix("scope."), part.get("reason", "")
    label = part.get("scope", name)
    if part["state"] == "waiting" and (part.get("listed") or name in known):
        return [f"{label}: waiting, although it was followed before: {reason}"]
    return [] if part["state"] in _WELL else [f"{label}: {part['state']} {reason}".rstrip()]
