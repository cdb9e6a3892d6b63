"""`beacon reload`: apply a changed configuration file without a new pod, and state what changed."""

import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import click

from beacon import bus, errors, wire
from beacon.cli import configured, output, store_client, supervised, terminal
from beacon.configuration import changed, loading, settings
from beacon.runtime import run_directory

_EPILOG = """
\b
Examples:
  beacon reload
  kubectl exec -n beacon deploy/beacon -- beacon reload

\b
Exit codes: 0 applied, or nothing has changed, 2 usage error, 69 the store does not answer, stop or start, 78 the file
is not valid, or the environment does not name Beacon's run directory, 130 interrupted.
"""
_TIMEOUT_S = 10.0
_SERVING_S = 60.0
_MOST = 12  # differences in the sentence


@click.command("reload", epilog=_EPILOG)
@output.option
def command(output: str) -> None:
    """Validate the configuration file ($CONFIG_PATH), and restart the store with it; the other processes follow.

    A file that is not valid is refused with all its problems, and nothing changes. The command waits until the store
    serves under the new configuration, and lists the changed keys; secrets are masked.
    """
    path = loading.path_of(os.environ)
    try:
        run_dir = run_directory.private(os.environ)
        tree = _checked(run_dir)
        changes = _apply(run_dir, tree)
    except errors.StartError as error:
        store_client.fail(error, error.exit_code)
    except errors.BeaconError as error:
        store_client.fail(error, errors.EXIT_UNAVAILABLE)
    values = {"file": str(path), "digest": settings.digest(tree), "changes": changes}
    _show(output, values, [_sentence(path, changes)])


def _show(form: str, values: Mapping[str, object], lines: list[str]) -> None:
    output.show(form, values, lines)


def _sentence(path: Path, changes: list[str]) -> str:
    if not changes:
        return f"{path}: nothing has changed"
    more = f", and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return f"{path}: reloaded; {', '.join(changes[:_MOST])}{more}"


def _checked(run_dir: Path) -> settings.Settings:
    """Return the file's settings; report problems to the store, print them, and exit with 78."""
    found = configured.inspect(None)
    for problem in found.problems:
        terminal.print_line(problem, err=True)
    for warning in found.warnings:
        terminal.print_line(f"warning: {warning}", err=True)
    if found.problems or found.tree is None:
        with contextlib.suppress(errors.BeaconError), _client(run_dir) as client:
            client.try_call(wire.ReportReload(problems=len(found.problems)), timeout_s=_TIMEOUT_S)
        sys.exit(errors.EXIT_CONFIG)
    return found.tree


def _apply(run_dir: Path, tree: settings.Settings) -> list[str]:
    """Restart the store unless it has these settings, and wait until it serves under them. Return what has changed."""
    digest = settings.digest(tree)
    with _client(run_dir) as client:
        before = settings.from_plain(client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S).settings)
        if settings.digest(before) == digest:
            client.try_call(wire.ReportReload(problems=0), timeout_s=_TIMEOUT_S)
            return []
    _check_directory(before, tree)
    try:
        supervised.stop_store(run_dir)
    finally:
        supervised.start_store(run_dir)
    if state := store_client.wait_until_serving(run_dir, _SERVING_S, digest=digest):
        raise errors.TransientError(f"the store was restarted, but does not serve yet: {state}; see beacon status")
    return changed.between(before, tree)


def _check_directory(before: settings.Settings, after: settings.Settings) -> None:
    """Exit with 78 if the store could not start because of a changed path of the ledger."""
    directory = Path(after.storage.db_path).parent
    if after.storage.db_path != before.storage.db_path and not os.access(directory, os.W_OK | os.X_OK):
        terminal.print_line(f"storage.dbPath: the directory {directory} does not exist, or is not writable", err=True)
        sys.exit(errors.EXIT_CONFIG)


def _client(run_dir: Path) -> bus.Client:
    return bus.Client(bus.address(run_dir), stop=threading.Event())
