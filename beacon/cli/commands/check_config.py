"""`beacon check-config`: print the problems of a configuration file, or its effective values with secrets masked."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from beacon import codec, errors
from beacon.cli import configured, output, terminal
from beacon.configuration import named_files, shown, unselected

_EPILOG = """
\b
Examples:
  beacon check-config config.yaml
  beacon check-config --config - < config.yaml
  beacon check-config -o json config.yaml | jq .endpoint

\b
Exit codes: 0 valid, 2 usage error, 78 not valid.
"""


@click.command("check-config", epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@configured.option
@output.document_option
def command(file: Path | None, path: Path | None, output: str) -> None:
    """Validate FILE, which may also be named with --config, and print every key with its effective value.

    All problems are reported at once. A file of a certificate or a token that can't be used here is only a warning: it
    may exist only in the pod. So are an endpoint that selects nothing, and a kind that no endpoint selects. As in the
    pod, the environment variables DB_PATH and ENDPOINT_URL override FILE.
    """
    if file and path:
        raise click.UsageError("the file is named twice: as FILE and with --config")
    found = configured.inspect(file or path)
    for problem in found.problems:
        terminal.print_line(problem, err=True)
    doubts = [*unselected.problems(found.tree)] if found.tree and not found.problems else []
    doubts += named_files.problems(found.tree, os.environ) if found.tree else ()
    for warning in (*found.warnings, *doubts):
        terminal.print_line(f"warning: {warning}", err=True)
    if found.problems or found.tree is None:
        sys.exit(errors.EXIT_CONFIG)
    _show(output, shown.as_file(found.tree))


def _show(form: str, values: Mapping[str, object]) -> None:
    output.show(form, values, output.table(("KEY", "VALUE"), _rows(values)))


def _rows(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key with its value, as JSON; each key of several endpoints."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{prefix}{name}.")
        elif name == "endpoints" and isinstance(value, list):
            for place, one in enumerate(value):
                yield from _rows(one, f"{prefix}{name}[{place}].")
        else:
            yield f"{prefix}{name}", codec.encode(value).decode()
