"""`beacon verify`: whether a ledger says what Beacon promises."""

import os
import sys
from pathlib import Path

import click

from beacon import errors, wire
from beacon.cli import store_client, terminal
from beacon.configuration import settings

_EPILOG = """
\b
Examples:
  beacon verify
  beacon verify before-upgrade.db

\b
Exit codes: 0 all is well, 1 something is wrong, 2 wrong use, 69 the store does not answer.
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def command(file: Path | None) -> None:
    """Check FILE, a ledger that nobody serves, or, without FILE, a copy of the running one; a line for each finding."""
    code = store_client.verified(file) if file else _check_live()
    if code == errors.EXIT_OK:
        terminal.say("nothing is wrong")
    sys.exit(code)


def _check_live() -> int:
    """Check a copy beside the ledger, where a volume of the right size is."""
    with store_client.store() as client:
        reply = client.try_call(wire.Hello(process="cli"), timeout_s=10.0)
        ledger = Path(settings.from_plain(reply.settings).storage.db_path).absolute()
        copy = ledger.with_name(f"{ledger.name}.verify-{os.getpid()}")
        store_client.copy(client, copy)
    try:
        return store_client.verified(copy)
    finally:
        copy.unlink(missing_ok=True)
