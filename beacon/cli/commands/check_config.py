"""`beacon check-config`: print the problems of a configuration file, or its effective values with secrets masked."""

import os
import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import terminal
from beacon.configuration import loading, named_files, shown

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

    All problems are reported at once. A file of a certificate or a token that can't be used here is only a warning: it
    may exist only in the pod. As there, the environment variables DB_PATH and ENDPOINT_URL override FILE.
    """
    environ = dict(os.environ) | ({"CONFIG_PATH": str(file)} if file else {})
    found = loading.inspect(environ)
    for problem in found.problems:
        terminal.print_line(problem, err=True)
    for warning in (*found.warnings, *(named_files.problems(found.tree, environ) if found.tree else ())):
        terminal.print_line(f"warning: {warning}", err=True)
    if found.problems or found.tree is None:
        sys.exit(errors.EXIT_CONFIG)
    terminal.document(output, shown.as_file(found.tree))
