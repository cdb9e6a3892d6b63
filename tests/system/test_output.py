"""Standard output of every kind, and the processes when it is not read, under the real supervisord."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon import errors
from beacon.runtime import heartbeat, run_directory, supervision
from tests.integration import processes
from tests.system import supervised
from tests.system.supervised import until

STORM = """
import sys
from beacon.runtime import log, process
def main(context):
    heart = context.heartbeat("main")
    log.get().info("running")
    while not context.sleep(0.001):
        heart.beat()
        for _ in range(20):
            log.get().info("storm", text="x" * 900)
process.run(sys.argv[1], main)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


@contextmanager
def started(base: Path, out: int, roles: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run supervisord with `out` as its standard output and its standard error."""
    path = f"{supervised._stage(base, roles)}:{os.environ['PATH']}"
    environ = {**os.environ, "BEACON_RUN_DIR": str(base), "PATH": path}
    command = [f"{supervised.SCRIPTS}/supervisord", "-n", "-c", str(supervised.CONF)]
    with subprocess.Popen(command, env=environ, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()
            until(lambda: not supervised.children(base), "the programs' death")


def dropped(base: Path) -> int:
    try:
        return supervision.dropped_lines(base / "supervisor.sock")
    except errors.TransientError:
        return 0


def pids(base: Path) -> dict[str, int]:
    """Return the pids of all programs, 0 for those that do not run; none while supervisord is too busy to answer."""
    try:
        return {one.name: one.pid for one in supervision.programs(base / "supervisor.sock")}
    except errors.TransientError:
        return {}


def known_pids(base: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    until(lambda: found.update(pids(base)) or (all(found.values()) and found), "the pids of all programs")
    return found


def beats(base: Path) -> dict[str, float]:
    return {beat.process: beat.age_s for beat in heartbeat.read(run_directory.heartbeats_directory(base / "beacon"))}


def ask_and_leave(base: Path, supervisord: int) -> None:
    """Ask supervisord and be gone when it answers, which it prints an error about."""
    body = b"<methodCall><methodName>beacon.droppedLines</methodName><params></params></methodCall>"
    os.kill(supervisord, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(base / "supervisor.sock"))
        asking.sendall(b"POST /RPC2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    os.kill(supervisord, signal.SIGCONT)


def test_the_processes_continue_when_standard_output_is_not_read(base: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with started(base, writer, {"watcher": STORM}) as process:
        os.close(writer)
        until(lambda: dropped(base) > 1000, "lines to be dropped")
        ask_and_leave(base, process.pid)
        before = dropped(base)
        until(lambda: dropped(base) > before, "supervisord to go on")
        until(lambda: len(beats(base)) == 6 and max(beats(base).values()) < 6, "every process to beat")
        killed = known_pids(base)["notifier"]
        os.kill(killed, signal.SIGKILL)
        until(lambda: pids(base).get("notifier", 0) not in (0, killed), "supervisord to start a program anew")

        lines = []
        with os.fdopen(reader, "rb") as out:
            for line in out:
                lines.append(json.loads(line))  # each is complete
                if lines[-1]["event"] == "log lines dropped" and lines[-1]["process"] == "supervisord":
                    break
            for line in out:
                lines.append(json.loads(line))
                if lines[-1]["event"] == "storm":
                    break
            process.terminate()
            for _ in out:  # else the ending processes would block
                pass
        assert process.wait(supervised.PATIENCE_S) == 0
    assert next(line["lines"] for line in lines if line["event"] == "log lines dropped") > 1000


def test_standard_output_may_be_a_socket(base: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, started(base, theirs.fileno(), {}) as process:
        theirs.close()
        ours.settimeout(supervised.PATIENCE_S)
        got = b""
        while any(f'"process":"{name}","event":"running"'.encode() not in got for name in supervised.PROGRAMS):
            got += ours.recv(65536)
        process.terminate()
        while data := ours.recv(65536):
            got += data
        assert process.wait(supervised.PATIENCE_S) == 0

    events = [json.loads(line) for line in got.splitlines()]
    assert {line["process"] for line in events if line["event"] == "ended"} == {*supervised.PROGRAMS, "sentinel"}


def test_a_closed_standard_output_ends_no_process(base: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with started(base, writer, {"watcher": STORM}):
        os.close(writer)
        until(lambda: dropped(base) > 100, "lines to be dropped")
        until(lambda: len(beats(base)) == 6, "every process to beat")

        assert all(processes.alive(pid) for pid in known_pids(base).values())
