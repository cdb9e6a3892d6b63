"""Finds out why a program exited, and writes the reason for the pod's end to the termination log.

How it exited is read from supervisord's log, because its events lack it; the log covers every death, even a SIGSEGV.
The reason is read from the exit report that `process.py` writes, if the process had time for one.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beacon import errors
from beacon.boundary import files
from beacon.runtime import run_directory

VARIABLE = "BEACON_TERMINATION_LOG"
_KUBERNETES_OWN = "/dev/termination-log"
_LONGEST = 4096  # bytes; the limit of Kubernetes
_TAIL = 65536
_MEANING = {
    errors.EXIT_UNAVAILABLE: "a service that it needs does not answer",
    errors.EXIT_SOFTWARE: "an unexpected error",
    errors.EXIT_CANNOT_CREATE: "a directory or the volume can't be used",
    errors.EXIT_TEMPORARY: "a resource is in use by another process",
    errors.EXIT_CONFIG: "the configuration was refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a program last exited: `code` is None if a signal terminated it or nothing is known."""

    how: str = ""
    code: int | None = None
    reason: str = ""

    def sentence(self, program: str) -> str:
        """Return a sentence for the operator."""
        meaning = _MEANING.get(self.code) if self.code is not None else None
        parts = [self.how or "its exit is unknown", meaning, self.reason]
        return f"{program} can't run: {': '.join(part for part in parts if part)}"


def last_end(run_dir: Path, program: str) -> End:
    """Return how a program last exited, with its reason if it left one."""
    end = parse_end(_tail(run_dir.parent / "supervisord.log"), program)
    word = run_directory.report_of(run_dir, program, run_directory.EXIT_REASON)
    if word is None or end.code != word.fields.get("code"):
        return end  # the report is from an earlier process
    return End(how=end.how, code=end.code, reason=str(word.fields.get("reason", "")))


def parse_end(log: str, program: str) -> End:
    """Return the last exit of a program in supervisord's log."""
    log = log.rpartition("supervisord started with pid")[2]  # earlier lines are from an earlier container
    name = re.escape(program)
    exits = re.findall(rf"exited: {name} \((exit status (\d+)|terminated by \w+)", log)
    if exits:
        how, code = exits[-1]
        return End(how=how.replace("status", "code"), code=int(code) if code else None)
    failures = re.findall(r"spawnerr: (.+)", log)
    return End(how=failures[-1]) if failures else End()


def explain(reason: str, environ: Mapping[str, str]) -> bool:
    """Write the reason for the pod's end to the termination log. Return True if that succeeded."""
    path = environ.get(VARIABLE, "")
    # Outside a container the default file does not exist, and must not be created.
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_CREAT if path else 0)
    try:
        fd = os.open(path or _KUBERNETES_OWN, flags, 0o644)
    except OSError:
        return False
    with os.fdopen(fd, "wb", buffering=0) as file:
        file.write(reason.encode(errors="replace")[:_LONGEST])
    return True


def _tail(path: Path) -> str:
    try:
        return files.tail(path, count=_TAIL).decode(errors="replace")
    except OSError:
        return ""
