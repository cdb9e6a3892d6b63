"""The sentinel at work: hears supervisord, looks at heartbeats, and acts on what `judgement` makes of them.

It acts before it acknowledges an event, so that its own death in between only makes supervisord tell it again. While
supervisord shuts down it does nothing at all.
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
    """Guards the programs of one supervisord."""

    def __init__(self, run_dir: Path, supervisor: str, *, limits: decisions.Limits, environ: Mapping[str, str]) -> None:
        """Guard the processes of `run_dir`, which belongs to the given supervisord."""
        self._run_dir = run_dir
        self._supervisor = supervisor
        self._limits = limits
        self._environ = environ
        self._socket = supervision.socket_of(run_dir)
        self._memory = restart_state.RestartState(run_dir, supervisor)
        self._heart: heartbeat.Heartbeat | None = None
        self._booted_at: float | None = None  # when the run directory was first seen to be this supervisord's
        self._resting = False
        self._killed: set[str] = set()
        self._awake_since = time.monotonic()
        self._looked_at = self._awake_since - limits.look_s  # the first look is due: somebody may have been given up

    def run(self, listener: protocol.EventListener) -> None:
        """Guard until told to stop.

        Raises:
            errors.Stopping: it was told to.
        """
        while True:
            event = listener.wait(self._patience_s())
            if event is not None:
                self._hear(event)
            if time.monotonic() - self._looked_at >= self._limits.look_s:
                self._look()
            self._start_again()
            if event is not None:
                listener.done()

    def _patience_s(self) -> float:
        dues = [self._looked_at + self._limits.look_s, *self._memory.held().values()]
        return max(0.0, min(dues) - time.monotonic())

    def _hear(self, event: protocol.Event) -> None:
        duty = decisions.duty(event)
        if duty is Action.REST:
            self._resting = True
        if self._resting or duty is Action.NOTHING:
            return
        if duty is Action.LOOK:
            # A look wakes supervisord, which may tick at once: what was just killed must not be judged again so soon.
            if time.monotonic() - self._looked_at >= self._limits.look_s / 2:
                self._look()
        elif duty is Action.LET_GO:
            self._memory.let_go(event.program)
        elif duty is Action.SLOW_DOWN:
            self._slow_down(event.program)
        else:
            self._learn_of_end(event.program, duty)

    def _learn_of_end(self, program: str, duty: Action) -> None:
        end = causes.last_end(self._run_dir, program)
        # The store reads the configuration. A watcher that refuses another cluster leaves time for `beacon adopt`.
        refused = end.code == errors.EXIT_CONFIG and program == _READER
        if duty is Action.END_POD or refused:
            self._end_pod(end.sentence(program))
            return
        if duty is Action.COUNT_DEATH:
            self._memory.died(program, time.monotonic())
        self._mention(program, end)

    def _mention(self, program: str, end: causes.End) -> None:
        """Speak for a program that had no time to say why it ended."""
        if program not in self._killed and end.code != errors.EXIT_OK and not end.reason:
            stderr_log.say("warning", "died", program=program, how=end.how)
        self._killed.discard(program)

    def _slow_down(self, program: str) -> None:
        """Stop a program that died too often, to start it when its pause is over."""
        now = time.monotonic()
        deaths = self._memory.deaths(program)
        pause_s = decisions.pause_s(deaths, now, free=self._limits.free_deaths)
        if not pause_s:
            return
        try:
            supervision.stop(self._socket, program)
        except errors.TransientError as error:
            stderr_log.say("warning", "not held back", program=program, reason=str(error))
            return
        self._memory.hold(program, now + pause_s)
        died = len(decisions.recent(deaths, now))
        stderr_log.say("error", "held back", program=program, deaths=died, within_s=decisions.WINDOW_S, pause_s=pause_s)

    def _start_again(self) -> None:
        """Start the programs whose pause is over."""
        now = time.monotonic()
        for program in [name for name, until in self._memory.held().items() if until <= now and not self._resting]:
            try:
                supervision.start(self._socket, program)
            except errors.TransientError as error:
                stderr_log.say("warning", "not started again", program=program, reason=str(error))
                self._memory.hold(program, now + self._limits.look_s)
                continue
            self._memory.let_go(program)
            stderr_log.say("info", "started again", program=program)

    def _look(self) -> None:
        """Look at everything, kill what hangs, and end the pod for what was given up."""
        now = time.monotonic()
        if now - self._looked_at > 3 * self._limits.look_s + 1:
            self._awake_since = now
        self._looked_at = now
        self._beat(now)
        if self._resting:
            return
        try:
            programs = supervision.programs(self._socket)
        except supervision.ShuttingDown:
            self._resting = True  # the event that says so is on its way
            return
        except errors.TransientError as error:
            stderr_log.say("warning", "not looked", reason=str(error))
            return
        lost = decisions.given_up(programs)
        if lost is not None:
            self._end_pod(causes.last_end(self._run_dir, lost.name).sentence(lost.name))
            return
        for one in decisions.hung(self._glance(programs, now), self._limits.hung_s):
            self._killed.add(one.program)
            _kill(one)

    def _glance(self, programs: tuple[supervision.Program, ...], now: float) -> decisions.Snapshot:
        lives_s = {program.pid: life_s for program in programs if (life_s := _life_s(program.pid)) is not None}
        return decisions.Snapshot(
            programs=programs,
            beats=heartbeat.read(run_directory.heartbeats_directory(self._run_dir)),
            lives_s=lives_s,
            awake_s=now - self._awake_since,
            booted_s=0.0 if self._booted_at is None else now - self._booted_at,
        )

    def _beat(self, now: float) -> None:
        """Beat, as soon as nobody will clear that away any more."""
        if self._heart is not None:
            self._heart.beat()
        elif run_directory.booted(self._run_dir, self._supervisor):
            self._booted_at = now
            self._heart = heartbeat.Heartbeat(run_directory.heartbeats_directory(self._run_dir), decisions.NAME, "main")

    def _end_pod(self, reason: str) -> None:
        """Let supervisord end, so that the container does and Kubernetes starts another, later and later."""
        written = causes.explain(reason, self._environ)
        stderr_log.say("error", "pod ended", reason=reason, explained=written)
        os.kill(os.getppid(), signal.SIGTERM)
        self._resting = True


def _kill(one: decisions.Hung) -> None:
    stderr_log.say(
        "error", "killed", program=one.program, pid=one.pid, thread=one.thread, silent_s=round(one.silent_s, 1)
    )
    try:
        os.kill(one.pid, signal.SIGKILL)  # a stopped process heeds no other
    except ProcessLookupError:
        return


def _life_s(pid: int) -> float | None:
    """Say how long a process has lived; None when it doesn't."""
    if not pid:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None  # dead; supervisord has only not taken note yet
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS
