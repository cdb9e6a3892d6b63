"""Why a program ended, and where the pod's end is explained.

How it ended stands in supervisord's log, because its events don't say; that is true of every death, a SIGSEGV too. Why
stands in the last word that `process.py` left, if the process had time to leave one.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beacon import errors
from beacon.runtime import run_directory

VARIABLE = "BEACON_TERMINATION_LOG"
_KUBERNETES_OWN = "/dev/termination-log"
_LONGEST = 4096  # bytes; Kubernetes keeps no more
_TAIL = 65536
_MEANING = {
    errors.EXIT_UNAVAILABLE: "what it needs does not answer",
    errors.EXIT_SOFTWARE: "an unexpected error",
    errors.EXIT_CANNOT_CREATE: "a directory or the volume can't be used",
    errors.EXIT_TEMPORARY: "something is held by somebody else",
    errors.EXIT_CONFIG: "the configuration was refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a program ended last: `code` is None when a signal ended it or nothing is known."""

    how: str = ""
    code: int | None = None
    reason: str = ""

    def sentence(self, program: str) -> str:
        """Say it for a person."""
        meaning = _MEANING.get(self.code) if self.code is not None else None
        said = [self.how or "its end is not known", meaning, self.reason]
        return f"{program} can't run: {': '.join(part for part in said if part)}"


def last_end(run_dir: Path, program: str) -> End:
    """Find out how a program ended last."""
    end = parse_end(_tail(run_dir.parent / "supervisord.log"), program)
    word = run_directory.report_of(run_dir, program, run_directory.EXIT_REASON)
    if word is None or end.code != word.fields.get("code"):
        return end  # the word is of an earlier life
    return End(how=end.how, code=end.code, reason=str(word.fields.get("reason", "")))


def parse_end(log: str, program: str) -> End:
    """Find the last end of a program in supervisord's log."""
    log = log.rpartition("supervisord started with pid")[2]  # what came before is an earlier container's
    name = re.escape(program)
    exits = re.findall(rf"exited: {name} \((exit status (\d+)|terminated by \w+)", log)
    if exits:
        how, code = exits[-1]
        return End(how=how.replace("status", "code"), code=int(code) if code else None)
    failures = re.findall(r"spawnerr: (.+)", log)
    return End(how=failures[-1]) if failures else End()


def explain(reason: str, environ: Mapping[str, str]) -> bool:
    """Write why the pod ends where Kubernetes looks for it; says whether that was possible."""
    given = environ.get(VARIABLE, "")
    # Outside a container there is no such device, and none must be made.
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_CREAT if given else 0)
    try:
        fd = os.open(given or _KUBERNETES_OWN, flags, 0o644)
    except OSError:
        return False
    with os.fdopen(fd, "wb", buffering=0) as file:
        file.write(reason.encode(errors="replace")[:_LONGEST])
    return True


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read(_TAIL).decode(errors="replace")
    except OSError:
        return ""
