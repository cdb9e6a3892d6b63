"""The sentinel's main loop: receives supervisord's events, checks heartbeats, and carries out the `decisions`.

It acts before it acknowledges an event, so if it dies in between, supervisord sends the event again. It does nothing
while supervisord shuts down.
"""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from beacon import errors
from beacon.runtime import heartbeat, run_directory, supervision
from beacon.sentinel import causes, decisions, protocol, restart_state, stderr_log
from beacon.sentinel.decisions import Action

_TICKS = os.sysconf("SC_CLK_TCK")
_READER = "store"


class SupervisorMonitor:
    """Monitors the programs of one supervisord."""

    def __init__(self, run_dir: Path, supervisor: str, *, limits: decisions.Limits, environ: Mapping[str, str]) -> None:
        """Monitor the processes of `run_dir`, which belongs to the given supervisord."""
        self._run_dir = run_dir
        self._supervisor = supervisor
        self._limits = limits
        self._environ = environ
        self._socket = supervision.socket_of(run_dir)
        self._restart_state = restart_state.RestartState(run_dir, supervisor)
        self._heartbeat: heartbeat.Heartbeat | None = None
        self._booted_at: float | None = None  # when the run directory was first found to be this supervisord's
        self._shutting_down = False
        self._killed: set[str] = set()
        self._awake_since = time.monotonic()
        self._obstacle = heartbeat.Obstacle.NONE
        self._obstructed_at = dict.fromkeys(heartbeat.Obstacle, self._awake_since)  # when it was last found
        # The first check is due at once: a program may have been given up already.
        self._checked_at = self._awake_since - limits.check_interval_s

    def run(self, listener: protocol.EventListener) -> None:
        """Monitor until asked to stop.

        Raises:
            errors.Stopping: the process must stop.
        """
        while True:
            event = listener.wait(self._wait_s())
            if event is not None:
                self._handle(event)
            if time.monotonic() - self._checked_at >= self._limits.check_interval_s:
                self._check()
            self._restart_held()
            if event is not None:
                listener.done()

    def _wait_s(self) -> float:
        dues = [self._checked_at + self._limits.check_interval_s, *self._restart_state.held().values()]
        return max(0.0, min(dues) - time.monotonic())

    def _handle(self, event: protocol.Event) -> None:
        action = decisions.action_for(event)
        if action is Action.STAND_DOWN:
            self._shutting_down = True
        if self._shutting_down or action is Action.NOTHING:
            return
        if action is Action.CHECK:
            # A check wakes supervisord, which may tick at once: do not check a process that was just killed again.
            if time.monotonic() - self._checked_at >= self._limits.check_interval_s / 2:
                self._check()
        elif action is Action.RELEASE:
            self._restart_state.release(event.program)
        elif action is Action.THROTTLE:
            self._throttle(event.program)
        else:
            self._handle_end(event.program, action)

    def _handle_end(self, program: str, action: Action) -> None:
        end = causes.last_end(self._run_dir, program)
        # Only the store reads the configuration. A watcher that rejects a foreign cluster exits with the same code, but
        # must not end the pod, which leaves time for `beacon adopt`.
        refused = end.code == errors.EXIT_CONFIG and program == _READER
        if action is Action.END_POD or refused:
            self._end_pod(end.sentence(program))
            return
        if action is Action.COUNT_DEATH:
            self._restart_state.record_death(program, time.monotonic())
        self._log_death(program, end)

    def _log_death(self, program: str, end: causes.End) -> None:
        """Log the death of a program, with the reason that it reported; the sentinel's own kills are logged already."""
        if program not in self._killed and end.code != errors.EXIT_OK:
            reason = {"reason": end.reason} if end.reason else {}
            stderr_log.write("warning", "died", program=program, how=end.how, **reason)
        self._killed.discard(program)

    def _throttle(self, program: str) -> None:
        """Stop a program that died too often, and start it after a pause."""
        now = time.monotonic()
        deaths = self._restart_state.deaths(program)
        pause_s = decisions.pause_s(deaths, now, free=self._limits.free_deaths)
        if not pause_s:
            return
        try:
            supervision.stop(self._socket, program)
        except errors.TransientError as error:
            stderr_log.write("warning", "hold failed", program=program, reason=str(error))
            return
        self._restart_state.hold(program, now + pause_s)
        died = len(decisions.recent(deaths, now))
        stderr_log.write(
            "error", "held back", program=program, deaths=died, within_s=decisions.WINDOW_S, pause_s=pause_s
        )

    def _restart_held(self) -> None:
        """Start the programs whose pause has ended."""
        now = time.monotonic()
        for program in [
            name for name, until in self._restart_state.held().items() if until <= now and not self._shutting_down
        ]:
            try:
                if self._is_stopping(program):
                    continue  # supervisord would accept the request and do nothing
                supervision.start(self._socket, program)
            except errors.TransientError as error:
                stderr_log.write("warning", "restart failed", program=program, reason=str(error))
                self._restart_state.hold(program, now + self._limits.check_interval_s)
                continue
            self._restart_state.release(program)
            stderr_log.write("info", "restarted", program=program)

    def _is_stopping(self, name: str) -> bool:
        programs = supervision.programs(self._socket)
        return any(one.name == name and one.state is supervision.ProgramState.STOPPING for one in programs)

    def _check(self) -> None:
        """Check all programs: kill hung processes, and end the pod if a program is FATAL."""
        now = time.monotonic()
        if now - self._checked_at > 3 * self._limits.check_interval_s + 1:
            self._awake_since = now
        self._checked_at = now
        self._beat(now)
        if self._shutting_down:
            return
        try:
            programs = supervision.programs(self._socket)
        except supervision.ShuttingDown:
            self._shutting_down = True  # its event will follow
            return
        except errors.TransientError as error:
            stderr_log.write("warning", "check failed", reason=str(error))
            return
        lost = decisions.given_up(programs)
        if lost is not None:
            self._end_pod(causes.last_end(self._run_dir, lost.name).sentence(lost.name))
            return
        for one in decisions.hung(self._snapshot(programs, now), self._limits.hung_s):
            self._killed.add(one.program)
            _kill(one)

    def _snapshot(self, programs: tuple[supervision.Program, ...], now: float) -> decisions.ProcessSnapshot:
        directory = run_directory.heartbeats_directory(self._run_dir)
        self._note_obstacle(heartbeat.obstacle(directory), now)
        ages_s = {program.pid: age_s for program in programs if (age_s := _age_s(program.pid)) is not None}
        return decisions.ProcessSnapshot(
            programs=programs,
            beats=heartbeat.read(directory),
            ages_s=ages_s,
            awake_s=now - self._awake_since,
            booted_s=0.0 if self._booted_at is None else now - self._booted_at,
            creatable_s=now - self._obstructed_at[heartbeat.Obstacle.NO_NEW_FILES],
            writable_s=now - self._obstructed_at[heartbeat.Obstacle.READ_ONLY],
        )

    def _note_obstacle(self, obstacle: heartbeat.Obstacle, now: float) -> None:
        if obstacle is not heartbeat.Obstacle.NONE:
            self._obstructed_at[heartbeat.Obstacle.NO_NEW_FILES] = now
        if obstacle is heartbeat.Obstacle.READ_ONLY:
            self._obstructed_at[obstacle] = now
        if obstacle is not self._obstacle:
            level = "info" if obstacle is heartbeat.Obstacle.NONE else "warning"
            stderr_log.write(level, "heartbeats checked", obstacle=obstacle.value)
        self._obstacle = obstacle

    def _beat(self, now: float) -> None:
        """Write the heartbeat, once the store has cleared the run directory."""
        if self._heartbeat is not None:
            self._heartbeat.beat()
        elif run_directory.booted(self._run_dir, self._supervisor):
            self._booted_at = now
            self._heartbeat = heartbeat.Heartbeat(
                run_directory.heartbeats_directory(self._run_dir), decisions.NAME, "main"
            )

    def _end_pod(self, reason: str) -> None:
        """Terminate supervisord: the container ends, and Kubernetes restarts it with a growing delay."""
        written = causes.explain(reason, self._environ)
        stderr_log.write("error", "pod ended", reason=reason, termination_log=written)
        os.kill(os.getppid(), signal.SIGTERM)
        self._shutting_down = True


def _kill(one: decisions.Hung) -> None:
    stderr_log.write(
        "error", "killed", program=one.program, pid=one.pid, thread=one.thread, silent_s=round(one.silent_s, 1)
    )
    try:
        os.kill(one.pid, signal.SIGKILL)  # a stopped process ignores other signals
    except ProcessLookupError:
        return


def _age_s(pid: int) -> float | None:
    """Return the age of a process, or None if it does not run."""
    if not pid:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None  # dead, but supervisord has not noticed yet
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS
