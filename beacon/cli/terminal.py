"""The single exit for the commands' output: every text is escaped first, so that it cannot control the terminal.

Names, annotations and responses come from third parties: escape sequences, bidirectional overrides and line feeds
within a line are printed escaped. JSON and YAML keep the values.
"""

import os
from typing import Any

import click

from beacon import codec
from beacon.boundary import visible
from beacon.codec import documents


class Styled(str):
    """A line that is already escaped, with the escape sequences of Beacon's own style."""

    __slots__ = ()


def print_line(line: str = "", *, err: bool = False) -> None:
    """Print one line; leading line feeds are blank lines."""
    text = line.lstrip("\n")
    blank = "\n" * (len(line) - len(text))
    click.echo(line if isinstance(line, Styled) else blank + visible.escaped(text), err=err, color=use_color())


def script(text: str) -> None:
    """Print a program text of Beacon's own, unchanged."""
    click.echo(text, nl=not text.endswith("\n"))


def styled(line: str, **style: Any) -> Styled:
    """Return a line with a style (see `click.style`); leading line feeds are kept."""
    text = line.lstrip("\n")
    return Styled("\n" * (len(line) - len(text)) + click.style(visible.escaped(text), **style))


def document(form: str, plain: object, *, err: bool = False) -> None:
    """Print plain values as JSON or YAML."""
    if form == "json":
        click.echo(visible.escaped_json(codec.encode_pretty(plain).decode()), nl=False, err=err)
        return
    text = documents.dump(plain)
    click.echo(text if visible.is_safe(text) else documents.dump(plain, ascii_only=True), nl=False, err=err)


def json_line(plain: object) -> None:
    """Print plain values as JSON on one line."""
    click.echo(visible.escaped_json(codec.encode(plain).decode()))


def use_color() -> bool | None:
    """Return click's `color` argument: False if NO_COLOR is set, None to let the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None
