"""Reads and validates the configuration in a subprocess.

The validator is needed once and would occupy 9 MB for the lifetime of the store. Callers that live briefly, such as
the CLI, call `beacon.configuration` directly.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from beacon import codec, errors


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """The settings as plain values, for `settings.from_plain`, with warnings; or the problems with them."""

    settings: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    problems: Sequence[str] = ()


def read(environ: Mapping[str, str]) -> ConfigReport:
    """Read the configuration that the environment names.

    Raises:
        errors.ConfigError: the configuration is invalid; holds all problems, one line each.
        errors.StartError: the subprocess failed.
    """
    source, sink = os.pipe()
    argv = [sys.executable, "-m", "beacon.configuration"]
    child = os.posix_spawn(sys.executable, argv, environ, file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)])
    os.close(sink)
    with os.fdopen(source, "rb") as answer:
        output = answer.read()
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise errors.StartError(f"the configuration subprocess exited with {code}", exit_code=errors.EXIT_SOFTWARE)
    report = ConfigReport(**codec.decode(output))
    if report.problems:
        raise errors.ConfigError(list(report.problems))
    return report
