"""Starts small real processes made with `process.run`, and reads what they say."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 100.0
HEAD = """
import os, signal, sys, threading, time
from beacon import bus, errors; from beacon.runtime import log, metrics, process
"""


@contextmanager
def notifier(run_dir: Path, *code: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run the notifier, or `code` in its place; kill it if the caller has not ended it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR")}
    process = subprocess.Popen(
        [sys.executable, *(("-c", *code) if code else ("-m", "beacon.notifier"))],
        env={**inherited, "BEACON_RUN_DIR": str(run_dir), **environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


class Program:
    """A process whose main is a few lines of code, with what it has logged so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.raw.append(line)
            self.lines.append(json.loads(line))

    def events(self) -> list[str]:
        return [line["event"] for line in list(self.lines)]

    def until(self, event: str) -> None:
        wait_for(lambda: event in self.events(), f"{event!r} among {self.events}")

    def end(self) -> int:
        """Wait for its end and give its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


@contextmanager
def started(
    main: str, run_dir: Path, *, name: str = "watcher", environ: Mapping[str, str] | None = None, before: str = ""
) -> Iterator[Program]:
    """Start `process.run(name, main)`; `main` is the body of a function of `context`, `before` comes before all."""
    body = textwrap.indent(textwrap.dedent(main).strip(), "    ")
    code = f"{HEAD}{before}\ndef main(context):\n{body}\n\nprocess.run({name!r}, main)\n"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "BEACON_RUN_DIR": str(run_dir), **(environ or {})},
        stdout=subprocess.PIPE,
    ) as made:
        program = Program(made)
        try:
            yield program
        finally:
            made.kill()
            program.end()


def alive(pid: int) -> bool:
    """Return True if a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
