"""`beacon backup`: copy the running ledger to a file and check the copy."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from beacon import errors
from beacon.cli import output, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon backup /data/before-upgrade.db
  kubectl exec -n beacon deploy/beacon -- beacon backup /data/copy.db

\b
Exit codes: 0 done, 1 the copy failed or is damaged, 2 usage error, 69 the store does not answer, 73 FILE cannot be
created, 78 the environment does not name Beacon's run directory, 130 interrupted.
"""


@click.command("backup", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@output.option
def command(file: Path, output: str) -> None:
    """Copy the ledger to FILE, which must not exist. FILE is created only after the copy is complete and checked."""
    target = file.absolute()
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    if os.path.lexists(target):
        terminal.print_line(f"{file} exists already: choose another name", err=True)
        sys.exit(errors.EXIT_CANNOT_CREATE)
    with store_client.store() as client:
        store_client.copy(client, partial, name=str(file))
    try:
        code, problems = store_client.verify(partial)
        if code:
            for problem in problems:
                terminal.print_line(problem, err=True)
            sys.exit(code)
        os.link(partial, target)  # unlike a rename, it never replaces a file that was created in the meantime
    except OSError as error:
        terminal.print_line(f"{file} cannot be created: {error.strerror}", err=True)
        sys.exit(errors.EXIT_CANNOT_CREATE)
    finally:
        partial.unlink(missing_ok=True)
    _show(output, {"file": str(file), "bytes": target.stat().st_size})


def _show(form: str, values: Mapping[str, object]) -> None:
    output.show(form, values, [f"{values['file']}: {values['bytes']} bytes, checked"])
