"""`beacon restore`: put a checked copy of a ledger in the place of the ledger, and keep the previous one beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from beacon import errors
from beacon.cli import configured, output, progress, store_client, supervised, terminal
from beacon.configuration import settings
from beacon.runtime import run_directory

_EPILOG = """
\b
Examples:
  beacon restore /backups/beacon-00000042-20260703T050000Z.db
  beacon restore --restart-store /backups/beacon-00000042-20260703T050000Z.db
  beacon restore --database /data/events.db /data/events.db.schema-6

\b
Exit codes: 0 done, 1 FILE is damaged or not a ledger, 2 usage error, 69 the store does not stop or start, 73 the copy
cannot be written, 75 a store serves the ledger, 78 FILE is newer than this Beacon, or the configuration is not valid,
130 interrupted.
"""
_THOUSANDTHS = 1000
_SERVING_S = 60.0


@click.command("restore", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="LEDGER",
    help="The ledger to replace.  [default: $DB_PATH, else storage.dbPath of the configuration, else /data/events.db]",
)
@click.option("--restart-store", is_flag=True, help="Stop the running store for the replacement, and start it again.")
@output.option
def command(file: Path, *, database: Path | None, restart_store: bool, output: str) -> None:
    """Replace the ledger by a copy of FILE, which is checked first; nothing is changed if it is damaged.

    The previous ledger is kept as LEDGER.replaced, or with a number if that exists. The copy becomes a new ledger with
    another id, and its first start records a gap. Beacon must be stopped, or --restart-store be given, which interrupts
    it for a moment after the copy has been checked. FILE may be of an older Beacon: the store then migrates the copy.
    """
    ledger = (database or _configured()).absolute()
    run_dir = run_directory.private(os.environ) if restart_store else None
    try:
        schema, size, previous = _restore(file.absolute(), ledger, run_dir)
        if run_dir and (state := store_client.wait_until_serving(run_dir, _SERVING_S)):
            terminal.print_line(f"the store does not serve the ledger yet: {state}", err=True)
    except errors.StartError as error:
        store_client.fail(error, error.exit_code)
    except errors.BeaconError as error:
        store_client.fail(error, errors.EXIT_UNAVAILABLE)
    values = {"file": str(file), "ledger": str(ledger), "bytes": size, "schema": schema, "previous": previous}
    lines = [f"{ledger}: restored from {file}, {size} bytes of schema {schema}, checked"]
    lines += [f"the previous ledger is {previous}"] if previous else []
    _show(output, values, lines)


def _show(form: str, values: dict[str, object], lines: list[str]) -> None:
    output.show(form, values, lines)


def _configured() -> Path:
    """Return the path of the ledger; exit with 78 if the configuration is not valid."""
    if path := os.environ.get("DB_PATH"):
        return Path(path)
    if not configured.exists():
        return Path(settings.Storage().db_path)
    return Path(configured.load(None).storage.db_path)


def _restore(file: Path, ledger: Path, run_dir: Path | None) -> tuple[int, int, str]:
    """Run the restore; return the schema, the size, and the path of the previous ledger, "" if there was none."""
    # Only the store's code may open a ledger, and a process never imports another: it runs in its own process.
    reader, writer = os.pipe()
    module = "beacon.store.recovery.restoring"
    command = [sys.executable, "-m", module, str(file), str(ledger), str(writer), *(["serving"] if run_dir else [])]
    with os.fdopen(reader, encoding="ascii") as shares:
        try:
            run = subprocess.Popen(command, pass_fds=[writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  no shell; the operator chose the path
        finally:
            os.close(writer)
        with run:
            _show_progress(shares)
            written = _result(run, run_dir)
    if run.returncode:
        sys.exit(run.returncode)  # it has printed why
    schema, size, previous = written.splitlines()
    return int(schema), int(size), previous


def _show_progress(shares: TextIO) -> None:
    """Show the progress until the copy is checked, or the process has ended."""
    with progress.progress("restoring the ledger") as show:
        for share in shares:
            show(int(share), _THOUSANDTHS)
            if int(share) == _THOUSANDTHS:
                return


def _result(run: subprocess.Popen[str], run_dir: Path | None) -> str:
    """Return the lines that describe the result; stop the store for the replacement if it may be running."""
    assert run.stdin is not None  # noqa: S101  both are pipes
    assert run.stdout is not None  # noqa: S101
    if run_dir is None or not run.stdout.readline():
        return run.stdout.read()
    with _stopped(run_dir):
        run.stdin.write("replace\n")
        run.stdin.flush()
        return run.stdout.read()


@contextmanager
def _stopped(run_dir: Path) -> Iterator[None]:
    """Stop the store for the context; it is started again whatever happens."""
    try:
        supervised.stop_store(run_dir)
        yield
    finally:
        supervised.start_store(run_dir)
