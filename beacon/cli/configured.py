"""The configuration that a command is given: a file, the standard input, or what the pod runs with."""

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
    help="Configuration file, or - for the standard input.  [default: $CONFIG_PATH, else /config/config.yaml]",
)


def load(path: Path | None) -> settings.Settings:
    """Load it, or end the command with every problem on the error stream (78)."""
    try:
        if path == Path("-"):
            return loading.parse(
                sys.stdin.read(loading.LARGEST_FILE + 1), os.environ, name="the standard input"
            ).settings
        return loading.load(dict(os.environ) | ({"CONFIG_PATH": str(path)} if path else {})).settings
    except errors.ConfigError as error:
        for problem in error.problems:
            terminal.say(problem, err=True)
        sys.exit(errors.EXIT_CONFIG)
