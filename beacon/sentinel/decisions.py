"""What the sentinel makes of what it sees: pure functions, no clock, no file, no signal.

Three rules. A program that supervisord has given up, or that ended because its configuration was refused, ends the pod.
A thread that has not beaten for the limit hangs, and its process is killed. A program that dies again and again is held
back for a growing time, because supervisord starts what has run for startsecs again at once, for ever.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from beacon.runtime import heartbeat, supervision
from beacon.sentinel import protocol

NAME = "sentinel"
_CLEARER = "store"  # clears the run directory at boot
WINDOW_S = 300.0  # how long a death is remembered
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_PREFIX = "PROCESS_STATE_"
_JUDGED = (supervision.ProgramState.STARTING, supervision.ProgramState.RUNNING)


class Action(StrEnum):
    """What an event asks the sentinel to do."""

    NOTHING = "nothing"
    LOOK = "look"  # supervisord's clock has ticked
    ASK_WHY = "ask-why"  # a program ended too early to count as running; supervisord itself waits before the next try
    COUNT_DEATH = "count-death"  # a program that ran has ended; supervisord starts it again
    SLOW_DOWN = "slow-down"  # a program that died is being started again
    LET_GO = "let-go"  # somebody, perhaps the sentinel, has started a program that was stopped
    END_POD = "end-pod"  # a program was given up
    REST = "rest"  # supervisord is shutting down: from now on nothing that happens is a fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When patience ends."""

    hung_s: float = heartbeat.HUNG_S
    free_deaths: int = 15  # so many within the window cost no pause

    @property
    def look_s(self) -> float:
        """How often to look at the heartbeats."""
        return min(5.0, self.hung_s / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is there at one moment.

    `lives_s` says for each pid how long its process has lived. `awake_s` is how long the sentinel itself has been
    moving without a break: when everything stood still, the machine perhaps, nobody's heart could beat. `booted_s` is
    how long ago the sentinel saw that the store has cleared the run directory, which the others wait for without a
    heart; 0 as long as it has not.
    """

    programs: Sequence[supervision.Program]
    beats: Sequence[heartbeat.LastHeartbeat]
    lives_s: Mapping[int, float]
    awake_s: float
    booted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hung:
    """A process that hangs; `thread` is "" when it has never beaten."""

    program: str
    pid: int
    thread: str
    silent_s: float


def duty(event: protocol.Event) -> Action:
    """Say what an event asks for."""
    if event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
        return Action.REST
    if event.name.startswith("TICK"):
        return Action.LOOK
    if not event.name.startswith(_PREFIX) or event.program == NAME:
        return Action.NOTHING
    state = event.name.removeprefix(_PREFIX)
    if state == "STARTING":
        return _DUTY_BEFORE_START.get(event.fields.get("from_state", ""), Action.NOTHING)
    return _DUTY.get(state, Action.NOTHING)


_DUTY = {"BACKOFF": Action.ASK_WHY, "EXITED": Action.COUNT_DEATH, "FATAL": Action.END_POD}
_DUTY_BEFORE_START = {"EXITED": Action.SLOW_DOWN, "STOPPED": Action.LET_GO, "FATAL": Action.LET_GO}


def hung(seen: Snapshot, limit_s: float) -> tuple[Hung, ...]:
    """Find the processes of which a thread is silent for longer than the limit; the most silent thread is named."""
    judged = (
        program
        for program in seen.programs
        if program.state in _JUDGED and program.pid in seen.lives_s and program.name != NAME
    )
    found = (_silence(program, seen) for program in judged)
    return tuple(one for one in found if one.silent_s > limit_s)


def given_up(programs: Iterable[supervision.Program]) -> supervision.Program | None:
    """Find a program that supervisord no longer starts, whoever was listening when that happened."""
    fatal = (
        program for program in programs if program.state is supervision.ProgramState.FATAL and program.name != NAME
    )
    return next(fatal, None)


def recent(deaths: Iterable[float], now: float) -> list[float]:
    """Leave out the deaths that are too long ago to count."""
    return [died_at for died_at in deaths if now - died_at < WINDOW_S]


def pause_s(deaths: Iterable[float], now: float, *, free: int) -> float:
    """Say for how long to hold back a program that died at these instants; 0 as long as they are few."""
    beyond = len(recent(deaths, now)) - free
    return 0.0 if beyond <= 0 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(beyond - 1, 10))


def _silence(program: supervision.Program, seen: Snapshot) -> Hung:
    """Find the most silent thread; none can have been silent for longer than the process lives.

    A heartbeat file of the same pid may be an earlier container's.
    """
    bound_s = min(seen.lives_s[program.pid], seen.awake_s)
    if program.name != _CLEARER:
        bound_s = min(bound_s, seen.booted_s)
    ages = [(b.age_s, b.thread) for b in seen.beats if b.process == program.name and b.pid == program.pid]
    age_s, thread = max(ages, default=(bound_s, ""))
    return Hung(program=program.name, pid=program.pid, thread=thread, silent_s=min(age_s, bound_s))
