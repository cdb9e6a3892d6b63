"""`beacon check-config`: print the problems of a configuration file, or its effective values with secrets masked."""

import os
import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import terminal
from beacon.configuration import loading, shown

_EPILOG = """
\b
Examples:
  beacon check-config config.yaml
  beacon check-config -o json config.yaml | jq .endpoint

\b
Exit codes: 0 valid, 2 usage error, 78 not valid.
"""


@click.command("check-config", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Choice(["yaml", "json"]), default="yaml", help="Output format.")
def command(file: Path | None, output: str) -> None:
    """Validate FILE (default: $CONFIG_PATH) and print every key with its effective value.

    The environment variables DB_PATH and ENDPOINT_URL override the file, as they do in the pod.
    """
    environ = dict(os.environ) | ({"CONFIG_PATH": str(file)} if file else {})
    try:
        loaded = loading.load(environ)
    except errors.ConfigError as error:
        for problem in error.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_CONFIG)
    for warning in loaded.warnings:
        terminal.print_line(f"warning: {warning}", err=True)
    terminal.document(output, shown.as_file(loaded.settings))
