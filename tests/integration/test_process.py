"""Real processes, real signals: how each of them begins and ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beacon import errors
from beacon.runtime import heartbeat, run_directory
from tests.integration import processes

LOOP = """
heart = context.heartbeat("main")
log.get().info("running")
while not context.sleep(0.05):
    heart.beat()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_exits_with_0_on_sigterm(tmp_path: Path, number: signal.Signals) -> None:
    with processes.started(LOOP, tmp_path) as program:
        program.until("running")

        program.process.send_signal(number)

        assert program.end() == 0
        assert program.events() == ["started", "running", "ended"]


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))"


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    main = """
    import resource
    log.get().info("limit", soft=resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    """
    with processes.started(main, tmp_path, before=LIMITED) as program:
        assert program.end() == 0

    assert [line["soft"] for line in program.lines if line["event"] == "limit"] == [300]


def test_a_limit_of_open_files_that_does_not_suffice_is_named(tmp_path: Path) -> None:
    with processes.started('process.check_files(301, "250 scopes")', tmp_path, before=LIMITED) as program:
        assert program.end() == errors.EXIT_CONFIG

    (reason,) = (line["reason"] for line in program.lines if line["event"] == "failed")
    assert "250 scopes need up to 301 open files, but the limit is 300" in reason


@pytest.mark.parametrize(("trim_s", "said"), [(0.2, "given back"), (3600.0, "kept")])
def test_memory_that_a_burst_leaves_free_within_the_heap_is_returned(tmp_path: Path, trim_s: float, said: str) -> None:
    main = """
    def mib():
        return int(open("/proc/self/statm").read().split()[1]) / 256
    before = mib()
    burst = [bytearray(4000) for _ in range(20_000)]
    kept = burst[::200]  # what remains keeps the heap from getting shorter
    assert mib() > before + 70
    del burst
    if process._TRIM_S > 60:
        assert mib() > before + 70, "the C library returns it by itself"
        log.get().info("kept", kept=len(kept))
    while mib() > before + 10 and not context.sleep(0.05):
        pass
    log.get().info("given back", kept=len(kept))
    context.stop.wait()
    """
    with processes.started(main, tmp_path, before=f"process._TRIM_S = {trim_s}") as program:
        program.until(said)


def test_a_process_that_was_frozen_for_long_continues(tmp_path: Path) -> None:
    main = """
    beats = 0
    while not context.sleep(0.02):
        beats += 1
        if beats % 20 == 0:
            log.get().info("alive", beats=beats)
    """
    with processes.started(main, tmp_path, before="process._TRIM_S = 0.1") as program:
        program.until("alive")
        for _ in range(5):
            program.process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)  # longer than any wait of the process itself
            program.process.send_signal(signal.SIGCONT)
        before = program.events().count("alive")

        processes.wait_for(lambda: program.events().count("alive") > before + 1, "it to go on")

        assert "ended" not in program.events()


def test_a_second_signal_does_not_disturb_a_process_that_is_stopping(tmp_path: Path) -> None:
    main = """
    log.get().info("running")
    context.stop.wait()
    log.get().info("winding down")
    time.sleep(0.5)
    log.get().info("wound down")
    """
    with processes.started(main, tmp_path) as program:
        program.until("running")
        program.process.terminate()
        program.until("winding down")

        for _ in range(5):
            program.process.terminate()
            program.process.send_signal(signal.SIGINT)

        assert program.end() == 0
        assert "wound down" in program.events()


def test_a_storm_of_signals_does_not_block_a_thread_that_polls_the_stop_event(tmp_path: Path) -> None:
    main = """
    log.get().info("running")
    while not context.stop.wait(0.0001):
        pass
    for _ in range(20000):
        context.stop.is_set()
        context.stop.wait(0)
    """
    for _ in range(3):
        with processes.started(main, tmp_path) as program:
            program.until("running")
            while program.process.poll() is None:
                program.process.terminate()

            assert program.end() == 0


def test_a_stop_that_comes_while_the_process_starts_is_not_lost(tmp_path: Path) -> None:
    with processes.started("context.stop.wait()", tmp_path) as program:
        program.until("started")
        program.process.terminate()

        assert program.end() == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("errors.StartError('port 80 is in use', exit_code=75)", 75),
        ("errors.TransientError('the store went away')", errors.EXIT_TEMPORARY),
        ("bus.SettingsChanged('the store has another configuration')", errors.EXIT_TEMPORARY),
        ("errors.PermanentError('it cannot be')", errors.EXIT_FAILURE),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(tmp_path: Path, error: str, code: int) -> None:
    with processes.started(f"raise {error}", tmp_path) as program:
        assert program.end() == code

    failed = [line for line in program.lines if line["level"] == "error"]
    assert [line["code"] for line in failed] == [code]
    assert "Traceback" not in b"".join(program.raw).decode()


def test_a_refused_configuration_is_one_line_per_problem_and_exit_code_78(tmp_path: Path) -> None:
    with processes.started("raise errors.ConfigError(['a.b: too big', 'c: missing'])", tmp_path) as program:
        assert program.end() == errors.EXIT_CONFIG

    assert [line["problem"] for line in program.lines if line["level"] == "error"] == ["a.b: too big", "c: missing"]


def test_another_cluster_is_logged_as_the_wrong_cluster(tmp_path: Path) -> None:
    with processes.started("raise errors.ConfigError(['x']) from errors.ForeignClusterError('x')", tmp_path) as program:
        assert program.end() == errors.EXIT_CONFIG

    assert "wrong cluster" in program.events()
    assert "configuration refused" not in program.events()


def test_being_stopped_while_waiting_is_no_error(tmp_path: Path) -> None:
    main = """
    log.get().info("running")
    context.stop.wait()
    raise errors.Stopping("stopped while waiting")
    """
    with processes.started(main, tmp_path) as program:
        program.until("running")
        program.process.terminate()

        assert program.end() == 0
    assert not [line for line in program.lines if line["level"] == "error"]


def test_an_unexpected_error_is_one_line_with_its_traceback_and_without_values(tmp_path: Path) -> None:
    main = """
    token = "se" + "cret" * 3
    log.register_secret(token)
    raise ZeroDivisionError(f"divided {token}")
    """
    with processes.started(main, tmp_path) as program:
        assert program.end() == errors.EXIT_SOFTWARE

    (failed,) = [line for line in program.lines if line["level"] == "error"]
    assert failed["error"] == "ZeroDivisionError"
    assert failed["traceback"].startswith("Traceback")
    assert b"secretcret" not in b"".join(program.raw)


@pytest.mark.parametrize("start", ["context.spawn('worker', work)", "threading.Thread(target=work).start()"])
def test_an_unexpected_error_in_any_thread_ends_the_process(tmp_path: Path, start: str) -> None:
    main = f"""
    def work():
        raise KeyError("lost")
    {start}
    context.stop.wait()
    """
    with processes.started(main, tmp_path) as program:
        assert program.end() == errors.EXIT_SOFTWARE

    (failed,) = [line for line in program.lines if line["level"] == "error"]
    assert failed["error"] == "KeyError"


def test_an_error_of_ours_in_a_thread_ends_the_process_with_its_code(tmp_path: Path) -> None:
    main = """
    def work():
        raise bus.SettingsChanged("another configuration")
    context.spawn("worker", work)
    context.join()
    """
    with processes.started(main, tmp_path) as program:
        assert program.end() == errors.EXIT_TEMPORARY


def test_a_failed_thread_ends_the_process_even_when_its_main_thread_never_checks(tmp_path: Path) -> None:
    main = """
    def work():
        raise KeyError("lost")
    context.spawn("worker", work)
    time.sleep(3600)
    """
    with processes.started(main, tmp_path) as program:
        assert program.end() == errors.EXIT_SOFTWARE


def test_an_unset_run_directory_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    with processes.started("pass", tmp_path, environ={"BEACON_RUN_DIR": ""}) as program:
        assert program.end() == errors.EXIT_CONFIG

    assert "BEACON_RUN_DIR is not set" in program.lines[0]["reason"]


def test_a_process_leaves_its_heartbeat_when_killed_and_a_new_one_takes_over(tmp_path: Path) -> None:
    hearts = run_directory.heartbeats_directory(tmp_path / "beacon")
    with processes.started(LOOP, tmp_path) as program:
        program.until("running")
        program.process.kill()
        program.end()
    (dead,) = heartbeat.read(hearts)

    with processes.started(LOOP, tmp_path) as second:
        second.until("running")
        (beat,) = heartbeat.read(hearts)

    assert dead.pid == program.process.pid
    assert beat.pid == second.process.pid


def test_the_heartbeat_stops_while_the_process_is_frozen(tmp_path: Path) -> None:
    hearts = run_directory.heartbeats_directory(tmp_path / "beacon")
    with processes.started(LOOP, tmp_path) as program:
        program.until("running")
        program.process.send_signal(signal.SIGSTOP)

        processes.wait_for(lambda: heartbeat.read(hearts)[0].age_s > 2.5, "an old heartbeat")

        program.process.send_signal(signal.SIGCONT)
        processes.wait_for(lambda: heartbeat.read(hearts)[0].age_s < 1.5, "a young heartbeat")


PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""


def start_child_of_a_parent(code: str, run_dir: Path) -> tuple[subprocess.Popen[bytes], int]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, processes.HEAD + code],
        env={**os.environ, "BEACON_RUN_DIR": str(run_dir)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def test_a_process_dies_with_its_parent_whatever_it_is_doing(tmp_path: Path) -> None:
    code = """
def main(context):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    log.get().info("running")
    while True:
        time.sleep(3600)
process.run("watcher", main)
"""
    parent, child = start_child_of_a_parent(code, tmp_path)
    assert parent.stdout is not None
    while json.loads(parent.stdout.readline())["event"] != "running":
        pass

    parent.kill()
    parent.wait()

    processes.wait_for(lambda: not processes.alive(child), "the child's death")
    parent.stdout.close()


def test_a_process_whose_supervisord_died_before_its_first_check_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "supervisord.pid").write_text("1\n")  # an existing process, but not the parent

    with processes.started(LOOP, tmp_path, environ={"SUPERVISOR_ENABLED": "1"}) as program:
        assert program.end() == errors.EXIT_UNAVAILABLE

    assert "supervisord has died" in program.lines[0]["reason"]


def test_under_supervisord_a_process_waits_for_the_store_before_it_leaves_anything(tmp_path: Path) -> None:
    supervised = {"SUPERVISOR_ENABLED": "1"}
    (tmp_path / "supervisord.pid").write_text(f"{os.getpid()}\n")
    stale = tmp_path / "beacon" / "metrics" / "counter_watcher.db"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"left by an earlier container")
    with processes.started(LOOP, tmp_path, environ=supervised) as watcher:
        time.sleep(0.5)
        assert watcher.events() == []
        assert stale.read_bytes() == b"left by an earlier container"

        with processes.started(LOOP, tmp_path, name="store", environ=supervised) as store:
            store.until("running")
            watcher.until("running")

    assert stale.stat().st_size > 1000


def handles_sigterm(pid: int) -> bool:
    """Return True if a process blocks SIGTERM, for its thread that waits for signals."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (blocked,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")]
    return bool(int(blocked, 16) & 1 << (signal.SIGTERM - 1))


def test_a_process_that_waits_for_the_store_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "supervisord.pid").write_text(f"{os.getpid()}\n")
    with processes.started(LOOP, tmp_path, environ={"SUPERVISOR_ENABLED": "1"}) as program:
        processes.wait_for(lambda: handles_sigterm(program.process.pid), "its start")
        program.process.terminate()

        assert program.end() == 0
