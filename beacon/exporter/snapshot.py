"""A snapshot of Beacon's state: the store's answer, supervisord's programs, heartbeats and reports.

It collects data and does not evaluate it. A source that does not answer in time is missing, with the reason.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path

from beacon import errors
from beacon.exporter import store_poller
from beacon.runtime import heartbeat, metrics, run_directory, supervision

_TIMEOUT_S = 2.0 * store_poller.TIMEOUT_S + 0.4  # a running poll ends before ours starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot. `supervisor_error` is the reason why `programs` had to be derived from heartbeats."""

    now: float
    store: store_poller.StoreAnswer
    programs: Mapping[str, supervision.Program]
    supervisor_error: str = ""
    beats: tuple[heartbeat.LastHeartbeat, ...] = ()
    reports: tuple[run_directory.Report, ...] = ()

    def reports_of(self, process: str) -> tuple[run_directory.Report, ...]:
        """Return the reports of the running process with this name, without those of an earlier one."""
        program = self.programs.get(process)
        pid = program.pid if program else 0
        return tuple(report for report in self.reports if report.process == process and report.pid == pid)

    def beats_of(self, process: str) -> tuple[heartbeat.LastHeartbeat, ...]:
        """Return the heartbeats of the running process with this name."""
        program = self.programs.get(process)
        pid = program.pid if program else 0
        return tuple(beat for beat in self.beats if beat.process == process and beat.pid == pid)


class SnapshotReader:
    """Takes snapshots."""

    def __init__(
        self,
        run_dir: Path,
        ask: Callable[[], "Future[store_poller.StoreAnswer]"],
        *,
        supervised: bool,
        list_programs: Callable[[Path], tuple[supervision.Program, ...]] = supervision.programs,
        count_dropped: Callable[[Path], int] = supervision.dropped_lines,
    ) -> None:
        """Observe the processes of `run_dir`; `supervised` is True if supervisord started this process."""
        self._run_dir = run_dir
        self._ask = ask
        self._supervised = supervised
        self._list_programs = list_programs
        self._count_dropped = count_dropped
        self._dropped = 0

    def read(self) -> Snapshot:
        """Return a new snapshot, within the longest timeout of its sources."""
        asked = self._ask()
        beats = heartbeat.read(run_directory.heartbeats_directory(self._run_dir))
        programs, why = self._programs(beats)
        return Snapshot(
            now=time.time(),
            store=_await_answer(asked),
            programs={program.name: program for program in programs},
            supervisor_error=why,
            beats=beats,
            reports=run_directory.read_reports(self._run_dir),
        )

    def _programs(self, beats: tuple[heartbeat.LastHeartbeat, ...]) -> tuple[tuple[supervision.Program, ...], str]:
        if not self._supervised:
            return _programs_from_heartbeats(beats), ""
        try:
            found = self._list_programs(supervision.socket_of(self._run_dir))
        except errors.TransientError as error:
            return _programs_from_heartbeats(beats), str(error)
        self._count_dropped_lines()
        return found, ""

    def _count_dropped_lines(self) -> None:
        """Count the lines that supervisord has dropped since the last snapshot."""
        try:
            dropped = self._count_dropped(supervision.socket_of(self._run_dir))
        except errors.TransientError:
            return
        metrics.LOG_LINES_DROPPED.labels(process="supervisord").inc(
            dropped - self._dropped if dropped >= self._dropped else dropped
        )
        self._dropped = dropped


def _await_answer(asked: "Future[store_poller.StoreAnswer]") -> store_poller.StoreAnswer:
    try:
        return asked.result(_TIMEOUT_S)
    except FutureTimeoutError:
        return store_poller.StoreAnswer(state="silent", why="the store does not answer")


def _programs_from_heartbeats(beats: tuple[heartbeat.LastHeartbeat, ...]) -> tuple[supervision.Program, ...]:
    """Return the running processes according to their heartbeats, for use without supervisord."""
    pids = {beat.process: beat.pid for beat in beats if _is_alive(beat.pid)}
    return tuple(
        supervision.Program(
            name=name, state=supervision.ProgramState.RUNNING, pid=pid, started_at=0, stopped_at=0, why=""
        )
        for name, pid in sorted(pids.items())
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
