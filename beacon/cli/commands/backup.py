"""`beacon backup`: a checked copy of the ledger, made while everything goes on."""

import os
import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import store_client, terminal

_EPILOG = """
\b
Examples:
  beacon backup /data/before-upgrade.db
  kubectl exec -n beacon deploy/beacon -- beacon backup /data/copy.db

\b
Exit codes: 0 made, 1 not made or not whole, 2 wrong use, 69 the store does not answer, 73 FILE can't be made.
"""


@click.command("backup", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Copy the ledger to FILE, which must not be there. FILE appears only when it is whole and has been checked."""
    target = file.absolute()
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    if target.exists():
        terminal.say(f"{file} is there already", err=True)
        sys.exit(errors.EXIT_CANNOT_CREATE)
    with store_client.store() as client:
        store_client.copy(client, partial)
    try:
        if code := store_client.verified(partial):
            sys.exit(code)
        os.link(partial, target)  # unlike a rename it never replaces what came to be there meanwhile
    except OSError as error:
        terminal.say(f"{file} can't be made: {error.strerror}", err=True)
        sys.exit(errors.EXIT_CANNOT_CREATE)
    finally:
        partial.unlink(missing_ok=True)
    terminal.say(f"{file}: {target.stat().st_size} bytes, checked")
