"""The run directory: where sockets, heartbeats, metric files and reports of the processes lie, and when they are void.

`$BEACON_RUN_DIR` is given, and supervisord keeps its own socket, pid file and log in it; Beacon makes the subdirectory
`beacon` of mode 0700 for itself, because a mounted volume can't be chmodded by a random UID. What lies there is of one
supervisord: the store, as the first process, clears it when it finds another's, and the others wait for that, so that
no counter goes on from an earlier container and no heartbeat of the dead is read. Reports are the states that
processes publish for the exporter and for people. Nothing here knows what they mean.
Standard library only, because the sentinel reads them too.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from beacon import errors
from beacon.boundary import files
from beacon.domain import instants

VARIABLE = "BEACON_RUN_DIR"
EXIT_REASON = "end"  # the component under which a process that fails reports why
_MARKER = "supervisor"
_POLL_S = 0.05
_LONGEST_NAME = 200  # bytes; a file name may have 255
_LONGEST_REPORT = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a component of a process said of itself last. `fields` is what it said besides its state."""

    process: str
    component: str
    pid: int
    state: str
    since: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def metrics_directory(run_dir: Path) -> Path:
    """Name where the metric files lie."""
    return run_dir / "metrics"


def heartbeats_directory(run_dir: Path) -> Path:
    """Name where the heartbeats lie."""
    return run_dir / "heartbeat"


def reports_directory(run_dir: Path) -> Path:
    """Name where the reports lie."""
    return run_dir / "state"


def private(environ: Mapping[str, str]) -> Path:
    """Name Beacon's private directory within `$BEACON_RUN_DIR`; it need not exist yet.

    Raises:
        errors.StartError: the variable is not set.
    """
    given = environ.get(VARIABLE, "")
    if not given:
        raise errors.StartError(f"{VARIABLE} is not set: name a writable directory", exit_code=errors.EXIT_CONFIG)
    return Path(given).absolute() / "beacon"


def prepare(environ: Mapping[str, str]) -> Path:
    """Make Beacon's private directory within `$BEACON_RUN_DIR` and give it.

    Raises:
        errors.StartError: the variable is not set, or the directory can't be made or is somebody else's.
    """
    run_dir = private(environ)
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if run_dir.stat().st_uid != os.geteuid():
            raise errors.StartError(f"{run_dir} is another user's", exit_code=errors.EXIT_CANNOT_CREATE)
        run_dir.chmod(0o700)
    except OSError as error:
        message = f"{VARIABLE}={environ[VARIABLE]} can't be used: {error.strerror}: {error.filename}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    return run_dir


def supervisor_of(environ: Mapping[str, str], parent: int) -> str:
    """Name the supervisord that started this process, distinct from every other; "" when started by hand."""
    if "SUPERVISOR_ENABLED" not in environ:
        return ""
    # The start time tells a process from an earlier one of the same pid, the boot id tells two boots of the machine.
    started = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{parent} {started} {boot}"


def boot(run_dir: Path, supervisor: str) -> bool:
    """Clear what another supervisord's processes left. The store alone does this, before all else; says whether.

    Started by hand (`supervisor` is ""), nothing is cleared: processes that other shells started may be living here.
    """
    if not supervisor or booted(run_dir, supervisor):
        _furnish(run_dir)
        return False
    for directory in _subdirectories(run_dir):
        if directory.exists():
            shutil.rmtree(directory)
    _furnish(run_dir)
    _write(run_dir / _MARKER, supervisor.encode())
    return True


def booted(run_dir: Path, supervisor: str) -> bool:
    """Say whether the directory is already that of the given supervisord."""
    try:
        return files.read_text(run_dir / _MARKER, most_bytes=_LONGEST_NAME) == supervisor
    except FileNotFoundError:
        return False


def await_boot(run_dir: Path, supervisor: str, stop: threading.Event) -> None:
    """Wait until the store has made the directory that of our supervisord; by hand, don't wait.

    Only then may anybody make anything in it: what is made while the store clears makes the clearing fail.

    Raises:
        errors.Stopping: the process is to stop.
    """
    while supervisor and not booted(run_dir, supervisor):
        if stop.wait(_POLL_S):
            raise errors.Stopping("stopped while waiting for the store to clear the run directory")
    _furnish(run_dir)


def forget(run_dir: Path, process: str) -> None:
    """Remove the heartbeats and reports of a process' earlier life."""
    for directory in (heartbeats_directory(run_dir), reports_directory(run_dir)):
        for path in directory.glob(f"{process}.*"):
            path.unlink(missing_ok=True)


def report_of(run_dir: Path, process: str, component: str) -> Report | None:
    """Read what one component of one process, living or dead, said of itself last."""
    return _read_report(reports_directory(run_dir) / f"{process}.{_file_name(component)}.json")


class Reporter:
    """Publishes the states of one process' components; for all its threads."""

    def __init__(
        self, run_dir: Path, process: str, *, now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        """Publish for `process`."""
        self._directory = reports_directory(run_dir)
        self._process = process
        self._now_us = now_us
        self._lock = threading.Lock()
        self._last: dict[str, dict[str, Any]] = {}
        self._since: dict[str, str] = {}

    def report(self, component: str, state: Mapping[str, Any]) -> None:
        """Publish `{"state": ..., ...}`; writes only when something changed. `since` is when `state` became this."""
        said = dict(state)
        with self._lock:
            last = self._last.get(component)
            if last == said:
                return
            if last is None or last.get("state") != said.get("state"):
                self._since[component] = instants.rfc3339(self._now_us())
            head = {"process": self._process, "component": component, "pid": os.getpid()}
            line = json.dumps({**said, **head, "since": self._since[component]})
            path = self._directory / f"{self._process}.{_file_name(component)}.json"
            if _publish(path, line.encode()):
                self._last[component] = said
            else:
                self._last.pop(component, None)  # the next report is written whatever it is


def read_reports(run_dir: Path) -> tuple[Report, ...]:
    """Read what all components of all processes, living or dead, said of themselves last."""
    reports = (_read_report(path) for path in sorted(reports_directory(run_dir).glob("*.json")))
    return tuple(report for report in reports if report is not None)


def _read_report(path: Path) -> Report | None:
    try:
        said = json.loads(files.read(path, most_bytes=_LONGEST_REPORT, follow=False))
        head = {key: said.pop(key) for key in ("process", "component", "pid", "state", "since")}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return None  # removed meanwhile, or not a report
    return Report(**head, fields=said)


def _furnish(run_dir: Path) -> None:
    for directory in _subdirectories(run_dir):
        directory.mkdir(mode=0o700, exist_ok=True)


def _subdirectories(run_dir: Path) -> tuple[Path, Path, Path]:
    return metrics_directory(run_dir), heartbeats_directory(run_dir), reports_directory(run_dir)


def _file_name(component: str) -> str:
    name = quote(component, safe="@")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(component.encode()).hexdigest()


def _publish(path: Path, data: bytes) -> bool:
    """Write a report; return False if there is no room for it, which must not end the process that it is about."""
    try:
        _write(path, data)
    except OSError:
        try:
            files.write(path, data)  # in the room of the report before
        except OSError:
            return False
    return True


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        files.write(aside, data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
