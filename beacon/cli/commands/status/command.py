"""`beacon status`: show the state of the whole Beacon, for a person or a program.

A component that does not answer is shown with the reason; the exit code is 0 only if everything is healthy.
"""

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

import click

from beacon import errors
from beacon.cli import endpoint_choice, output, terminal
from beacon.cli.commands.status import collection, rendering
from beacon.runtime import run_directory

_EPILOG = """
\b
Examples:
  beacon status
  beacon status --watch
  beacon status --endpoint billing
  beacon status -o json | jq -r '.wrong[]'

\b
Exit codes: 0 healthy, 1 unhealthy, 2 usage error, 69 the store does not answer, 78 the environment does not
name Beacon's run directory.
"""

_REFRESH_S = 2.0


@click.command("status", epilog=_EPILOG)
@endpoint_choice.option("Show only this endpoint, and leave out the problems of the others.")
@click.option("-w", "--watch", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
@output.option
def command(*, endpoint: str, watch: bool, output: str) -> None:
    """Show processes, scopes, deliveries, endpoints, gaps and storage, with their problems first.

    The result is at least as strict as /ready: it also reports restarts of the last ten minutes, failed deliveries, and
    components that /ready does not require.
    """
    if watch and not _is_table(output):
        raise click.UsageError("--watch is for terminals: with -o json, call status repeatedly")
    try:
        run_dir = run_directory.private(os.environ)
    except errors.StartError as error:
        terminal.print_line(str(error), err=True)
        sys.exit(error.exit_code)
    code = _show(collection.collect(run_dir, endpoint), output)
    pause = threading.Event()
    try:
        while watch and not pause.wait(_REFRESH_S):
            snapshot = collection.collect(run_dir, endpoint)
            click.clear()  # only on a terminal
            code = _show(snapshot, output)
    except KeyboardInterrupt:
        terminal.print_line()
    sys.exit(code)


def _is_table(form: str) -> bool:
    return output.is_table(form)


def _show(snapshot: Mapping[str, Any], form: str) -> int:
    """Print a snapshot and return its exit code."""
    lines = (_styled(line, healthy=not snapshot["wrong"]) for line in rendering.lines(snapshot, wide=form == "wide"))
    output.show(form, rendering.plain(snapshot), lines)
    if snapshot["store"]["why"]:
        return errors.EXIT_UNAVAILABLE
    return errors.EXIT_FAILURE if snapshot["wrong"] else errors.EXIT_OK


def _styled(line: str, *, healthy: bool) -> str:
    """Style titles, and color the first line by health."""
    if line in ("Healthy.", "Unhealthy:"):
        return terminal.styled(line, fg="green" if healthy else "red", bold=True)
    return line if not line or line.startswith(" ") else terminal.styled(line, bold=True)
