"""`beacon verify`: check a ledger's integrity and Beacon's invariants."""

import os
import sys
from pathlib import Path

import click

from beacon import errors, wire
from beacon.cli import output, store_client
from beacon.configuration import settings

_EPILOG = """
\b
Examples:
  beacon verify
  beacon verify before-upgrade.db

\b
Exit codes: 0 no problems, 1 problems found, 2 usage error, 69 the store does not answer, 75 a store serves FILE,
78 the environment does not name Beacon's run directory, 130 interrupted.
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@output.option
def command(file: Path | None, output: str) -> None:
    """Check FILE, a ledger that no store serves, or a copy of the running ledger; print one line per problem."""
    code, problems = store_client.verify(file) if file else _verify_copy()
    if code in (errors.EXIT_OK, errors.EXIT_FAILURE):
        _show(output, problems)
    sys.exit(code)


def _show(form: str, problems: list[str]) -> None:
    output.show(form, {"ok": not problems, "problems": problems}, problems or ["no problems found"])


def _verify_copy() -> tuple[int, list[str]]:
    """Check a copy in the ledger's directory, whose volume is large enough."""
    with store_client.store() as client:
        reply = client.try_call(wire.Hello(process="cli"), timeout_s=10.0)
        ledger = Path(settings.from_plain(reply.settings).storage.db_path).absolute()
        copy = ledger.with_name(f"{ledger.name}.verify-{os.getpid()}")
        store_client.copy(client, copy)
    try:
        return store_client.verify(copy)
    finally:
        copy.unlink(missing_ok=True)
