"""All rules of the sentinel, without a clock or a process."""

from dataclasses import replace

import pytest

from beacon.runtime import heartbeat, supervision
from beacon.runtime.supervision import ProgramState
from beacon.sentinel import decisions, protocol
from beacon.sentinel.decisions import Action

LIMIT_S = 60.0


def event(name: str, program: str = "store", **fields: str) -> protocol.Event:
    return protocol.Event(name=name, fields={"processname": program, **fields})


def program(name: str = "watcher", state: ProgramState = ProgramState.RUNNING, pid: int = 7) -> supervision.Program:
    return supervision.Program(name=name, state=state, pid=pid, started_at=0, stopped_at=0, why="")


def beat(age_s: float, thread: str = "main", *, process: str = "watcher", pid: int = 7) -> heartbeat.LastHeartbeat:
    return heartbeat.LastHeartbeat(process=process, thread=thread, pid=pid, age_s=age_s)


def glance(
    *beats: heartbeat.LastHeartbeat,
    programs: tuple[supervision.Program, ...] = (program(),),
    age_s: float = 1000.0,
    awake_s: float = 1000.0,
    booted_s: float = 1000.0,
) -> decisions.ProcessSnapshot:
    return decisions.ProcessSnapshot(
        programs=programs, beats=beats, ages_s={7: age_s, 8: age_s}, awake_s=awake_s, booted_s=booted_s
    )


def hung(seen: decisions.ProcessSnapshot) -> list[tuple[str, str]]:
    return [(one.program, one.thread) for one in decisions.hung(seen, LIMIT_S)]


@pytest.mark.parametrize(
    ("heard", "action"),
    [
        (event("PROCESS_STATE_FATAL", from_state="BACKOFF"), Action.END_POD),
        (event("PROCESS_STATE_EXITED", from_state="RUNNING", expected="0"), Action.COUNT_DEATH),
        (event("PROCESS_STATE_BACKOFF", from_state="STARTING"), Action.ASK_WHY),
        (event("PROCESS_STATE_STARTING", from_state="EXITED"), Action.THROTTLE),
        (event("PROCESS_STATE_STARTING", from_state="BACKOFF"), Action.NOTHING),
        (event("PROCESS_STATE_STARTING", from_state="STOPPED"), Action.RELEASE),
        (event("PROCESS_STATE_RUNNING", from_state="STARTING"), Action.NOTHING),
        (event("PROCESS_STATE_STOPPING", from_state="RUNNING"), Action.NOTHING),
        (event("PROCESS_STATE_STOPPED", from_state="STOPPING"), Action.NOTHING),
        (event("PROCESS_STATE_FATAL", "sentinel", from_state="BACKOFF"), Action.NOTHING),
        (event("TICK_5", ""), Action.CHECK),
        (event("SUPERVISOR_STATE_CHANGE_STOPPING", ""), Action.STAND_DOWN),
        (event("SUPERVISOR_STATE_CHANGE_RUNNING", ""), Action.NOTHING),
        (event("PROCESS_LOG_STDOUT"), Action.NOTHING),
    ],
)
def test_every_event_has_its_action(heard: protocol.Event, action: Action) -> None:
    assert decisions.action_for(heard) is action


def test_the_most_silent_thread_is_named() -> None:
    assert hung(glance(beat(61, "scope.a"), beat(70, "scope.b"), beat(0))) == [("watcher", "scope.b")]


def test_a_thread_may_be_silent_up_to_the_limit() -> None:
    assert hung(glance(beat(60))) == []


@pytest.mark.parametrize(
    "state",
    [ProgramState.STOPPING, ProgramState.STOPPED, ProgramState.BACKOFF, ProgramState.EXITED, ProgramState.FATAL],
)
def test_programs_that_stop_or_do_not_run_are_not_judged(state: ProgramState) -> None:
    assert hung(glance(beat(100), programs=(program(state=state),))) == []


def test_a_new_process_has_time_for_its_first_heartbeat() -> None:
    assert hung(glance(age_s=59)) == []
    assert hung(glance(age_s=61)) == [("watcher", "")]


def test_an_old_heartbeat_of_the_same_pid_is_ignored_for_a_young_process() -> None:
    assert hung(glance(beat(5000), age_s=59)) == []


def test_heartbeats_of_another_pid_or_process_are_ignored() -> None:
    assert hung(glance(beat(5000, pid=6), beat(5000, process="store"), beat(1))) == []


def test_after_the_machine_was_frozen_every_process_has_time_for_a_heartbeat() -> None:
    assert hung(glance(beat(5000), awake_s=59)) == []
    assert hung(glance(beat(5000), awake_s=61)) == [("watcher", "main")]


def test_before_the_store_has_booted_only_the_store_is_judged_and_then_all_have_time_for_a_first_heartbeat() -> None:
    programs = (program(), program("store", pid=8))

    assert hung(glance(programs=programs, booted_s=0)) == [("store", "")]
    assert hung(glance(programs=programs, booted_s=59)) == [("store", "")]
    assert hung(glance(programs=programs, booted_s=61)) == [("watcher", ""), ("store", "")]


def test_an_exited_process_and_the_sentinel_itself_are_not_judged() -> None:
    assert hung(glance(programs=(program(pid=9), program("sentinel")))) == []


def test_a_fatal_program_is_found_except_the_sentinel_itself() -> None:
    fatal = program("exporter", ProgramState.FATAL, 0)

    assert decisions.given_up([program(), fatal]) is fatal
    assert decisions.given_up([program(), program("sentinel", ProgramState.FATAL, 0)]) is None


def test_the_pause_grows_with_the_deaths_and_ends_growing() -> None:
    pauses = [decisions.pause_s([100.0] * deaths, 100.0, free=5) for deaths in range(14)]

    assert pauses == [0, 0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60]


def test_old_deaths_cause_no_pause() -> None:
    assert decisions.pause_s([0.0] * 9 + [400.0], 400.0, free=5) == 0
    assert decisions.recent([0.0, 99.0, 101.0], 400.0) == [101.0]


def test_checks_are_more_frequent_than_the_limit() -> None:
    assert decisions.Limits().check_interval_s == 5
    assert decisions.Limits(hung_s=2).check_interval_s == 0.5


def test_a_process_that_could_not_create_its_heartbeat_is_not_hung() -> None:
    seen = replace(glance(age_s=5000), creatable_s=59)

    assert hung(seen) == []
    assert [name for name, _ in hung(replace(seen, creatable_s=61))] == ["watcher"]
    assert hung(replace(glance(beat(5000)), creatable_s=0)) == [("watcher", "main")]


def test_a_process_that_could_not_write_its_heartbeat_is_not_hung() -> None:
    seen = glance(beat(5000))

    assert hung(replace(seen, writable_s=59)) == []
    assert hung(replace(seen, writable_s=61)) == [("watcher", "main")]
