"""Has the configuration read and validated by a process of its own, and takes what came of it.

What validates is needed once and would keep 9 MB for as long as the store lives. Whoever asks seldom, as people's
commands do, calls `beacon.configuration` itself.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beacon import codec, errors


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """The settings as plain values, for `settings.from_plain`, and what is to be said of them; or what is wrong."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    problems: Sequence[str] = ()


def read(environ: Mapping[str, str]) -> ConfigReport:
    """Read the configuration that the environment names.

    Raises:
        errors.ConfigError: with every problem, one line each.
        errors.StartError: the process that reads it did not come to its end.
    """
    source, sink = os.pipe()
    argv = [sys.executable, "-m", "beacon.configuration"]
    child = os.posix_spawn(sys.executable, argv, environ, file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)])
    os.close(sink)
    with os.fdopen(source, "rb") as answer:
        output = answer.read()
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise errors.StartError(f"what reads the configuration ended with code {code}", exit_code=errors.EXIT_SOFTWARE)
    report = ConfigReport(**codec.decode(output))
    if report.problems:
        raise errors.ConfigError(list(report.problems))
    return report
