"""The configuration a command works with: a file, standard input, or the file that the pod runs with."""

import os
import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import terminal
from beacon.configuration import loading, settings

option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Configuration file, or - for standard input.  [default: $CONFIG_PATH, else /config/config.yaml]",
)


def load(path: Path | None) -> settings.Settings:
    """Load the configuration, or print every problem to standard error and exit with 78."""
    return load_with_warnings(path).settings


def load_with_warnings(path: Path | None) -> loading.Loaded:
    """Load the configuration with its warnings, or print every problem to standard error and exit with 78."""
    try:
        if path == Path("-"):
            return loading.parse(_read_input(), os.environ, name="standard input")
        return loading.load(dict(os.environ) | ({"CONFIG_PATH": str(path)} if path else {}))
    except errors.ConfigError as error:
        for problem in error.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_CONFIG)


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read(loading.LARGEST_FILE + 1).decode()
    except UnicodeDecodeError as error:
        raise errors.ConfigError([f"standard input is not UTF-8: {error}"]) from error
