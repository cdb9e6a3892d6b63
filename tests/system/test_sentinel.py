"""The sentinel under the real supervisord: programs that can't start, hang, or die too often, and stopped ones."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.runtime import supervision
from beacon.runtime.supervision import ProgramState
from tests.integration import processes
from tests.system import supervised
from tests.system.supervised import until

LIMIT_S = 10.0  # longer than a process takes to its first heartbeat, on a slow machine, too
SHORT = {"BEACON_SENTINEL_HUNG_S": f"{LIMIT_S:g}"}
REFUSED = """
import sys
from beacon import errors; from beacon.runtime import process
def main(context):
    raise errors.ConfigError(["endpoint.url: ftp is not allowed"])
process.run(sys.argv[1], main)
"""
BROKEN = """
import sys
from beacon import errors; from beacon.runtime import process
def main(context):
    raise errors.StartError("port 8080 is in use", exit_code=75)
process.run(sys.argv[1], main)
"""
# Its stop takes longer than the first pause of the sentinel.
DIES = supervised.ROLE.replace(
    "while not context.sleep(0.05):",
    "until = time.monotonic() + 4\n    while time.monotonic() < until:\n        time.sleep(0.05)",
).replace('log.get().info("stopping")', "os._exit(7)")
HANGS_ONCE = (
    "import os, time\nif not os.path.exists(os.environ['HANG']): open(os.environ['HANG'], 'w'); time.sleep(600)\n"
)
ONE_HANGS = """
import os, sys, threading
from beacon.runtime import log, process
def beat(context, name):
    heart = context.heartbeat(name)
    while not context.sleep(0.05):
        heart.beat()
        if name == "scope.b" and os.path.exists(os.environ["HANG"]):
            os.unlink(os.environ["HANG"])
            threading.Event().wait()
def main(context):
    for name in ("scope.a", "scope.b"):
        context.spawn(name, lambda name=name: beat(context, name))
    log.get().info("running")
    context.stop.wait()
process.run(sys.argv[1], main)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


def never_run(base: Path, *, startretries: int | None = None) -> Path:
    """Write a supervisord.conf under which every end counts as a failed start, even on a slow machine."""
    text = supervised.CONF.read_text().replace("startsecs=2", "startsecs=100")
    if startretries is not None:
        text = text.replace("startretries=10", f"startretries={startretries}")
    conf = base / "supervisord.conf"
    conf.write_text(text)
    return conf


def killed(it: supervised.Supervised) -> list[tuple[str, str]]:
    return [
        (line["program"], line["thread"])
        for line in list(it.lines)
        if line["event"] == "killed" and line["process"] == "sentinel"
    ]


def test_a_refused_configuration_ends_the_pod_at_once_with_the_reason(base: Path) -> None:
    log = base / "termination"
    variables = {"BEACON_TERMINATION_LOG": str(log)}
    with supervised.supervised(base, conf=never_run(base), roles={"store": REFUSED}, variables=variables) as it:
        assert it.end() == 0

        assert log.read_text() == (
            "store can't run: exit code 78: the configuration was refused: endpoint.url: ftp is not allowed"
        )
        assert it.logged_by("configuration refused").count("store") < 11  # supervisord would have retried ten times
        assert it.logged_by("pod ended") == ["sentinel"]
        assert supervised.children(base) == set()
    assert it.odd == []


def test_a_fatal_program_ends_the_pod_with_the_reason(base: Path) -> None:
    conf = never_run(base, startretries=0)
    log = base / "termination"
    with supervised.supervised(
        base, conf=conf, roles={"exporter": BROKEN}, variables={"BEACON_TERMINATION_LOG": str(log)}
    ) as it:
        assert it.end() == 0

    said = "exporter can't run: exit code 75: a resource is in use by another process: port 8080 is in use"
    assert log.read_text() == said
    assert [line["reason"] for line in it.lines if line["event"] == "pod ended"] == [said]
    assert it.logged_by("failed").count("exporter") == 1


def test_each_death_in_a_crash_loop_is_logged_with_the_reason_that_the_program_reported(base: Path) -> None:
    conf = never_run(base, startretries=2)
    with supervised.supervised(base, conf=conf, roles={"exporter": BROKEN}) as it:
        assert it.end() == 0

        died = [(line["program"], line["how"], line["reason"]) for line in it.lines if line["event"] == "died"]

    assert died[:2] == [("exporter", "exit code 75", "port 8080 is in use")] * 2


def test_a_program_that_became_fatal_without_a_sentinel_ends_the_pod_when_it_runs(base: Path) -> None:
    conf = never_run(base, startretries=0)
    conf.write_text(conf.read_text().replace("events=PROCESS_STATE,", "autostart=false\nevents="))
    with supervised.supervised(base, conf=conf, roles={"exporter": BROKEN}) as it:
        until(lambda: it.state("exporter") is ProgramState.FATAL, "the end of retries")
        assert it.program("exporter").why

        supervision.start(base / "supervisor.sock", "sentinel")

        assert it.end() == 0
        assert it.logged_by("pod ended") == ["sentinel"]


def test_frozen_programs_are_killed_and_restarted(base: Path) -> None:
    with supervised.supervised(base, variables=SHORT) as it:
        it.until_all_are_running()

        for name in supervised.PROGRAMS:
            os.kill(it.pid(name), signal.SIGSTOP)

        until(lambda: all(it.logged_by("running").count(name) >= 2 for name in supervised.PROGRAMS), "second lives")
        assert sorted(killed(it)) == sorted((name, "main") for name in supervised.PROGRAMS)


def test_the_death_of_a_program_that_logged_nothing_is_reported_once(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_are_running()

        os.kill(it.pid("watcher"), signal.SIGKILL)

        until(lambda: it.logged_by("running").count("watcher") >= 2, "a second life")
        until(lambda: it.logged_by("died"), "a line")
        (line,) = [line for line in it.lines if line["event"] == "died"]
        assert (line["level"], line["program"], line["how"]) == ("warning", "watcher", "terminated by SIGKILL")


def test_a_program_with_one_hung_thread_is_killed_and_restarted(base: Path) -> None:
    hang = base / "hang"
    with supervised.supervised(base, roles={"watcher": ONE_HANGS}, variables={"HANG": str(hang), **SHORT}) as it:
        it.until_all_are_running()

        hang.touch()

        until(lambda: it.logged_by("running").count("watcher") >= 2, "a second life")
        assert killed(it) == [("watcher", "scope.b")]
        assert it.logged_by("died") == []  # the sentinel has reported the kill already


def test_a_store_without_heartbeats_is_killed_and_the_waiting_processes_are_not(base: Path) -> None:
    roles = {"store": HANGS_ONCE + supervised.ROLE}
    variables = {"HANG": str(base / "hang"), **SHORT}
    with supervised.supervised(base, roles=roles, variables=variables) as it:
        until(lambda: it.state("watcher") is ProgramState.RUNNING, "a watcher")
        waiting = it.pid("watcher")

        it.until_all_run()

        assert killed(it) == [("store", "")]
        assert it.pid("watcher") == waiting


def test_a_freeze_of_all_processes_kills_none(base: Path) -> None:
    with supervised.supervised(base, variables=SHORT) as it:
        it.until_all_are_running()
        pids = supervised.children(base)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(LIMIT_S + 1)  # an absence of events can't be waited for

        # The sentinel continues first, and checks before any other process could send a heartbeat.
        os.kill(it.pid("sentinel"), signal.SIGCONT)
        time.sleep(1)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

        time.sleep(LIMIT_S + 0.5)
        assert killed(it) == []
        assert supervised.children(base) == pids


def impatient(base: Path) -> Path:
    """Write a supervisord.conf under which a start counts as successful after one second."""
    conf = base / "supervisord.conf"
    conf.write_text(supervised.CONF.read_text().replace("startsecs=2", "startsecs=1"))
    return conf


def test_a_program_that_dies_too_often_is_delayed_more_and_more_even_after_a_kill_of_the_sentinel(base: Path) -> None:
    variables = {"BEACON_SENTINEL_FREE_DEATHS": "1", **SHORT}
    with supervised.supervised(base, conf=impatient(base), roles={"watcher": DIES}, variables=variables) as it:
        until(lambda: it.logged_by("held back"), "a pause")
        until(lambda: it.state("watcher") is ProgramState.STOPPED, "its stop")

        os.kill(it.pid("sentinel"), signal.SIGKILL)

        until(lambda: it.logged_by("restarted"), "the end of the pause")
        until(lambda: len(it.logged_by("held back")) >= 2, "the next pause")
        assert [line["pause_s"] for line in list(it.lines) if line["event"] == "held back"][:2] == [2.0, 4.0]
        until(lambda: it.logged_by("started").count("sentinel") == 2, "the second sentinel")
        assert it.logged_by("started").count("store") == 1
        frozen = it.pid("notifier")
        os.kill(frozen, signal.SIGSTOP)
        until(lambda: not processes.alive(frozen), "its end")


def test_a_program_stopped_on_purpose_stays_stopped(base: Path) -> None:
    slow = supervised.ROLE.replace("time.sleep(0.3)", "time.sleep(4)")
    with supervised.supervised(base, roles={"watcher": slow}, variables=SHORT) as it:
        it.until_all_are_running()
        control = [f"{supervised.SCRIPTS}/supervisorctl", "-c", str(supervised.CONF)]
        subprocess.run([*control, "stop", "notifier"], env=dict(it.environ), capture_output=True, check=True)
        looks = time.monotonic() + 3.5

        until(lambda: time.monotonic() > looks, "several looks")
        assert it.state("notifier") is ProgramState.STOPPED
        it.process.terminate()

        assert it.end() == 0
        assert (killed(it), it.logged_by("held back"), it.logged_by("pod ended")) == ([], [], [])
        assert [line["code"] for line in it.lines if line["event"] == "ended"] == [0] * 6
        assert it.logged_by("ended")[-1] == "sentinel"
