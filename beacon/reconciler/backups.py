"""Scheduled backups: makes a checked copy of the ledger at every interval, and moves it to the backup volume.

The store copies page by page to a file beside the ledger, as for `beacon backup`; a subprocess checks that file, and
another one (`backup_volume`) copies it to the backup volume. So neither the store nor this process uses that volume,
which may hang. The schedule follows the monotonic clock; at the start, the newest backup's name states its age.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.reconciler import backup_names
from beacon.runtime import heartbeat, log, metrics

_TIMEOUT_S = 10.0
_LONGEST_REST_S = 0.05
_FIRST_RETRY_S, _LONGEST_RETRY_S = 60.0, 3600.0
_SILENT_S = 60.0  # how long the backup volume may make no progress
_POLL_S = 0.2
_STAGED = "backup-unfinished"
_NICE = 10  # of the subprocesses, which take some seconds of CPU for a large ledger
_MARGIN = 1.1  # of the space for the copy beside the ledger, which grows with what is written meanwhile


class BackupFailed(errors.TransientError):
    """The backup could not be made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupDependencies:
    """The collaborators of scheduled backups; `report` takes the component's name and its state."""

    stop: threading.Event
    beat: Callable[[], None]
    report: Callable[[str, Mapping[str, object]], None]
    wall: Callable[[], float] = time.time
    clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    silent_s: float = _SILENT_S


class ScheduledBackups:
    """Makes a backup at every interval, and soon after a failure."""

    def __init__(self, config: settings.BackupSettings, storage: settings.Storage, deps: BackupDependencies) -> None:
        """Back up as configured."""
        self._config = config
        self._ledger = Path(storage.db_path)
        self._reserve = storage.reserve_bytes
        self._deps = deps
        self._staged = self._ledger
        self._hanging: subprocess.Popen[str] | None = None
        self._newest: backup_names.StoredBackup | None = None
        self._retry_s = 0.0

    def run(self, client: bus.Client) -> None:
        """Make backups until the process is asked to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must restart.
        """
        metrics.BACKUP_INTERVAL.set(self._config.interval_s)
        metrics.BACKUP_LAST_SUCCESS_TIMESTAMP.set(0)
        metrics.BACKUP_RUNS.labels(result="failed").inc(0)
        try:
            self.remove_staged()
            self._await_store(client)
            is_known = False
            while not self._deps.stop.is_set():
                began = self._deps.clock()
                try:
                    wait_s = 0.0 if is_known else self.find_due_s()
                    is_known = True
                    if not wait_s:
                        self.make(lambda request: client.try_call(request, timeout_s=_TIMEOUT_S))
                        wait_s = self._config.interval_s - (self._deps.clock() - began)
                    self._retry_s = 0.0
                except (BackupFailed, OSError) as error:
                    wait_s = self._failed(str(error))
                self._wait(wait_s)
        except errors.Stopping:
            return
        finally:
            self.remove_staged()

    def _await_store(self, client: bus.Client) -> None:
        """Wait until the store serves the ledger, which it may have to check first."""
        while client.call(wire.Ping()).state != "ready":
            self._pause(1.0)

    def find_due_s(self) -> float:
        """Return in how many seconds the next backup is due, by the age of the newest one on the volume.

        Raises:
            BackupFailed: the volume does not answer, or is not usable.
        """
        found = self._use_volume("list", str(self._config.path))
        if found["name"]:
            (self._newest,) = backup_names.parse([found["name"]])
            metrics.BACKUP_LAST_SUCCESS_TIMESTAMP.set(self._newest.made_at)
            self._report("waiting")
        return backup_names.due_in_s(self._newest, self._config.interval_s, self._deps.wall())

    def make(self, call: wire.Caller) -> None:
        """Make one backup.

        Raises:
            BackupFailed: it could not be made; earlier backups are unchanged.
            errors.Stopping: the process was asked to stop.
        """
        began, now_s = self._deps.clock(), self._deps.wall()
        self._report("running")
        try:
            self.remove_staged()
            # The store takes a name that it knows for the same copy.
            self._staged = self._ledger.with_name(f"{self._ledger.name}.{_STAGED}-{uuid.uuid4().hex[:12]}")
            self._stage(call)
            self._check()
            keep = str(self._config.keep)
            made = self._use_volume("store", str(self._config.path), str(self._staged), keep, repr(now_s))
        finally:
            self.remove_staged()
        (self._newest,) = backup_names.parse([made["name"]])
        seconds = self._deps.clock() - began
        metrics.BACKUP_LAST_SUCCESS_TIMESTAMP.set(now_s)
        metrics.BACKUP_LAST_DURATION.set(seconds)
        metrics.BACKUP_LAST_SIZE.set(made["bytes"])
        metrics.BACKUP_RUNS.labels(result="done").inc()
        self._report("waiting")
        log.get().info("backup made", file=made["name"], bytes=made["bytes"], seconds=round(seconds, 3))

    def remove_staged(self) -> None:
        """Remove copies beside the ledger, which a killed process may have left."""
        prefix = f"{self._ledger.name}.{_STAGED}-"
        with suppress(OSError):
            for one in list(self._ledger.parent.iterdir()):
                if one.name.startswith(prefix):
                    one.unlink(missing_ok=True)

    def _stage(self, call: wire.Caller) -> None:
        """Request a copy of the ledger beside it; give up before the volume gets too full for the store."""
        left = 1
        size = sum(_size(self._ledger.with_name(self._ledger.name + suffix)) for suffix in ("", "-wal"))
        self._require_space(round(size * _MARGIN))
        while left:
            self._deps.beat()
            began = time.monotonic()
            try:
                left = call(wire.Backup(target=str(self._staged))).left
            except (bus.SettingsChanged, errors.Stopping):
                raise
            except errors.BeaconError as error:
                raise BackupFailed(f"the store can't copy the ledger: {error}") from error
            self._require_space(0)
            if self._deps.stop.wait(min(time.monotonic() - began, _LONGEST_REST_S)):
                raise errors.Stopping("stopped while copying the ledger")

    def _require_space(self, needed: int) -> None:
        volume = os.statvfs(self._ledger.parent)
        available = volume.f_bavail * volume.f_frsize
        if available < needed + 2 * self._reserve:
            message = (
                f"the ledger's volume has {available} bytes free: too few for a copy beside the ledger"
                f" ({needed} bytes, and twice storage.reserve)"
            )
            raise BackupFailed(message)

    def _check(self) -> None:
        """Check the copy as `beacon verify` does, in a process of the store's code."""
        command = [sys.executable, "-m", "beacon.store.recovery.verification", str(self._staged)]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as problems:  # a pipe could fill up
            check = subprocess.Popen(command, stdout=problems, stderr=subprocess.STDOUT)  # noqa: S603  no shell
            _lower_priority(check.pid)
            try:
                while check.poll() is None:
                    self._pause(_POLL_S)
            finally:
                if check.poll() is None:
                    check.kill()
                    check.wait()
            if check.returncode:
                problems.seek(0)
                first = problems.readline().strip() or f"exit code {check.returncode}"
                raise BackupFailed(f"the copy of the ledger is damaged: {first}")

    def _use_volume(self, *arguments: str) -> dict[str, Any]:
        """Run `backup_volume`, and return its result; abandon it if it hangs."""
        if self._hanging is not None and self._hanging.poll() is None:
            raise BackupFailed(f"the backup volume {self._config.path} still does not answer")
        command = [sys.executable, "-m", "beacon.reconciler.backup_volume", *arguments]
        self._hanging = run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  no shell
        _lower_priority(run.pid)
        try:
            last = self._last_line(run)
        finally:
            if run.poll() is None:
                run.kill()  # a process that waits for the volume ends only when that answers
            if run.stdout:
                run.stdout.close()
        try:
            result: dict[str, Any] = json.loads(last)
        except ValueError as error:
            raise BackupFailed(f"the process that writes backups ended with code {run.returncode}") from error
        if "error" in result:
            raise BackupFailed(result["error"])
        return result

    def _last_line(self, run: "subprocess.Popen[str]") -> str:
        """Return the last line that the process writes before it ends.

        Raises:
            BackupFailed: it made no progress for too long.
        """
        assert run.stdout is not None  # noqa: S101  it is a pipe
        descriptor = run.stdout.fileno()
        heard_at, text = time.monotonic(), b""
        while True:
            readable, _, _ = select.select([descriptor], [], [], _POLL_S)
            if readable:
                part = os.read(descriptor, 65_536)
                if not part:
                    with suppress(subprocess.TimeoutExpired):
                        run.wait(_TIMEOUT_S)
                    return text.decode(errors="replace").strip().rpartition("\n")[2]
                heard_at, text = time.monotonic(), (text + part)[-65_536:]
            elif time.monotonic() - heard_at > self._deps.silent_s:
                raise BackupFailed(
                    f"the backup volume {self._config.path} has not answered for {self._deps.silent_s:g} s"
                )
            self._pause(0.0)

    def _failed(self, reason: str) -> float:
        """Report a failure, and return in how many seconds to try again."""
        if not self._retry_s:
            log.get().warning("backup failed", reason=reason)
        metrics.BACKUP_RUNS.labels(result="failed").inc()
        self._report("failed", reason)
        self._retry_s = min(max(_FIRST_RETRY_S, 2 * self._retry_s), _LONGEST_RETRY_S, self._config.interval_s)
        return self._retry_s

    def _report(self, state: str, reason: str = "") -> None:
        newest = self._newest
        made_us = round(newest.made_at * 1e6) if newest else 0
        values = {"state": state, "reason": reason, "made_us": made_us, "file": newest.name if newest else ""}
        self._deps.report("backup", values | {"interval_s": self._config.interval_s})

    def _pause(self, seconds: float) -> None:
        self._deps.beat()
        if self._deps.stop.wait(seconds):
            raise errors.Stopping("stopped during a backup")

    def _wait(self, seconds: float) -> None:
        until = self._deps.clock() + seconds
        while (left_s := until - self._deps.clock()) > 0:
            self._pause(min(left_s, heartbeat.IDLE_S))


def _lower_priority(pid: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
