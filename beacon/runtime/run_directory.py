"""The run directory: sockets, heartbeats, metric files and reports of the processes.

`$BEACON_RUN_DIR` is set by the operator, and supervisord has its socket, pid file and log in it. Beacon creates the
subdirectory `beacon` of mode 0700 for itself, because a random UID can't change the mode of a mounted volume. Its
content belongs to one supervisord: the store clears it at startup if it belongs to another one, and the other processes
wait for that. So no counter continues from an earlier container, and no heartbeat of a dead process is read.
Reports are the states that processes publish for the exporter and the CLI; this module does not interpret them.
Standard library only, because the sentinel reads them, too.
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
EXIT_REASON = "end"  # the component that holds why a process failed
_MARKER = "supervisor"
_POLL_S = 0.05
_LONGEST_NAME = 200  # bytes; a file name may have 255
_LONGEST_REPORT = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The last published state of a component of a process; `fields` are the values besides `state`."""

    process: str
    component: str
    pid: int
    state: str
    since: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def metrics_directory(run_dir: Path) -> Path:
    """Return the directory of the metric files."""
    return run_dir / "metrics"


def heartbeats_directory(run_dir: Path) -> Path:
    """Return the directory of the heartbeats."""
    return run_dir / "heartbeat"


def reports_directory(run_dir: Path) -> Path:
    """Return the directory of the reports."""
    return run_dir / "state"


def private(environ: Mapping[str, str]) -> Path:
    """Return Beacon's private directory within `$BEACON_RUN_DIR`; it need not exist yet.

    Raises:
        errors.StartError: the variable is not set.
    """
    value = environ.get(VARIABLE, "")
    if not value:
        raise errors.StartError(f"{VARIABLE} is not set: set it to a writable directory", exit_code=errors.EXIT_CONFIG)
    return Path(value).absolute() / "beacon"


def prepare(environ: Mapping[str, str]) -> Path:
    """Create Beacon's private directory within `$BEACON_RUN_DIR` and return it.

    Raises:
        errors.StartError: the variable is not set, or the directory can't be created or belongs to another user.
    """
    run_dir = private(environ)
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if run_dir.stat().st_uid != os.geteuid():
            raise errors.StartError(f"{run_dir} belongs to another user", exit_code=errors.EXIT_CANNOT_CREATE)
        run_dir.chmod(0o700)
    except OSError as error:
        message = f"{VARIABLE}={environ[VARIABLE]} can't be used: {error.strerror}: {error.filename}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error
    return run_dir


def supervisor_of(environ: Mapping[str, str], parent: int) -> str:
    """Return a unique name of the supervisord that started this process; "" if it was started by hand."""
    if "SUPERVISOR_ENABLED" not in environ:
        return ""
    # The start time distinguishes processes with the same pid, the boot id distinguishes boots of the machine.
    started = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{parent} {started} {boot}"


def boot(run_dir: Path, supervisor: str) -> bool:
    """Clear the files of another supervisord's processes. Return True if the directory was cleared.

    Called only by the store, first thing at startup. If it was started by hand (`supervisor` is ""), nothing is
    cleared: processes started by other shells may use the directory.
    """
    if not supervisor or booted(run_dir, supervisor):
        _make_subdirectories(run_dir)
        return False
    for directory in _subdirectories(run_dir):
        if directory.exists():
            shutil.rmtree(directory)
    _make_subdirectories(run_dir)
    _write(run_dir / _MARKER, supervisor.encode())
    return True


def booted(run_dir: Path, supervisor: str) -> bool:
    """Return True if the directory belongs to this supervisord."""
    try:
        return files.read_text(run_dir / _MARKER, most_bytes=_LONGEST_NAME) == supervisor
    except FileNotFoundError:
        return False


def await_boot(run_dir: Path, supervisor: str, stop: threading.Event) -> None:
    """Wait until the store has cleared the directory for this supervisord; return at once if started by hand.

    No other process may create files in it before: a file that is created meanwhile makes the clearing fail.

    Raises:
        errors.Stopping: the process was asked to stop.
    """
    while supervisor and not booted(run_dir, supervisor):
        if stop.wait(_POLL_S):
            raise errors.Stopping("stopped while waiting for the store to clear the run directory")
    _make_subdirectories(run_dir)


def forget(run_dir: Path, process: str) -> None:
    """Remove the heartbeats and reports of the previous process of this role."""
    for directory in (heartbeats_directory(run_dir), reports_directory(run_dir)):
        for path in directory.glob(f"{process}.*"):
            path.unlink(missing_ok=True)


def report_of(run_dir: Path, process: str, component: str) -> Report | None:
    """Return the last report of one component of a process, which may have ended."""
    return _read_report(reports_directory(run_dir) / f"{process}.{_file_name(component)}.json")


class Reporter:
    """Publishes the states of one process' components; thread-safe."""

    def __init__(
        self, run_dir: Path, process: str, *, now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        """Publish for `process`."""
        self._directory = reports_directory(run_dir)
        self._process = process
        self._now_us = now_us
        self._lock = threading.Lock()
        self._last: dict[str, dict[str, object]] = {}
        self._since: dict[str, str] = {}

    def report(self, component: str, state: Mapping[str, object], *, part: str = "") -> None:
        """Publish `{"state": ..., ...}` if it has changed; `since` is the time when `state` last changed.

        A component of several parts has a report for each.
        """
        current, key = dict(state), f"{component}.{part}" if part else component
        with self._lock:
            last = self._last.get(key)
            if last == current:
                return
            if last is None or last.get("state") != current.get("state"):
                self._since[key] = instants.rfc3339(self._now_us())
            head = {"process": self._process, "component": component, "pid": os.getpid()}
            line = json.dumps({**current, **head, "since": self._since[key]})
            path = self._directory / f"{self._process}.{_file_name(key)}.json"
            if _publish(path, line.encode()):
                self._last[key] = current
            else:
                self._last.pop(key, None)  # so that the next report is written in any case


def read_reports(run_dir: Path) -> tuple[Report, ...]:
    """Return the last reports of all components of all processes, which may have ended."""
    reports = (_read_report(path) for path in sorted(reports_directory(run_dir).glob("*.json")))
    return tuple(report for report in reports if report is not None)


def _read_report(path: Path) -> Report | None:
    try:
        fields = json.loads(files.read(path, most_bytes=_LONGEST_REPORT, follow=False))
        head = {key: fields.pop(key) for key in ("process", "component", "pid", "state", "since")}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return None  # removed meanwhile, or not a report
    return Report(**head, fields=fields)


def _make_subdirectories(run_dir: Path) -> None:
    for directory in _subdirectories(run_dir):
        directory.mkdir(mode=0o700, exist_ok=True)


def _subdirectories(run_dir: Path) -> tuple[Path, Path, Path]:
    return metrics_directory(run_dir), heartbeats_directory(run_dir), reports_directory(run_dir)


def _file_name(component: str) -> str:
    name = quote(component, safe="@")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(component.encode()).hexdigest()


def _publish(path: Path, data: bytes) -> bool:
    """Write a report; return False if the volume is full, which must not terminate the process."""
    try:
        _write(path, data)
    except OSError:
        try:
            files.write(path, data)  # in the space of the previous report
        except OSError:
            return False
    return True


def _write(path: Path, data: bytes) -> None:
    """Replace a file atomically, so that no reader sees a partial file."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        files.write(aside, data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
