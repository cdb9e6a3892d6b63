"""The sentinel's decisions: pure functions, no clock, no file, no signal.

Three rules. A program that supervisord has given up, or that exited because its configuration was rejected, ends the
pod. A thread without a heartbeat for the limit hangs, and its process is killed. A program that keeps dying is held
back for a growing time, because supervisord immediately and endlessly restarts a program that has run for startsecs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from beacon.runtime import heartbeat, supervision
from beacon.sentinel import protocol

NAME = "sentinel"
_CLEARER = "store"  # clears the run directory at startup
WINDOW_S = 300.0  # how long a death counts
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_PREFIX = "PROCESS_STATE_"
_JUDGED = (supervision.ProgramState.STARTING, supervision.ProgramState.RUNNING)


class Action(StrEnum):
    """The sentinel's response to an event."""

    NOTHING = "nothing"
    CHECK = "check"  # a tick of supervisord
    ASK_WHY = "ask-why"  # a program exited before startsecs; supervisord itself waits before the next try
    COUNT_DEATH = "count-death"  # a running program exited; supervisord restarts it
    THROTTLE = "throttle"  # a program that died is being restarted
    RELEASE = "release"  # an operator or the sentinel started a stopped program
    END_POD = "end-pod"  # supervisord gave a program up
    STAND_DOWN = "stand-down"  # supervisord is shutting down: exits are no longer faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits for hung and dying processes."""

    hung_s: float = heartbeat.HUNG_S
    free_deaths: int = 15  # deaths within the window that cause no pause

    @property
    def check_interval_s(self) -> float:
        """Return how often to check the heartbeats."""
        return min(5.0, self.hung_s / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSnapshot:
    """The observed state at one moment.

    `ages_s` is the age of each process, by pid. `awake_s` is how long the sentinel itself has run without a gap: if the
    whole machine was frozen, no process could write its heartbeat. `booted_s` is how long ago the sentinel saw that the
    store has cleared the run directory; the others have no heartbeat until then. It is 0 before that. `creatable_s` and
    `writable_s` are how long processes have been able to create their heartbeats, and to write the existing ones.
    """

    programs: Sequence[supervision.Program]
    beats: Sequence[heartbeat.LastHeartbeat]
    ages_s: Mapping[int, float]
    awake_s: float
    booted_s: float
    creatable_s: float = math.inf
    writable_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Hung:
    """A hung process; `thread` is "" if it has never written a heartbeat."""

    program: str
    pid: int
    thread: str
    silent_s: float


def action_for(event: protocol.Event) -> Action:
    """Return the action for an event."""
    if event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
        return Action.STAND_DOWN
    if event.name.startswith("TICK"):
        return Action.CHECK
    if not event.name.startswith(_PREFIX) or event.program == NAME:
        return Action.NOTHING
    state = event.name.removeprefix(_PREFIX)
    if state == "STARTING":
        return _ACTIONS_ON_START.get(event.fields.get("from_state", ""), Action.NOTHING)
    return _ACTIONS.get(state, Action.NOTHING)


_ACTIONS = {"BACKOFF": Action.ASK_WHY, "EXITED": Action.COUNT_DEATH, "FATAL": Action.END_POD}
_ACTIONS_ON_START = {"EXITED": Action.THROTTLE, "STOPPED": Action.RELEASE, "FATAL": Action.RELEASE}


def hung(seen: ProcessSnapshot, limit_s: float) -> tuple[Hung, ...]:
    """Return the processes with a thread silent for longer than the limit, each with its most silent thread."""
    judged = (
        program
        for program in seen.programs
        if program.state in _JUDGED and program.pid in seen.ages_s and program.name != NAME
    )
    found = (_silence(program, seen) for program in judged)
    return tuple(one for one in found if one.silent_s > limit_s)


def given_up(programs: Iterable[supervision.Program]) -> supervision.Program | None:
    """Return a program that supervisord no longer starts, even if its event was missed."""
    fatal = (
        program for program in programs if program.state is supervision.ProgramState.FATAL and program.name != NAME
    )
    return next(fatal, None)


def recent(deaths: Iterable[float], now: float) -> list[float]:
    """Return the deaths that are recent enough to count."""
    return [died_at for died_at in deaths if now - died_at < WINDOW_S]


def pause_s(deaths: Iterable[float], now: float, *, free: int) -> float:
    """Return how long to hold back a program that died at these instants; 0 if they are few."""
    beyond = len(recent(deaths, now)) - free
    return 0.0 if beyond <= 0 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(beyond - 1, 10))


def _silence(program: supervision.Program, seen: ProcessSnapshot) -> Hung:
    """Return the most silent thread; its silence is at most the age of the process.

    A heartbeat file with the same pid may be from an earlier container.
    """
    bound_s = min(seen.ages_s[program.pid], seen.awake_s, seen.writable_s)
    if program.name != _CLEARER:
        bound_s = min(bound_s, seen.booted_s)
    ages = [(b.age_s, b.thread) for b in seen.beats if b.process == program.name and b.pid == program.pid]
    age_s, thread = max(ages, default=(min(bound_s, seen.creatable_s), ""))
    return Hung(program=program.name, pid=program.pid, thread=thread, silent_s=min(age_s, bound_s))
