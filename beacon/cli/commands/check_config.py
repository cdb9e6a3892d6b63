"""`beacon check-config`: print the problems of a configuration file, or its effective values with secrets masked."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from beacon import codec
from beacon.cli import configured, output, terminal
from beacon.configuration import shown

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

    The environment variables DB_PATH and ENDPOINT_URL override the file, as they do in the pod.
    """
    if file and path:
        raise click.UsageError("the file is named twice: as FILE and with --config")
    loaded = configured.load_with_warnings(file or path)
    for warning in loaded.warnings:
        terminal.print_line(f"warning: {warning}", err=True)
    _show(output, shown.as_file(loaded.settings))


def _show(form: str, values: Mapping[str, object]) -> None:
    output.show(form, values, output.table(("KEY", "VALUE"), _rows(values)))


def _rows(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key with its value, as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", codec.encode(value).decode()
