"""Runs the real supervisord with the real supervisord.conf, and tiny programs instead of Beacon's processes.

supervisord.conf starts `python -m beacon.<process>` from the PATH; a directory at its front contains a `python` that
runs the tiny program of that name instead.
"""

import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beacon import errors
from beacon.runtime import supervision
from tests.integration import processes

CONF = Path(__file__).parents[2] / "supervisord.conf"
PROGRAMS = ("store", "exporter", "notifier", "reconciler", "watcher")
SENTINEL = 'import runpy; runpy.run_module("beacon.sentinel", run_name="__main__")'  # the real one
SCRIPTS = sysconfig.get_path("scripts")
PATIENCE_S = 200.0
ROLE = """
import os, signal, sys, time
from beacon.runtime import log, metrics, process
def main(context):
    heart = context.heartbeat("main")
    metrics.EVENTS.labels(kind="Pod", type="created", source="watch").inc()
    log.get().info("running")
    while not context.sleep(0.05):
        heart.beat()
    log.get().info("stopping")
    time.sleep(0.3)
process.run(sys.argv[1], main)
"""


class Supervised:
    """A running supervisord."""

    def __init__(self, base: Path, process: subprocess.Popen[bytes], environ: Mapping[str, str]) -> None:
        self.base = base
        self.process = process
        self.environ = environ
        self.lines: list[dict[str, Any]] = []
        self.odd: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.odd.append(line)

    def logged_by(self, event: str) -> list[str]:
        """Return the processes that logged this event, in order."""
        return [line["process"] for line in list(self.lines) if line["event"] == event]

    def programs(self) -> dict[str, supervision.Program]:
        """Return the programs; none while supervisord does not listen yet or is too busy to respond."""
        try:
            return {program.name: program for program in supervision.programs(self.base / "supervisor.sock")}
        except errors.TransientError:
            return {}

    def pid(self, name: str) -> int:
        return self.program(name).pid

    def program(self, name: str) -> supervision.Program:
        found: dict[str, supervision.Program] = {}
        until(lambda: found.update(self.programs()) or found, "an answer of supervisord")
        return found[name]

    def state(self, name: str) -> supervision.ProgramState:
        """Return a program's state; unknown while supervisord does not answer."""
        program = self.programs().get(name)
        return program.state if program else supervision.ProgramState.UNKNOWN

    def until_all_run(self) -> None:
        until(lambda: set(self.logged_by("running")) >= set(PROGRAMS), "all to run")
        until(lambda: "sentinel" in self.logged_by("started"), "the sentinel")

    def until_all_are_running(self) -> None:
        self.until_all_run()
        running = supervision.ProgramState.RUNNING
        until(lambda: all(self.state(name) is running for name in (*PROGRAMS, "sentinel")), "RUNNING")

    def end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def supervised(
    base: Path,
    *,
    conf: Path = CONF,
    roles: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Supervised]:
    """Run supervisord with `base` as its run directory; `roles` replaces programs by name.

    `variables` are added to the environment.
    """
    path = f"{_stage(base, roles or {})}:{os.environ['PATH']}"
    environ = {**os.environ, "BEACON_RUN_DIR": str(base), "PATH": path, **(variables or {})}
    with subprocess.Popen(
        [f"{SCRIPTS}/supervisord", "-n", "-c", str(conf)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        made = Supervised(base, process, environ)
        try:
            yield made
        finally:
            process.kill()
            # A program started just before the end needs a moment to detect that it is an orphan.
            until(lambda: not children(base), "the programs' death")
            made.end()


def children(base: Path) -> set[int]:
    """Return the pids of all processes of this run directory, except supervisord."""
    mark = f"BEACON_RUN_DIR={base}".encode()
    found = set()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            if (
                mark in (path / "environ").read_bytes().split(b"\0")
                and b"supervisord" not in (path / "cmdline").read_bytes()
            ):
                found.add(int(path.name))
        except OSError:
            continue
    return {pid for pid in found if processes.alive(pid)}


def _stage(base: Path, roles: Mapping[str, str]) -> Path:
    stage = base / "bin"
    stage.mkdir(exist_ok=True)
    for name in (*PROGRAMS, "sentinel"):
        (stage / f"beacon.{name}.py").write_text(roles.get(name, SENTINEL if name == "sentinel" else ROLE))
    python = stage / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "{stage}/$2.py" "${{2#beacon.}}"\n')
    python.chmod(0o755)
    return stage
