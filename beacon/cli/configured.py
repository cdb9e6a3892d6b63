"""Loads the configuration for a command: from a file, standard input, or the file that the pod uses."""

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
    found = inspect(path)
    for problem in found.problems:
        terminal.print_line(problem, err=True)
    if found.problems or found.tree is None:
        sys.exit(errors.EXIT_CONFIG)
    return found.tree


def exists() -> bool:
    """Return True if the file that the pod uses exists."""
    return loading.path_of(os.environ).exists()


def inspect(path: Path | None) -> loading.Inspected:
    """Read the configuration and collect its problems, or exit with 78 if standard input is not text."""
    if path != Path("-"):
        return loading.inspect(dict(os.environ) | ({"CONFIG_PATH": str(path)} if path else {}))
    try:
        return loading.inspect_text(_read_input(), os.environ, "standard input")
    except errors.ConfigError as error:
        for problem in error.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_CONFIG)


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read(loading.LARGEST_FILE + 1).decode()
    except UnicodeDecodeError as error:
        raise errors.ConfigError([f"standard input is not UTF-8: {error}"]) from error
