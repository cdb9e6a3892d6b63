"""`beacon version`: print the versions of Beacon and of what it runs on."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

import beacon
from beacon import codec
from beacon.cli import output

_EPILOG = """
\b
Examples:
  beacon version
  beacon version -o json | jq -r .commit

\b
Exit codes: 0 printed, 2 usage error.
"""
_ROOT = Path(beacon.__file__).parents[1]


@click.command("version", epilog=_EPILOG)
@output.option
def command(output: str) -> None:
    """Print the versions of Beacon, Python, SQLite and the ledger's schema, and the commit of the build.

    The commit is known in an image that was built with the argument REVISION, and in a checkout.
    """
    # Only the store's code may load SQLite, and a process never imports another: it runs in its own process.
    run = subprocess.run([sys.executable, "-m", "beacon.store.versions"], stdout=subprocess.PIPE, check=True)
    store: dict[str, object] = codec.decode(run.stdout)
    _show(
        output,
        {
            "version": beacon.VERSION,
            "python": platform.python_version(),
            "sqlite": store["sqlite"],
            "schema": store["schema"],
            "commit": commit(os.environ, _ROOT),
        },
    )


def _show(form: str, values: Mapping[str, object]) -> None:
    output.show(form, values, (f"{name:9}{value or 'unknown'}" for name, value in values.items()))


def commit(environ: Mapping[str, str], root: Path) -> str:
    """Return the commit of the build, "" if it is not known."""
    if named := environ.get("BEACON_REVISION", ""):
        return "" if named == "unknown" else named
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell, fixed words
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
